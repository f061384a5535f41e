"""TCP segments that wait to be compared, cut to the places that are new, and made up where a capture has nothing."""

import struct

import msgspec

from coloproxy.packet.parse import Packet

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MASK = 0xFFFFFFFF
LARGEST_FILLER = 1 << 15  # bytes in a segment that is made up


class Segment(msgspec.Struct, gc=False):
    """The places low..high of a stream, as IP packet data[l3:].

    number: of the record. begin: place of the first byte of payload, one behind `low` with a SYN. size: bytes of
    payload; a FIN takes the place behind them. l4, payload: indexes into data. zeros: how many bytes of the payload
    are zeros that are not in `data`.
    """

    number: int
    low: int
    begin: int
    size: int
    high: int
    data: bytes
    l3: int
    l4: int
    payload: int
    zeros: int = 0

    def bytes_at(self, place: int, most: int) -> bytes:
        """Up to `most` bytes of payload, from a place on."""
        at = self.payload + max(place - self.begin, 0)
        return self.data[at : min(at + most, self.payload + self.size - self.zeros)]


def whole(number: int, low: int, packet: Packet, data: bytes) -> Segment:
    """A segment as it was captured."""
    size = packet.payload_end - packet.payload
    begin = low + (packet.flags >> 1 & 1)
    high = begin + size + (packet.flags & FIN)
    return Segment(number, low, begin, size, high, data, packet.l3, packet.l4, packet.payload)


def part(s: Segment, low: int, high: int, origin: int) -> Segment:
    """The places low..high of a segment as one of its own. origin: the sequence number of place 0."""
    if (low, high) == (s.low, s.high):
        return s
    first, last = max(low - s.begin, 0), min(high - s.begin, s.size)
    there = s.size - s.zeros
    body = s.data[s.payload + first : s.payload + min(last, there)] if first < there else b""
    zeros = max(last - first, 0) - len(body)
    flags = s.data[s.l4 + 13]
    if low >= s.begin:
        flags &= ~SYN
    if high <= s.begin + s.size:
        flags &= ~FIN
    header = _header(s.data[s.l3 : s.payload], s.l4 - s.l3, origin + low, flags, len(body) + zeros)
    begin = max(low, s.begin)
    return Segment(s.number, low, begin, len(body) + zeros, high, header + body, 0, s.l4 - s.l3, len(header), zeros)


def fillers(template: bytes, l4: int, low: int, high: int, origin: int) -> list[Segment]:
    """Segments of zeros for the places low..high. template: IP and TCP headers, without TCP options."""
    made = []
    for at in range(low, high, LARGEST_FILLER):
        size = min(LARGEST_FILLER, high - at)
        header = _header(template, l4, origin + at, ACK, size)
        made.append(Segment(0, at, at, size, at + size, header, 0, l4, len(header), size))
    return made


def template_of(packet: Packet, data: bytes) -> tuple[bytes, int]:
    """IP and TCP headers without TCP options, and where in them TCP's begins."""
    header = bytearray(data[packet.l3 : packet.l4 + 20])
    l4 = packet.l4 - packet.l3
    header[l4 + 12] = 5 << 4
    return bytes(header), l4


def _header(header: bytes, l4: int, seq: int, flags: int, size: int) -> bytes:
    """IP and TCP headers for another payload. Checksums are not compared, and left as they are."""
    out = bytearray(header)
    struct.pack_into(">I", out, l4 + 4, seq & MASK)
    out[l4 + 13] = flags
    if out[0] >> 4 == 4:
        struct.pack_into(">H", out, 2, len(out) + size)
    else:
        struct.pack_into(">H", out, 4, len(out) + size - 40)
    return bytes(out)
