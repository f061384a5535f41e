"""From a capture's records to the packets that the replica sent."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from coloproxy.capture import Record, to_ethernet
from coloproxy.capture.linktype import CONVERTERS
from coloproxy.offline.replica import Replica
from coloproxy.offline.report import CaptureSummary
from coloproxy.packet.fragment import FragmentOverlap, Reassembler
from coloproxy.packet.parse import ETHERNET, VLAN_TYPES, Kind, Malformed, Packet, parse

LONGEST = 65535 + 64  # bytes of the longest frame that is believed
FRAGMENT_TIMEOUT = 30.0  # seconds, of the capture's own time
FRAGMENT_BYTES = 4 << 20
FRAGMENT_DATAGRAMS = 4096
TCP_FLAGS_END = 14  # bytes of a TCP header without which nothing can be done with it
FIXED = {Kind.TCP: TCP_FLAGS_END, Kind.UDP: 8, Kind.ICMP: 4, Kind.ICMPV6: 4}

Take = Callable[[int, Packet, bytes, int], None]  # record's number, packet, frame, index behind what is known of it


class Piece(NamedTuple):
    """A fragment: its record's number, its end in the datagram's payload, and the end of what the capture has of it."""

    number: int
    end: int
    known: int


class Intake:
    """Sorts out what the replica sent, whole: fragments are put together, what a capture cut is filled with zeros.

    `take` is given each packet. summary: what could not be.
    """

    def __init__(self, replica: Replica, path: str, take: Take) -> None:
        self.address, self.port = replica
        self.take = take
        self.summary = CaptureSummary(path=path)
        self._fragments = Reassembler(FRAGMENT_BYTES, FRAGMENT_DATAGRAMS, FRAGMENT_TIMEOUT)
        self._links: Counter[int] = Counter()

    def receive(self, number: int, record: Record) -> None:
        """Take one record. Its number counts from 1, as everywhere."""
        frame = to_ethernet(record)
        if frame is None:
            if record.linktype not in CONVERTERS:
                self._links[record.linktype] += 1
            return
        there = len(frame)
        if record.cut:
            frame += bytes(min(record.original_length - len(record.data), max(LONGEST - there, 0)))
        try:
            packet = parse(frame, 0, len(frame))
        except Malformed:
            if self._is_ours(frame[:there]):
                self.summary.sent += 1
                if record.cut:
                    self.summary.short += 1
                else:
                    self.summary.malformed += 1
            return
        if not packet.version:
            return
        if packet.src != self.address:
            return
        if packet.fragment is not None:
            self._fragment(number, record, packet, frame, there)
        else:
            self._whole(number, packet, frame, there)

    def _whole(self, number: int, packet: Packet, frame: bytes, there: int) -> None:
        if self.port is not None and packet.sport != self.port:
            return
        self.summary.sent += 1
        if there < packet.l4_end:
            if there < packet.l4 + FIXED.get(packet.kind, 0):
                self.summary.short += 1
                return
            self.summary.cut += 1
        self.take(number, packet, frame, there)

    def _fragment(self, number: int, record: Record, packet: Packet, frame: bytes, there: int) -> None:
        assert packet.fragment is not None
        now = record.time_ns / 1e9
        for given_up in self._fragments.expire(now):
            self._lost(given_up)
        begin, size = packet.fragment.offset, packet.l4_end - packet.l4
        piece = Piece(number, begin + size, begin + min(max(there - packet.l4, 0), size))
        try:
            done = self._fragments.add(packet, frame, now, piece)
        except FragmentOverlap as overlap:
            self._lost(overlap.tags)
            return
        if done is None:
            return
        try:
            whole = parse(done.frame, 0, len(done.frame))
        except Malformed:
            self.summary.sent += len(done.tags)
            self.summary.malformed += len(done.tags)
            return
        self.summary.sent += len(done.tags) - 1
        pieces: list[Piece] = done.tags
        header = len(done.frame) - max(piece.end for piece in pieces)
        known = min((piece.known for piece in pieces if piece.known < piece.end), default=len(done.frame) - header)
        self._whole(number, whole, done.frame, header + known)

    def _lost(self, pieces: list[Piece]) -> None:
        self.summary.sent += len(pieces)
        self.summary.fragments += len(pieces)

    def close(self) -> None:
        """The capture is at its end."""
        for given_up in self._fragments.expire(float("inf")):
            self._lost(given_up)
        self.summary.unknown_links = {str(link): count for link, count in sorted(self._links.items())}

    def _is_ours(self, frame: bytes) -> bool:
        """Whether a frame that does not parse says it comes from the replica."""
        at = ETHERNET
        while int.from_bytes(frame[at - 2 : at]) in VLAN_TYPES and at < len(frame):
            at += 4
        begin = at + (12 if len(self.address) == 4 else 8)
        return frame[begin : begin + len(self.address)] == self.address
