"""pcapng (draft-ietf-opsawg-pcapng): any number of sections of either byte order, and their interfaces."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from coloproxy.capture.errors import CaptureError
from coloproxy.capture.record import Record
from coloproxy.capture.window import Window

SECTION_HEADER = 0x0A0D0D0A
SECTION_MAGIC = SECTION_HEADER.to_bytes(4, "big")  # reads the same in both byte orders
INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 1, 2, 3, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPT_END, OPT_COMMENT, OPT_NAME, OPT_RESOLUTION, OPT_OFFSET = 0, 1, 2, 9, 14

SMALLEST_BLOCK = 12
LARGEST_BLOCK = 1 << 24  # bytes; what claims more is taken for corruption
BATCH = 256


class Interface(NamedTuple):
    """What an interface description says. A timestamp is `ticks * multiplier // divisor + offset` nanoseconds."""

    linktype: int
    snaplen: int
    name: str
    multiplier: int
    divisor: int
    offset: int


class _Section:
    """A section's byte order, with the layouts that depend on it, and its interfaces so far."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.head = struct.Struct(order + "II")
        self.word = struct.Struct(order + "I")
        self.enhanced = struct.Struct(order + "IIIII")
        self.old = struct.Struct(order + "HHIIII")
        self.interfaces: list[Interface] = []


def batches(window: Window) -> Iterator[list[Record]]:
    """Records, some at a time. The window begins with SECTION_MAGIC.

    Raises CaptureError when the first section's header is not one, Broken when the capture ends early or is corrupt.
    """
    if not window.want(SMALLEST_BLOCK) or _byte_order(window) is None:
        raise CaptureError("it begins like a pcapng capture but has no byte-order mark")
    reader = _Blocks(window)
    while window.need(8, "a block"):
        records: list[Record] = []
        try:
            reader.fill(records)
        finally:
            # What was read before a fault is handed out before the fault is.
            if records:
                yield records


def _byte_order(window: Window) -> str | None:
    mark = window.data[window.at + 8 : window.at + 12]
    for order, sign in (("little", "<"), ("big", ">")):
        if mark == BYTE_ORDER_MAGIC.to_bytes(4, order):  # type: ignore[arg-type]
            return sign
    return None
