"""Frames made from their parts, for tests: correct lengths and checksums, built without coloproxy's own code."""

import socket
import struct

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
REPLICA, CLIENT = "10.0.0.2", "10.0.0.9"
REPLICA6, CLIENT6 = "fd00::2", "fd00::9"
MACS = bytes.fromhex("525400000009525400000002")


def ones(data: bytes) -> int:
    """Ones' complement sum of 16-bit words, added up one by one (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ethernet(ethertype: int, payload: bytes, vlan: tuple[int, ...] = (), macs: bytes = MACS) -> bytes:
    """An Ethernet II frame; of several tags all but the last are 802.1ad."""
    tags = b"".join(
        struct.pack(">HH", 0x8100 if at == len(vlan) - 1 else 0x88A8, tag) for at, tag in enumerate(vlan)
    )  # fmt: skip
    return macs + tags + struct.pack(">H", ethertype) + payload


def ipv4(
    protocol: int, payload: bytes, src: str = REPLICA, dst: str = CLIENT, *, ident: int = 1, ttl: int = 64,
    tos: int = 0, options: bytes = b"", offset: int = 0, more: bool = False, df: bool = True,
) -> bytes:  # fmt: skip
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), tos, 20 + len(options) + len(payload), ident,
        (0x2000 if more else 0) | (0x4000 if df and not (more or offset) else 0) | offset // 8, ttl, protocol, 0,
        address(src), address(dst),
    ) + options  # fmt: skip
    total = ~ones(header) & 0xFFFF
    return header[:10] + struct.pack(">H", total) + header[12:] + payload


def ipv6(
    protocol: int, payload: bytes, src: str = REPLICA6, dst: str = CLIENT6, *, hops: int = 64,
    extensions: tuple[tuple[int, bytes], ...] = (),
) -> bytes:  # fmt: skip
    """`extensions`: (type, content from its third byte on), in order; a content of 4 bytes makes 8 with the padding."""
    chain = b""
    following = protocol
    for kind, content in reversed(extensions):
        body = content.ljust((len(content) + 2 + 7) // 8 * 8 - 2, b"\0")
        if kind == 44:
            chain = struct.pack(">BB", following, 0) + content + chain
        else:
            chain = struct.pack(">BB", following, (len(body) + 2) // 8 - 1) + body + chain
        following = kind
    body = chain + payload
    return struct.pack(">IHBB", 6 << 28, len(body), following, hops) + address(src) + address(dst) + body


def _ip(protocol: int, payload: bytes, src: str, dst: str, **ip: object) -> tuple[int, bytes]:
    if ":" in src:
        return 0x86DD, ipv6(protocol, payload, src, dst, **ip)  # type: ignore[arg-type]
    return 0x0800, ipv4(protocol, payload, src, dst, **ip)  # type: ignore[arg-type]


def pseudo(src: str, dst: str, protocol: int, length: int) -> bytes:
    return address(src) + address(dst) + struct.pack(">II", length, protocol)


def syn_options(mss: int = 1460, scale: int | None = 7, sack: bool = True, stamps: bool = False) -> bytes:
    out = struct.pack(">BBH", 2, 4, mss)
    if scale is not None:
        out += struct.pack(">BBBB", 1, 3, 3, scale)
    if sack:
        out += b"\x01\x01\x04\x02"
    if stamps:
        out += timestamp(1, 0)
    return out


def timestamp(value: int, echo: int) -> bytes:
    return b"\x01\x01\x08\x0a" + struct.pack(">II", value & 0xFFFFFFFF, echo & 0xFFFFFFFF)


def tcp(
    payload: bytes = b"", *, seq: int = 0, ack: int = 0, flags: int = ACK, window: int = 65535, sport: int = 80,
    dport: int = 40000, src: str = REPLICA, dst: str = CLIENT, options: bytes = b"", urgent: int = 0,
    vlan: tuple[int, ...] = (), vnet: int = 0, gso: int = 0, pad: int = 0, **ip: object,
) -> bytes:  # fmt: skip
    """A TCP frame. vnet: length of a virtio-net header; gso: its segment size, and the checksum is then partial."""
    segment = struct.pack(
        ">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (5 + len(options) // 4) << 4, flags, window, 0,
        urgent,
    ) + options + payload  # fmt: skip
    head = pseudo(src, dst, 6, len(segment))
    total = ones(head) if gso else ~ones(head + segment) & 0xFFFF
    segment = segment[:16] + struct.pack(">H", total) + segment[18:]
    frame = ethernet(*_ip(6, segment, src, dst, **ip), vlan=vlan) + bytes(pad)
    return virtio(frame, vnet, gso, 14 + 4 * len(vlan) + (40 if ":" in src else 20), 20 + len(options)) + frame


def virtio(frame: bytes, length: int, gso: int = 0, l4: int = 34, tcp_header: int = 20) -> bytes:
    """A virtio-net header; with gso the frame's checksum is partial, and it is to be cut if it is larger."""
    if not length:
        return b""
    if not gso:
        return bytes(length)
    large = len(frame) - l4 - tcp_header > gso
    kind = (4 if frame[12:14] == b"\x86\xdd" else 1) if large else 0
    return struct.pack(
        "<BBHHHH", 1, kind, l4 + tcp_header if large else 0, gso if large else 0, l4, 16
    ).ljust(length, b"\0")  # fmt: skip


