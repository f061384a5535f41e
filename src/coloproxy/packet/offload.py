"""What a network card does for its driver, done here: segmentation and checksums (virtio 1.2, 5.1.6.2)."""

import struct

from coloproxy.packet import vnet
from coloproxy.packet.checksum import internet_checksum
from coloproxy.packet.edit import tcp_part
from coloproxy.packet.parse import Kind, Malformed, parse


def finished(frame: bytes, vnet_len: int) -> list[bytes]:
    """The frame, or the segments it is to be cut into, with whole checksums and an empty virtio-net header; nothing if
    that cannot be done as its header says."""
    header = vnet.read(frame, 0, vnet_len)
    pieces = [frame] if header.gso_type == vnet.GSO_NONE else _segments(frame, vnet_len, header.gso_size)
    summed = [_summed(piece, vnet_len) for piece in pieces]
    return [piece for piece in summed if piece is not None]


def _segments(frame: bytes, vnet_len: int, size: int) -> list[bytes]:
    try:
        packet = parse(frame, 0, len(frame), vnet_len)
    except Malformed:
        return []
    whole = packet.payload_end - packet.payload
    if packet.kind != Kind.TCP or packet.fragment is not None or not size or not whole:
        return []
    return [tcp_part(frame, packet, at, min(at + size, whole)) for at in range(0, whole, size)]


def _summed(piece: bytes, vnet_len: int) -> bytes | None:
    """The checksum completed, where there is no more than the pseudo-header's sum."""
    header = vnet.read(piece, 0, vnet_len)
    out = bytearray(piece)
    out[:vnet_len] = bytes(vnet_len)
    if header.needs_csum:
        start = vnet_len + header.csum_start
        at = start + header.csum_offset
        if at + 2 > len(out):
            return None
        struct.pack_into(">H", out, at, internet_checksum(out[start:]) or 0xFFFF)  # 0 would say: none (RFC 768)
    return bytes(out)
