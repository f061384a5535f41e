"""The captured stream: its segments, its bytes, and the same bytes as another TCP stack might have cut them."""

import random
import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from coloproxy.errors import ColoproxyError
from coloproxy.packet.edit import FIN, SYN, tcp_part
from coloproxy.packet.parse import Packet, parse
from coloproxy.packet.serial import distance


class Segment(NamedTuple):
    """A frame, taken apart, and the places of the stream that it has: begin up to, not including, end.

    The first byte of data has place 0, SYN has -1, FIN the one behind the last byte (RFC 9293, 3.4).
    """

    frame: bytes
    packet: Packet
    begin: int
    end: int

    @property
    def data(self) -> bytes:
        """The application's bytes."""
        return self.frame[self.packet.payload : self.packet.payload_end]

    @property
    def fin(self) -> bool:
        """Whether the stream ends with it."""
        return bool(self.packet.flags & FIN)


def read(file: Path) -> list[Segment]:
    """The segments of a capture of one connection, from its SYN on, as `traffic.make` writes it.

    Retransmissions are left out: while the first is held, the comparator drops the second. On a loopback device
    checksums are left to a card that there is not: they are set here. Raises ColoproxyError when the beginning was not
    captured.
    """
    raw = file.read_bytes()
    segments: list[Segment] = []
    at, isn, seen = 0, 0, -1
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        frame = raw[at + 4 : at + 4 + length]
        at += 4 + length
        packet = parse(frame, 0, length)
        size = packet.payload_end - packet.payload
        if not segments:
            if not packet.flags & SYN:
                raise ColoproxyError(f"{file}: the beginning of the connection was not captured; try again.")
            isn = packet.seq
        begin = distance(isn, packet.seq) - 1
        end = begin + size + bool(packet.flags & SYN) + bool(packet.flags & FIN)
        if begin < end <= seen:
            continue
        seen = max(seen, end)
        segments.append(Segment(tcp_part(frame, packet, 0, size), packet, begin, end))
    return segments


def stream(segments: Iterable[Segment]) -> bytes:
    """The bytes that the segments carry, each once. Raises ColoproxyError when some are missing."""
    found = bytearray()
    for segment in segments:
        if segment.data:
            if segment.begin > len(found):
                raise ColoproxyError(f"the bytes {len(found)} to {segment.begin} were not captured; try again.")
            found += segment.data[len(found) - segment.begin :]
    return bytes(found)


def made_like(model: Segment, begin: int, data: bytes, fin: bool = False) -> Segment:
    """These bytes in one segment, with the model's addresses, acknowledgement and options; its checksums are right."""
    old = model.packet
    packet = replace(
        old,
        seq=(old.seq + begin - model.begin) & 0xFFFFFFFF,
        flags=old.flags if fin else old.flags & ~FIN,
        end=old.payload + len(data),
        l4_end=old.payload + len(data),
        payload_end=old.payload + len(data),
    )
    frame = tcp_part(model.frame[: old.payload] + data, packet, 0, len(data))
    return Segment(frame, packet, begin, begin + len(data) + fin)


def recut(segments: list[Segment], rng: random.Random) -> list[Segment]:
    """The same stream with its boundaries elsewhere: segments of an eighth of the largest up to it, at random.

    Segments without data, SYN among them, stay as they are and where they are.
    """
    data = stream(segments)
    largest = max(len(segment.data) for segment in segments)
    smallest = max(largest // 8, 1)
    result: list[Segment] = []
    at, goal = 0, rng.randint(smallest, largest)  # the segment that is being filled
    for model in segments:
        end = min(model.begin + len(model.data), len(data))  # FIN's place is none of a byte
        while goal < end:
            result.append(made_like(model, at, data[at:goal]))
            at, goal = goal, goal + rng.randint(smallest, largest)
        flushed = at < end and (model.fin or not model.data or model is segments[-1])
        if flushed:
            result.append(made_like(model, at, data[at:end], model.fin))
            at, goal = end, end + rng.randint(smallest, largest)
        if not model.data and not (flushed and model.fin):
            result.append(model)
    return result


def changed(segments: list[Segment], place: int, value: int) -> list[Segment]:
    """The same segments, but for the byte at `place` of the stream."""
    index = bisect_right(segments, place, key=attrgetter("begin")) - 1
    while not segments[index].begin <= place < segments[index].begin + len(segments[index].data):
        index -= 1
    old = segments[index]
    data = bytearray(old.data)
    data[place - old.begin] = value
    new = made_like(old, old.begin, bytes(data), old.fin)
    return [*segments[:index], new, *segments[index + 1 :]]