def udp(
    payload: bytes = b"", *, sport: int = 53, dport: int = 40000, src: str = REPLICA, dst: str = CLIENT,
    vlan: tuple[int, ...] = (), vnet: int = 0, length: int | None = None, pad: int = 0, **ip: object,
) -> bytes:  # fmt: skip
    datagram = udp_datagram(payload, sport, dport, src, dst, length)
    return virtio(b"", vnet) + ethernet(*_ip(17, datagram, src, dst, **ip), vlan=vlan) + bytes(pad)


def udp_datagram(
    payload: bytes, sport: int = 53, dport: int = 40000, src: str = REPLICA, dst: str = CLIENT,
    length: int | None = None,
) -> bytes:  # fmt: skip
    size = 8 + len(payload) if length is None else length
    head = struct.pack(">HHHH", sport, dport, size, 0)
    total = ~ones(pseudo(src, dst, 17, size) + head + payload) & 0xFFFF or 0xFFFF
    return head[:6] + struct.pack(">H", total) + payload


def icmp(
    payload: bytes = b"", *, kind: int = 0, code: int = 0, ident: int = 7, number: int = 1, src: str = REPLICA,
    dst: str = CLIENT, vlan: tuple[int, ...] = (), **ip: object,
) -> bytes:  # fmt: skip
    """An ICMP message (an echo reply by default), or ICMPv6 if the addresses are."""
    body = struct.pack(">BBHHH", kind, code, 0, ident, number) + payload
    head = pseudo(src, dst, 58, len(body)) if ":" in src else b""
    body = body[:2] + struct.pack(">H", ~ones(head + body) & 0xFFFF) + body[4:]
    return ethernet(*_ip(58 if head else 1, body, src, dst, **ip), vlan=vlan)


def other(payload: bytes, protocol: int = 47, src: str = REPLICA, dst: str = CLIENT, **ip: object) -> bytes:
    """A frame of any other IP protocol."""
    return ethernet(*_ip(protocol, payload, src, dst, **ip))


def arp(sender: str = REPLICA, target: str = CLIENT) -> bytes:
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + MACS[6:] + address(sender) + MACS[:6] + address(target)
    return ethernet(0x0806, body).ljust(60, b"\0")


def fragments(
    payload: bytes, protocol: int = 17, size: int = 1480, src: str = REPLICA, dst: str = CLIENT, ident: int = 77,
    vlan: tuple[int, ...] = (),
) -> list[bytes]:  # fmt: skip
    """An IP payload as fragments of `size` bytes each (a multiple of 8)."""
    frames = []
    for at in range(0, len(payload), size):
        piece, more = payload[at : at + size], at + size < len(payload)
        if ":" in src:
            content = struct.pack(">HI", at | more, ident)
            packet = ipv6(protocol, piece, src, dst, extensions=((44, content),))
        else:
            packet = ipv4(protocol, piece, src, dst, ident=ident, offset=at, more=more)
        frames.append(ethernet(0x86DD if ":" in src else 0x0800, packet, vlan))
    return frames
