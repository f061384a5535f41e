"""The experiment that goes on, to be watched: connection after connection, a byte that differs in every other one."""

import itertools
import random
import time
from collections.abc import Iterator

from coloproxy.packet.edit import tcp_part
from demo import comparator, stream
from demo.acts import Told
from demo.feed import Feed
from demo.stream import Segment

BYTES = 4 << 20  # of the stream in each connection
PAUSE = 0.02  # seconds after each percent: it is to be watched, not to be fast
CHECKPOINT = 1.5  # seconds that a checkpoint takes, so that one sees what waits for it
FIRST_PORT, PORTS = 49152, 16384  # the client's ports (RFC 6335, 6)


def on_port(segments: list[Segment], port: int) -> list[Segment]:
    """The same segments, to another port of the client."""
    found = []
    for segment in segments:
        frame = bytearray(segment.frame)
        at = segment.packet.l4 + 2
        frame[at : at + 2] = port.to_bytes(2)
        found.append(segment._replace(frame=tcp_part(bytes(frame), segment.packet, 0, len(segment.data))))
    return found


def beginning(segments: list[Segment]) -> list[Segment]:
    """As much of a stream as one connection has here."""
    return [segment for segment in segments if segment.end <= BYTES]


def connections(primary: list[Segment], rng: random.Random) -> Iterator[tuple[list[Segment], list[Segment]]]:
    """What the two replicas send on one connection after the other, without end."""
    primary = beginning(primary)
    secondary = stream.recut(primary, rng)
    data = stream.stream(primary)
    for number in itertools.count():
        port = FIRST_PORT + number % PORTS
        theirs = secondary
        if number % 2:
            place = rng.randrange(len(data) // 4, 3 * len(data) // 4)
            theirs = stream.changed(secondary, place, data[place] ^ 1)
        yield on_port(primary, port), on_port(theirs, port)


def slowly(_share: float) -> None:
    """Take time over each percent."""
    time.sleep(PAUSE)


def watch(
    primary: list[Segment], rng: random.Random, told: Told = slowly, limit: int | None = None
) -> Iterator[comparator.Comparator]:
    """Yields the comparator, whose page is there, then plays until it is ended, or for so many connections."""
    with comparator.running("--http", "0") as proxy:
        proxy.page()
        yield proxy
        for ours, theirs in itertools.islice(connections(primary, rng), limit):
            for _ in Feed(proxy, ours, theirs, told).run():
                time.sleep(CHECKPOINT)
