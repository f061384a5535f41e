"""Captures made byte by byte, as RFC drafts and tools describe them, without coloproxy's own writers."""

import struct
from collections.abc import Iterable
from typing import NamedTuple


class Shot(NamedTuple):
    """A frame with its time in nanoseconds and, if the capture cut it, the bytes it had on the wire."""

    time_ns: int
    data: bytes
    original: int | None = None


def pcap(
    shots: Iterable[Shot], order: str = "<", nanoseconds: bool = False, modified: bool = False, linktype: int = 1,
    version: tuple[int, int] = (2, 4),
) -> bytes:  # fmt: skip
    """A classic capture; `modified` with the longer record headers of old Linux systems."""
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, *version, 0, 0, 65535, linktype)]
    for time_ns, data, original in shots:
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        fraction //= 1 if nanoseconds else 1000
        size = len(data)
        out.append(struct.pack(order + "IIII", seconds, fraction, size, size if original is None else original))
        if modified:
            out.append(struct.pack(order + "IHBB", 2, 0x0800, 4, 0))
        out.append(data)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block; its body is padded."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), order)


def interface(linktype: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    ticks: int, data: bytes, number: int = 0, original: int | None = None, options: bytes = b"", order: str = "<"
) -> bytes:
    size = len(data) if original is None else original
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def old(ticks: int, data: bytes, number: int = 0, original: int | None = None, order: str = "<") -> bytes:
    size = len(data) if original is None else original
    head = struct.pack(order + "HHIIII", number, 3, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size)
    return block(2, head + data, order)


def simple(data: bytes, original: int | None = None, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", len(data) if original is None else original) + data, order)
