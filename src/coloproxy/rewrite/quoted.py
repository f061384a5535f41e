"""ICMP errors, which quote the beginning of the segment that they are about: its number is the primary's.

The secondary heeds one (a smaller path MTU, most of all) only if it quotes a number that it has sent (RFC 5927, 4.1).
"""

import struct

from coloproxy.packet.checksum import update
from coloproxy.packet.parse import PROTO_TCP, Kind, Packet
from coloproxy.packet.serial import add

# Types of RFC 792 and RFC 4443 that quote what they are about.
ERRORS = {Kind.ICMP: frozenset({3, 4, 5, 11, 12}), Kind.ICMPV6: frozenset({1, 2, 3, 4})}
HEADER = 8  # bytes of the message in front of the quotation; as many of the segment are quoted at least (RFC 792)


def quoted_segment(packet: Packet, buf: bytearray) -> tuple[bytes, int] | None:
    """Key and index in buf of the TCP segment that an ICMP error quotes; None if it is no such message."""
    if buf[packet.l4] not in ERRORS.get(packet.kind, ()):
        return None
    at, end = packet.l4 + HEADER, packet.l4_end
    if packet.kind == Kind.ICMP:
        if at + 20 > end or buf[at] >> 4 != 4 or buf[at + 9] != PROTO_TCP or buf[at + 6] & 0x1F or buf[at + 7]:
            return None
        addresses, segment = bytes(buf[at + 12 : at + 20]), at + max((buf[at] & 0x0F) * 4, 20)
    else:
        if at + 40 > end or buf[at] >> 4 != 6 or buf[at + 6] != PROTO_TCP:
            return None
        addresses, segment = bytes(buf[at + 8 : at + 40]), at + 40
    if segment + 8 > end:
        return None
    tags = packet.key[2 * len(packet.src) + 4 :]
    return addresses + bytes(buf[segment : segment + 4]) + tags, segment


def shift_quoted(packet: Packet, buf: bytearray, segment: int, by: int) -> None:
    """Add to the sequence number of the segment quoted at buf[segment:], and amend the message's checksum."""
    old = bytes(buf[segment + 4 : segment + 8])
    new = struct.pack(">I", add(int.from_bytes(old), by))
    buf[segment + 4 : segment + 8] = new
    (checksum,) = struct.unpack_from(">H", buf, packet.l4 + 2)
    struct.pack_into(">H", buf, packet.l4 + 2, update(checksum, old, new))
