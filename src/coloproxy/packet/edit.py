"""TCP frames altered as the sender's own stack would have made them: lengths, sums and offload fields right."""

import struct
from collections.abc import Sequence

from coloproxy.packet import vnet
from coloproxy.packet.checksum import internet_checksum, pseudo_header_sum, update
from coloproxy.packet.parse import PROTO_TCP, Packet
from coloproxy.packet.serial import add
from coloproxy.packet.tcpopts import timestamps

FIN, SYN, RST, PSH, ACK, URG, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x80


def tcp_part(frame: bytes, packet: Packet, first: int, last: int) -> bytes:
    """The payload's bytes first..last as a frame of its own.

    FIN and PSH stay with the payload's end; SYN and CWR with its beginning; the urgent pointer goes on pointing to the
    same byte. The IPv4 identification counts segments, as segmentation offload does. `frame` includes its virtio-net
    header, and `packet` is its parse.
    """
    header = vnet.read(frame, packet.start, packet.vnet_len)
    size = packet.payload_end - packet.payload
    out = bytearray(frame[packet.start : packet.payload]) + frame[packet.payload + first : packet.payload + last]
    l3, l4 = packet.l3 - packet.start, packet.l4 - packet.start
    flags = packet.flags
    if last < size:
        flags &= ~(FIN | PSH)
    seq = add(packet.seq, first)
    if first:
        seq = add(seq, flags >> 1 & 1)
        flags &= ~(SYN | CWR)
    if flags & URG:
        (urgent,) = struct.unpack_from(">H", out, l4 + 18)
        flags = flags if urgent > first else flags & ~URG
        struct.pack_into(">H", out, l4 + 18, max(urgent - first, 0))
    struct.pack_into(">I", out, l4 + 4, seq)
    out[l4 + 13] = flags
    segments = first // header.gso_size if header.gso_size else 0
    _set_length(out, packet, l3, segments)
    if header.gso_size and last - first <= header.gso_size:
        header = header._replace(gso_type=vnet.GSO_NONE, gso_size=0)
    if packet.vnet_len:
        out[:10] = header.write(10)
    _set_checksum(out, packet, l4, header.needs_csum)
    return bytes(out)


def tcp_with_ack(frame: bytes, packet: Packet, ack: int, window: int) -> bytes:
    """The frame with another acknowledgement and another (raw, unscaled) window."""
    out = bytearray(frame[packet.start : packet.end])
    l4 = packet.l4 - packet.start
    old = bytes(out[l4 + 8 : l4 + 12] + out[l4 + 14 : l4 + 16])
    new = struct.pack(">IH", ack, window)
    out[l4 + 8 : l4 + 12], out[l4 + 14 : l4 + 16] = new[:4], new[4:]
    if not vnet.needs_csum(frame, packet.start, packet.vnet_len):
        (checksum,) = struct.unpack_from(">H", out, l4 + 16)
        struct.pack_into(">H", out, l4 + 16, update(checksum, old, new))
    return bytes(out)


def tcp_pure_ack(
    frame: bytes | bytearray, packet: Packet, seq: int, ack: int, window: int, *,
    stamped: bool = True, sack: Sequence[tuple[int, int]] = (),
) -> bytes:  # fmt: skip
    """A segment that only acknowledges, modelled on the frame: its addresses, tags and hop limit.

    The timestamps option is kept (RFC 7323, 3.2: once agreed on it is in every segment) unless the frame's is too old
    to be right (`stamped`); SACK blocks are those given, at most 3 (RFC 2018, 3).
    """
    l3, l4 = packet.l3 - packet.start, packet.l4 - packet.start
    stamps = timestamps(frame, packet.l4 + 20, packet.payload) if stamped else None
    options = b"" if stamps is None else b"\x01\x01\x08\x0a" + struct.pack(">II", *stamps)
    if sack:
        edges = b"".join(struct.pack(">II", *block) for block in sack)
        options += struct.pack(">BBBB", 1, 1, 5, 2 + len(edges)) + edges
    tcp = struct.pack(
        ">HHIIBBHHH", packet.sport, packet.dport, seq, ack, (20 + len(options)) << 2, ACK, window, 0, 0
    )  # fmt: skip
    out = bytearray(frame[packet.start : packet.l4]) + tcp + options
    out[: packet.vnet_len] = bytes(packet.vnet_len)
    out[l3 + 1] &= 0xFC if packet.version == 4 else 0xCF  # such a segment is not ECN-capable (RFC 3168, 6.1.4)
    _set_length(out, packet, l3, 0)
    _set_checksum(out, packet, l4, partial=False)
    return bytes(out)


