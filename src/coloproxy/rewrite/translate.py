"""Segments altered in place, from the numbers of one replica to those of the other, in any frame: the general path.

The client knows the primary's numbers alone. What is a number of the replicas': toward the secondary the
acknowledgement, the edges of SACK blocks (RFC 2018; RFC 2883) and the timestamp echoed (RFC 7323); from it the sequence
number and the timestamp's value. The rest of a segment, the urgent pointer with it, is relative or the client's own.
"""

import struct

from coloproxy.packet.edit import amend_checksum
from coloproxy.packet.parse import Packet
from coloproxy.packet.serial import add
from coloproxy.packet.tcpopts import SACK, TIMESTAMPS, blank_timestamps, options
from coloproxy.packet.vnet import needs_csum
from coloproxy.rewrite.engine import Connection

ACK = 0x10


def to_secondary(c: Connection, packet: Packet, buf: bytearray) -> None:
    """Translate a segment of the client's. Without ACK it says no number of the replicas'."""
    if not packet.flags & ACK:
        return
    header = _summed(buf, packet)
    _shift(buf, packet.l4 + 8, c.offset)
    for kind, first, last in options(buf, packet.l4 + 20, packet.payload):
        if kind == SACK and (last - first) % 8 == 0:
            for edge in range(first, last, 4):
                _shift(buf, edge, c.offset)
        elif kind == TIMESTAMPS and c.stamped and last - first == 8:
            _shift(buf, first + 4, c.ts_offset)
    _amend(buf, packet, header)


def from_secondary(c: Connection, packet: Packet, buf: bytearray) -> None:
    """Translate a segment of the secondary's."""
    header = _summed(buf, packet)
    _shift(buf, packet.l4 + 4, -c.offset)
    for kind, first, last in options(buf, packet.l4 + 20, packet.payload):
        if kind == TIMESTAMPS and c.stamped and last - first == 8:
            _shift(buf, first, -c.ts_offset)
    _amend(buf, packet, header)


def strip_timestamps(packet: Packet, buf: bytearray) -> bool:
    """Take the timestamps option out of a SYN, whose length stays; whether there was one."""
    header = _summed(buf, packet)
    if not blank_timestamps(buf, packet.l4 + 20, packet.payload):
        return False
    _amend(buf, packet, header)
    return True


def _shift(buf: bytearray, at: int, by: int) -> None:
    (number,) = struct.unpack_from(">I", buf, at)
    struct.pack_into(">I", buf, at, add(number, by))


def _summed(buf: bytearray, packet: Packet) -> bytes | None:
    """The TCP header as its checksum knows it; None where a partial one covers none of it."""
    if needs_csum(buf, packet.start, packet.vnet_len):
        return None
    return bytes(buf[packet.l4 : packet.payload])


def _amend(buf: bytearray, packet: Packet, header: bytes | None) -> None:
    if header is not None and buf[packet.l4 : packet.payload] != header:
        amend_checksum(buf, packet, header)
