"""TCP options (RFC 9293, 3.1; RFC 7323; RFC 2018), read so that no length leads outside."""

from collections.abc import Iterator
from typing import NamedTuple

END, NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8

Buffer = bytes | bytearray | memoryview


class SynOptions(NamedTuple):
    """What a SYN offers; None: the option is not there."""

    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: bool = False


def options(buf: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, start of its data, end of its data) for each option in buf[start:end]; stops at the first broken one."""
    at = start
    while at < end:
        kind = buf[at]
        if kind == END:
            return
        if kind == NOP:
            at += 1
            continue
        if at + 2 > end:
            return
        length = buf[at + 1]
        if length < 2 or at + length > end:
            return
        yield kind, at + 2, at + length
        at += length


def syn_options(buf: Buffer, start: int, end: int) -> SynOptions:
    """The options of a SYN in buf[start:end]. One of a wrong length counts as not there."""
    mss = scale = None
    sack = timestamps = False
    for kind, first, last in options(buf, start, end):
        size = last - first
        if kind == MSS and size == 2:
            mss = buf[first] << 8 | buf[first + 1]
        elif kind == WINDOW_SCALE and size == 1:
            scale = buf[first]
        elif kind == SACK_PERMITTED and size == 0:
            sack = True
        elif kind == TIMESTAMPS and size == 8:
            timestamps = True
    return SynOptions(mss, scale, sack, timestamps)


def sack_blocks(buf: Buffer, start: int, end: int) -> list[tuple[int, int]]:
    """(left edge, right edge) of each block of the SACK option in buf[start:end] (RFC 2018, 3)."""
    return [
        (int.from_bytes(buf[at : at + 4]), int.from_bytes(buf[at + 4 : at + 8]))
        for kind, first, last in options(buf, start, end)
        if kind == SACK and (last - first) % 8 == 0
        for at in range(first, last, 8)
    ]


def timestamps(buf: Buffer, start: int, end: int) -> tuple[int, int] | None:
    """(TSval, TSecr) of the timestamps option in buf[start:end], if there is one."""
    for kind, first, last in options(buf, start, end):
        if kind == TIMESTAMPS and last - first == 8:
            return int.from_bytes(buf[first : first + 4]), int.from_bytes(buf[first + 4 : first + 8])
    return None


def blank_timestamps(buf: bytearray, start: int, end: int) -> bool:
    """Put NOPs where the timestamps option is in buf[start:end], so that no length changes; whether there was one."""
    found = False
    for kind, first, last in options(buf, start, end):
        if kind == TIMESTAMPS and last - first == 8:
            buf[first - 2 : last] = bytes((NOP,)) * 10
            found = True
    return found
