"""The Internet checksum (RFC 1071), of whole data and updated in place (RFC 1624)."""

import struct


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """Ones' complement sum of the 16-bit words of data, padded with a zero byte: 0 .. 0xFFFF.

    2**16 is 1 modulo 65535, so the sum of the words is the whole number modulo 65535.
    """
    value = int.from_bytes(data)
    if len(data) % 2:
        value <<= 8
    return value % 0xFFFF or (0xFFFF if value else 0)


def fold(total: int) -> int:
    """A sum of 16-bit words brought back to 16 bits."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def internet_checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """The checksum of data, on top of a sum from before (of a pseudo-header, for example)."""
    return ~fold(ones_sum(data) + initial) & 0xFFFF


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """Sum of the pseudo-header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1), by the addresses' length."""
    return fold(ones_sum(source + destination) + (length >> 16) + (length & 0xFFFF) + protocol)


def update(checksum: int, old: bytes, new: bytes) -> int:
    """The checksum after `old` was replaced by `new`, both of the same even length (RFC 1624, equation 3)."""
    words = len(old) // 2
    total = ~checksum & 0xFFFF
    for was, now in zip(struct.unpack(f">{words}H", old), struct.unpack(f">{words}H", new), strict=True):
        total += (~was & 0xFFFF) + now
    return ~fold(total) & 0xFFFF
