"""Reassembly of IP fragments (RFC 791, 3.2; RFC 8200, 4.5), bounded in time, bytes and datagrams.

Overlapping fragments make no datagram (RFC 5722); one that is repeated as it was does.
"""

import struct
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coloproxy.packet.checksum import internet_checksum
from coloproxy.packet.parse import MAX_DATAGRAM, Buffer, Packet

PIECE_COST = 256  # bytes of memory counted for each fragment besides its data


class Reassembled(NamedTuple):
    """A whole datagram as a frame without virtio-net header, and the tags of its fragments in order of arrival."""

    frame: bytes
    tags: list[Any]


class FragmentOverlap(Exception):
    """Two fragments of one datagram say what is at one place. `tags` are those of its fragments so far."""

    def __init__(self, tags: list[Any]) -> None:
        super().__init__("fragments of one datagram overlap")
        self.tags = tags


@dataclass(slots=True)
class _Datagram:
    """Pieces by the offset they begin at, the same offsets sorted; `size` counts their data, `cost` their memory."""

    since: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    tags: list[Any] = field(default_factory=list)
    header: bytes = b""
    length: int | None = None
    size: int = 0
    cost: int = 0


class Reassembler:
    """Gathers fragments until a datagram is whole, or `timeout` seconds have passed since its first.

    With more than `max_bytes` (PIECE_COST for each fragment included) or `max_datagrams` waiting the oldest is given
    up; so is one whose headers and data are together longer than a datagram may be. Tags are whatever the caller wants
    back with a datagram's fragments.
    """

    def __init__(self, max_bytes: int, max_datagrams: int, timeout: float) -> None:
        self.max_bytes = max_bytes
        self.max_datagrams = max_datagrams
        self.timeout = timeout
        self._waiting: dict[tuple[object, ...], _Datagram] = {}
        self._bytes = 0
        self._given_up: list[list[Any]] = []

    @property
    def next_deadline(self) -> float | None:
        """When `expire` will have something to return."""
        if self._given_up:
            return 0.0
        oldest = next(iter(self._waiting.values()), None)
        return None if oldest is None else oldest.since + self.timeout

    def add(self, packet: Packet, buf: Buffer, now: float, tag: Any) -> Reassembled | None:
        """Take a fragment, and return its datagram if that is whole now. Raises FragmentOverlap."""
        fragment = packet.fragment
        if fragment is None:
            raise ValueError("not a fragment")
        protocol = fragment.protocol if packet.version == 4 else None
        key = (packet.src, packet.dst, fragment.ident, protocol, packet.vlan)
        datagram = self._waiting.get(key)
        if datagram is None:
            datagram = self._waiting[key] = _Datagram(now)
        datagram.tags.append(tag)
        data = bytes(buf[packet.l4 : packet.l4_end])
        if not self._fits(datagram, fragment.offset, data, fragment.more):
            self._forget(key)
            raise FragmentOverlap(datagram.tags)
        cost = PIECE_COST
        if fragment.offset not in datagram.pieces:
            datagram.pieces[fragment.offset] = data
            insort(datagram.offsets, fragment.offset)
            datagram.size += len(data)
            cost += len(data)
        datagram.cost += cost
        self._bytes += cost
        if not fragment.more:
            datagram.length = fragment.offset + len(data)
        if fragment.offset == 0:
            datagram.header = _header(packet, buf)
        if datagram.size == datagram.length and datagram.header:
            payload = b"".join(datagram.pieces[at] for at in datagram.offsets)
            whole = _whole(datagram.header, packet, payload)
            if whole is None:
                self._give_up(key)
                return None
            self._forget(key)
            return Reassembled(whole, datagram.tags)
        self._make_room()
        return None

    def expire(self, now: float) -> list[list[Any]]:
        """The tags of each datagram that was given up: out of time, for want of room, or too long."""
        while self._waiting and next(iter(self._waiting.values())).since + self.timeout <= now:
            self._give_up(next(iter(self._waiting)))
        given_up, self._given_up = self._given_up, []
        return given_up

    @staticmethod
    def _fits(datagram: _Datagram, offset: int, data: bytes, more: bool) -> bool:
        """Whether a piece lies beside all others, or is one of them again."""
        end = offset + len(data)
        if datagram.length is not None and (end > datagram.length or more != (end < datagram.length)):
            return False
        if datagram.pieces.get(offset) == data:
            return more or datagram.length == end
        if not more and datagram.offsets and datagram.offsets[-1] >= offset:
            return False
        at = bisect_left(datagram.offsets, offset)
        if at < len(datagram.offsets) and datagram.offsets[at] < end:
            return False
        before = datagram.offsets[at - 1] if at else 0
        return not at or before + len(datagram.pieces[before]) <= offset

    def _forget(self, key: tuple[object, ...]) -> None:
        self._bytes -= self._waiting.pop(key).cost

    def _give_up(self, key: tuple[object, ...]) -> None:
        self._given_up.append(self._waiting[key].tags)
        self._forget(key)

    def _make_room(self) -> None:
        while self._bytes > self.max_bytes or len(self._waiting) > self.max_datagrams:
            self._give_up(next(iter(self._waiting)))


def _header(packet: Packet, buf: Buffer) -> bytes:
    """Ethernet and IP headers of the whole datagram, from its first fragment; lengths are not set yet."""
    fragment = packet.fragment
    assert fragment is not None
    begin = packet.start + packet.vnet_len
    header = bytearray(buf[begin : fragment.header_end])
    if packet.version == 6:
        header[fragment.next_header_at - begin] = fragment.protocol
    return bytes(header)


def _whole(header: bytes, packet: Packet, payload: bytes) -> bytes | None:
    """Header and payload with lengths, flags and sum of an unfragmented datagram; None: none is that long."""
    out = bytearray(header)
    l3 = packet.l3 - packet.start - packet.vnet_len
    length = len(out) - l3 + len(payload) - (40 if packet.version == 6 else 0)
    if length > MAX_DATAGRAM:
        return None
    if packet.version == 6:
        struct.pack_into(">H", out, l3 + 4, length)
        return bytes(out) + payload
    struct.pack_into(">H", out, l3 + 2, length)
    out[l3 + 6 : l3 + 8] = b"\0\0"
    out[l3 + 10 : l3 + 12] = b"\0\0"
    struct.pack_into(">H", out, l3 + 10, internet_checksum(out[l3:]))
    return bytes(out) + payload
