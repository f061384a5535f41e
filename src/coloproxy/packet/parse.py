"""Frames taken apart: Ethernet II, VLAN tags, IPv4 and IPv6 with all their headers, TCP, UDP, ICMP.

Every length is checked against the frame and against the IP packet's own: padding is never payload, and what does
not fit is Malformed. Nothing is copied but addresses and the connection's key.
"""

import enum
import struct
from dataclasses import dataclass
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview

VNET_LENGTHS = (0, 10, 12, 20)
ETHERNET = 14
IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TYPES = (0x8100, 0x88A8)
MAX_TAGS = 3
MAX_DATAGRAM = 65535

PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
MOBILITY, HIP, SHIM6 = 135, 139, 140
# IPv6 extension headers (RFC 8200, 4; the registry of IANA) whose second byte is their length.
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6})
ICMP_ECHO = frozenset({0, 8})
ICMPV6_ECHO = frozenset({128, 129})

_U16 = struct.Struct(">H")
# Version and IHL, total length, identification, flags and offset, protocol, addresses.
_IPV4 = struct.Struct(">BxHHHxBxx4s4s")
_TCP = struct.Struct(">HHIIBBH")
_UDP = struct.Struct(">HHH")
_PORTS = struct.Struct(">HH")
_FRAGMENT = struct.Struct(">BxHI")


class Kind(enum.IntEnum):
    """What a frame is compared as. OTHER is any other IP protocol."""

    TCP = 0
    UDP = 1
    ICMP = 2
    ICMPV6 = 3
    OTHER = 4
    NON_IP = 5