def tcp_reset(frame: bytes, packet: Packet, seq: int, ack: int, *, back: bool = False) -> bytes:
    """A reset (RFC 9293, 3.5.2) modelled on the frame, in its direction; back: in the other, from its receiver."""
    source, target = packet.sport, packet.dport
    if back:
        source, target = target, source
    tcp = struct.pack(">HHIIBBHHH", source, target, seq, ack, 20 << 2, RST | ACK, 0, 0, 0)
    out = bytearray(frame[packet.start : packet.l4]) + tcp
    l3, l4 = packet.l3 - packet.start, packet.l4 - packet.start
    out[: packet.vnet_len] = bytes(packet.vnet_len)
    if back:
        size = len(packet.src)
        at = l3 + (12 if packet.version == 4 else 8)
        out[at : at + 2 * size] = packet.dst + packet.src
        mac = packet.vnet_len
        out[mac : mac + 12] = out[mac + 6 : mac + 12] + out[mac : mac + 6]
    _set_length(out, packet, l3, 0)
    _set_checksum(out, packet, l4, partial=False)  # the sum of a pseudo-header is the same both ways
    return bytes(out)


def amend_checksum(buf: bytearray, packet: Packet, header: bytes) -> None:
    """Bring the TCP checksum in line with a TCP header that was altered in place and was `header` before.

    A partial checksum is left alone: it covers the pseudo-header, which a TCP header's fields do not change.
    """
    if vnet.needs_csum(buf, packet.start, packet.vnet_len):
        return
    l4 = packet.l4
    (checksum,) = struct.unpack_from(">H", buf, l4 + 16)
    struct.pack_into(">H", buf, l4 + 16, update(checksum, header, bytes(buf[l4 : packet.payload])))


def _set_length(out: bytearray, packet: Packet, l3: int, segments: int) -> None:
    """Set the IP length to what is there; for IPv4 advance the identification, and sum the header anew."""
    if packet.version == 6:
        struct.pack_into(">H", out, l3 + 4, len(out) - l3 - 40)
        return
    header = (out[l3] & 0x0F) * 4
    (ident,) = struct.unpack_from(">H", out, l3 + 4)
    struct.pack_into(">HH", out, l3 + 2, len(out) - l3, (ident + segments) & 0xFFFF)
    struct.pack_into(">H", out, l3 + 10, 0)
    struct.pack_into(">H", out, l3 + 10, internet_checksum(out[l3 : l3 + header]))


def _set_checksum(out: bytearray, packet: Packet, l4: int, partial: bool) -> None:
    """Set the TCP checksum; partial: the pseudo-header's sum alone, for the device to complete."""
    pseudo = pseudo_header_sum(packet.src, packet.dst, PROTO_TCP, len(out) - l4)
    struct.pack_into(">H", out, l4 + 16, 0)
    value = pseudo if partial else internet_checksum(out[l4:], pseudo)
    struct.pack_into(">H", out, l4 + 16, value)


def tcp_checksum_is_right(frame: bytes, packet: Packet) -> bool:
    """Whether the TCP checksum covers the segment; a partial one, whether it is the pseudo-header's sum."""
    pseudo = pseudo_header_sum(packet.src, packet.dst, PROTO_TCP, packet.l4_end - packet.l4)
    if vnet.needs_csum(frame, packet.start, packet.vnet_len):
        return bool(struct.unpack_from(">H", frame, packet.l4 + 16)[0] == pseudo)
    return internet_checksum(frame[packet.l4 : packet.l4_end], pseudo) == 0
