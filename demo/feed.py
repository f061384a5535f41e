"""Both replicas' frames into the running comparator, as fast as a client's window lets them, and what comes out.

A replica has at most WINDOW bytes on the way that the client has not received, as in any TCP connection: the bandwidth
times the delay of a path of 1 Gbit/s and 2 ms.
"""

import select
import struct
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate

from coloproxy.checkpoint.notify import CHECKPOINT, DO_CHECKPOINT, encode
from coloproxy.packet.edit import tcp_part
from coloproxy.packet.parse import parse
from demo.comparator import PATIENCE, Comparator
from demo.stream import Segment

WINDOW = 250_000
QUIET = 0.2  # seconds without output after which the comparator has come to rest


def framed(frame: bytes) -> bytes:
    """A frame as it goes over the wire."""
    return struct.pack(">I", len(frame)) + frame


class Wire:
    """A replica's segments, ready to be sent, and how far that has come."""

    def __init__(self, segments: list[Segment]) -> None:
        frames = [framed(segment.frame) for segment in segments]
        self.segments = segments
        self.data = memoryview(b"".join(frames))
        self.ends = list(accumulate(map(len, frames)))  # of each frame, in data
        self.places = list(accumulate((segment.end for segment in segments), max))  # that are sent with each frame
        self.sent = 0  # frames

    def upto(self, place: int) -> memoryview:
        """The frames not sent yet that have no place of the stream at or behind this one; they count as sent."""
        begin, self.sent = self.sent, max(bisect_right(self.places, place), self.sent)
        return self.data[self._end(begin) : self._end(self.sent)]

    def follow(self, place: int) -> bytes:
        """Go on at this place, whatever was sent before; returns what leads to the next boundary, framed."""
        self.sent = bisect_right(self.places, place)
        if self.sent == len(self.segments) or self.segments[self.sent].begin >= place:
            return b""
        segment = self.segments[self.sent]
        self.sent += 1
        packet = parse(segment.frame, 0, len(segment.frame))
        return framed(tcp_part(segment.frame, packet, place - segment.begin, len(segment.data)))

    def frames_in(self, size: int) -> int:
        """How many whole frames the first `size` bytes of the data have."""
        return bisect_right(self.ends, size)

    def place(self, frames: int) -> int:
        """The place behind the first so many frames."""
        return self.places[frames - 1] if frames else -1

    def _end(self, frames: int) -> int:
        return self.ends[frames - 1] if frames else 0


class Feed:
    """One play of both replicas through a comparator. `output` is what left for the client."""

    def __init__(
        self, comparator: Comparator, primary: list[Segment], secondary: list[Segment], told: Callable[[float], None]
    ) -> None:
        """told: is told the share of the primary's bytes that came out, whenever that is another percent."""
        self.output = bytearray()
        self.seconds = 0.0  # from the first frame in to the last one out
        self._primary, self._secondary = Wire(primary), Wire(secondary)
        self._sockets = comparator.sockets
        self._told = told

    def run(self) -> Iterator[None]:
        """Play until as much has come out as the primary has sent.

        Yields at each request for a checkpoint; it is made when the caller goes on. Raises RuntimeError when nothing
        comes any more.
        """
        begin, percent = time.perf_counter(), 0
        while (out := len(self.output)) < len(self._primary.data):
            self._send()
            if not self._receive(PATIENCE):
                raise RuntimeError(self._stuck())
            if self._requested():
                yield
                self._checkpoint()
            if out * 100 // len(self._primary.data) != percent:
                percent = out * 100 // len(self._primary.data)
                self._told(percent / 100)
        self.seconds = time.perf_counter() - begin

    def rest(self) -> int:
        """Wait until nothing more comes out; returns how many whole frames did."""
        while self._receive(QUIET, "outdev"):
            pass
        return self._primary.frames_in(len(self.output))

    def _send(self) -> None:
        received = self._primary.place(self._primary.frames_in(len(self.output)))
        for role, wire in (("primary-in", self._primary), ("secondary-in", self._secondary)):
            self._sockets[role].sendall(wire.upto(received + WINDOW))

    def _receive(self, patience: float, *roles: str) -> bool:
        """Read what has come out; whether anything has happened on these sockets in time."""
        watched = [self._sockets[role] for role in roles or ("outdev", "notify-dev")]
        ready = select.select(watched, (), (), patience)[0]
        if self._sockets["outdev"] in ready:
            data = self._sockets["outdev"].recv(1 << 18)
            if not data:
                raise RuntimeError("coloproxy compare closed its output")
            self.output += data
        return bool(ready)

    def _requested(self) -> bool:
        """Whether a checkpoint has been asked for."""
        notify = self._sockets["notify-dev"]
        if not select.select([notify], (), (), 0)[0]:
            return False
        message = notify.recv(1 << 10)
        if message != encode(DO_CHECKPOINT):
            raise RuntimeError(f"coloproxy compare said {message!r} on its notify socket")
        return True

    def _checkpoint(self) -> None:
        """Make the secondary a copy of the primary: once all is out that came before, it goes on where that is."""
        wire = self._primary
        bridge = self._secondary.follow(wire.place(wire.sent))
        self._sockets["notify-dev"].sendall(encode(CHECKPOINT))
        while wire.frames_in(len(self.output)) < wire.sent:
            if not self._receive(PATIENCE, "outdev"):
                raise RuntimeError(self._stuck())
        self._sockets["secondary-in"].sendall(bridge)

    def _stuck(self) -> str:
        first, second = self._primary, self._secondary
        return (
            f"no frame came out of coloproxy compare for {PATIENCE:.0f} s, after {first.frames_in(len(self.output))};"
            f" {first.sent} of the primary's {len(first.ends)} and {second.sent} of the secondary's {len(second.ends)}"
            " had gone in"
        )