class Malformed(Exception):
    """A frame that says of itself what cannot be. `reason` is a short name for counting, str() a sentence."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Fragment(NamedTuple):
    """A piece of an IP datagram: its identification, where in the datagram it lies (bytes), whether more follow, the
    protocol of the whole, the end of the headers that all fragments share, and where the byte is that names what
    follows these (IPv6)."""

    ident: int
    offset: int
    more: bool
    protocol: int
    header_end: int
    next_header_at: int


@dataclass(slots=True)
class Packet:
    """A frame taken apart. All offsets are indexes into the buffer that was parsed.

    buf[start:end] is the frame, virtio-net header included; buf[l3:] begins with the IP header (or what follows the
    ethertype); buf[l4:l4_end] is the IP payload, Ethernet's padding excluded; buf[payload:payload_end] the
    application's bytes. seq, ack, flags and window are TCP's; ident that of an ICMP echo.
    """

    kind: Kind
    start: int
    end: int
    vnet_len: int
    ethertype: int
    vlan: tuple[int, ...]
    l3: int
    version: int = 0
    protocol: int = 0
    src: bytes = b""
    dst: bytes = b""
    sport: int = 0
    dport: int = 0
    ident: int = 0
    l4: int = 0
    l4_end: int = 0
    payload: int = 0
    payload_end: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 0
    fragment: Fragment | None = None
    key: bytes = b""


def parse(buf: Buffer, start: int, end: int, vnet_len: int = 0) -> Packet:
    """Take apart the frame buf[start:end], whose first `vnet_len` bytes are a virtio-net header.

    Raises Malformed.
    """
    at = start + vnet_len
    if vnet_len not in VNET_LENGTHS:
        raise Malformed("vnet_header", f"a virtio-net header has 0, 10, 12 or 20 bytes, not {vnet_len}")
    if end - at < ETHERNET:
        raise Malformed("ethernet_header", f"{end - start} bytes are too few for an Ethernet header")
    (ethertype,) = _U16.unpack_from(buf, at + 12)
    at += ETHERNET
    tags = b""
    vlan: tuple[int, ...] = ()
    while ethertype in VLAN_TYPES:
        if len(vlan) == MAX_TAGS:
            raise Malformed("vlan_tags", f"more than {MAX_TAGS} VLAN tags")
        if end - at < 4:
            raise Malformed("vlan_header", "the frame ends within a VLAN tag")
        tci, following = struct.unpack_from(">HH", buf, at)
        tags += struct.pack(">HH", ethertype, tci & 0x0FFF)
        vlan += (tci & 0x0FFF,)
        ethertype = following
        at += 4
    packet = Packet(Kind.NON_IP, start, end, vnet_len, ethertype, vlan, at)
    if ethertype == IPV4:
        _ipv4(buf, packet)
    elif ethertype == IPV6:
        _ipv6(buf, packet)
    else:
        packet.payload, packet.payload_end = at, end
        # Below 1536 it is the length of an 802.3 frame, not a type.
        packet.key = _U16.pack(ethertype if ethertype >= 0x0600 else 0)
    if tags:
        packet.key += tags
    return packet


def _ipv4(buf: Buffer, p: Packet) -> None:
    """RFC 791."""
    l3 = p.l3
    room = p.end - l3
    if room < 20:
        raise Malformed("ipv4_header", f"{room} bytes are too few for an IPv4 header")
    first, total, ident, flags, protocol, src, dst = _IPV4.unpack_from(buf, l3)
    header = (first & 0x0F) * 4
    if first >> 4 != 4:
        raise Malformed("ipv4_version", f"the IPv4 header says version {first >> 4}")
    if header < 20 or header > total:
        raise Malformed("ipv4_header_length", f"the IPv4 header length is {header}, the total length {total}")
    if total > room:
        raise Malformed("ipv4_total_length", f"the IPv4 total length is {total}, but {room} bytes are there")
    p.version, p.protocol = 4, protocol
    p.src, p.dst = src, dst
    p.l4, p.l4_end = l3 + header, l3 + total
    if flags & 0x3FFF:
        _fragment(p, Fragment(ident, (flags & 0x1FFF) * 8, bool(flags & 0x2000), protocol, p.l4, l3 + 9))
        return
    _transport(buf, p)


def _ipv6(buf: Buffer, p: Packet) -> None:
    """RFC 8200. The extension headers are walked to the last; a fragment that is the whole datagram (RFC 6946) too."""
    l3 = p.l3
    room = p.end - l3
    if room < 40:
        raise Malformed("ipv6_header", f"{room} bytes are too few for an IPv6 header")
    if buf[l3] >> 4 != 6:
        raise Malformed("ipv6_version", f"the IPv6 header says version {buf[l3] >> 4}")
    (length,) = _U16.unpack_from(buf, l3 + 4)
    if 40 + length > room:
        raise Malformed("ipv6_payload_length", f"the IPv6 payload length is {length}, but {room - 40} bytes are there")
    p.version = 6
    p.src, p.dst = bytes(buf[l3 + 8 : l3 + 24]), bytes(buf[l3 + 24 : l3 + 40])
    end = l3 + 40 + length
    at, named_at, protocol = l3 + 40, l3 + 6, buf[l3 + 6]
    while protocol in EXTENSIONS:
        if end - at < 8:
            raise Malformed("ipv6_extension", f"the packet ends within its extension header {protocol}")
        if protocol == FRAGMENT:
            following, offset, ident = _FRAGMENT.unpack_from(buf, at)
            if offset & 0xFFF9:
                p.protocol, p.l4, p.l4_end = following, at + 8, end
                _fragment(p, Fragment(ident, offset & 0xFFF8, bool(offset & 1), following, at, named_at))
                return
            size = 8
        elif protocol == AUTHENTICATION:
            size = (buf[at + 1] + 2) * 4
        else:
            size = (buf[at + 1] + 1) * 8
        if size > end - at:
            raise Malformed("ipv6_extension", f"extension header {protocol} is longer than the packet")
        named_at, protocol = at, buf[at]
        at += size
    p.protocol, p.l4, p.l4_end = protocol, at, end
    _transport(buf, p)


def _fragment(p: Packet, fragment: Fragment) -> None:
    size = p.l4_end - p.l4
    header = fragment.header_end - p.l3 - (40 if p.version == 6 else 0)  # what the datagram's own length counts of it
    if header + fragment.offset + size > MAX_DATAGRAM:
        raise Malformed("fragment_end", f"the fragment ends at {fragment.offset + size}, beyond any datagram's end")
    if size == 0:
        raise Malformed("fragment_length", "a fragment without a byte in it")
    if fragment.more and size % 8:
        raise Malformed("fragment_length", f"a fragment of {size} bytes, no multiple of 8, with others behind it")
    p.kind, p.fragment = Kind.OTHER, fragment
    p.payload, p.payload_end = p.l4, p.l4_end
    p.key = p.src + p.dst + bytes((p.protocol,))


def _transport(buf: Buffer, p: Packet) -> None:
    protocol = p.protocol
    if protocol == PROTO_TCP:
        _tcp(buf, p)
    elif protocol == PROTO_UDP:
        _udp(buf, p)
    elif protocol == PROTO_ICMP and p.version == 4:
        _icmp(buf, p, Kind.ICMP, ICMP_ECHO)
    elif protocol == PROTO_ICMPV6 and p.version == 6:
        _icmp(buf, p, Kind.ICMPV6, ICMPV6_ECHO)
    else:
        p.kind = Kind.OTHER
        p.payload, p.payload_end = p.l4, p.l4_end
        p.key = p.src + p.dst + bytes((protocol,))


def _tcp(buf: Buffer, p: Packet) -> None:
    """RFC 9293, 3.1."""
    size = p.l4_end - p.l4
    if size < 20:
        raise Malformed("tcp_header", f"{size} bytes are too few for a TCP header")
    p.sport, p.dport, p.seq, p.ack, offset, p.flags, p.window = _TCP.unpack_from(buf, p.l4)
    header = (offset >> 4) * 4
    if header < 20 or header > size:
        raise Malformed("tcp_data_offset", f"the TCP header length is {header}, the segment {size} bytes")
    p.kind = Kind.TCP
    p.payload, p.payload_end = p.l4 + header, p.l4_end
    p.key = p.src + p.dst + _PORTS.pack(p.sport, p.dport)


def _udp(buf: Buffer, p: Packet) -> None:
    """RFC 768."""
    size = p.l4_end - p.l4
    if size < 8:
        raise Malformed("udp_header", f"{size} bytes are too few for a UDP header")
    p.sport, p.dport, length = _UDP.unpack_from(buf, p.l4)
    if not 8 <= length <= size:
        raise Malformed("udp_length", f"the UDP length is {length}, the IP payload {size} bytes")
    p.kind = Kind.UDP
    p.payload, p.payload_end = p.l4 + 8, p.l4 + length
    p.key = p.src + p.dst + _PORTS.pack(p.sport, p.dport)


def _icmp(buf: Buffer, p: Packet, kind: Kind, echo: frozenset[int]) -> None:
    """RFC 792, RFC 4443."""
    size = p.l4_end - p.l4
    if size < 4:
        raise Malformed("icmp_header", f"{size} bytes are too few for an ICMP header")
    p.kind = kind
    p.payload, p.payload_end = p.l4 + 4, p.l4_end
    if buf[p.l4] in echo and size >= 8:
        (p.ident,) = _U16.unpack_from(buf, p.l4 + 4)
    p.key = p.src + p.dst + _U16.pack(p.ident) + b"\0\0"
