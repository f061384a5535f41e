"""pcapng (draft-ietf-opsawg-pcapng): any number of sections of either byte order, and their interfaces."""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from coloproxy.capture.errors import CaptureError
from coloproxy.capture.record import Record
from coloproxy.capture.source import BLOCK
from coloproxy.capture.window import Window

SECTION_HEADER = 0x0A0D0D0A
SECTION_MAGIC = SECTION_HEADER.to_bytes(4, "big")  # reads the same in both byte orders
INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 1, 2, 3, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPT_END, OPT_COMMENT, OPT_NAME, OPT_RESOLUTION, OPT_OFFSET = 0, 1, 2, 9, 14

SMALLEST_BLOCK = 12
SECTION = 28  # bytes of a section's header without options
LARGEST_BLOCK = 1 << 24  # bytes; what claims more is taken for corruption
LARGEST_OPTION = 65535
BATCH = 256
NANO = 1_000_000_000


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
        self.description = struct.Struct(order + "HHI")
        self.option = struct.Struct(order + "HH")
        self.interfaces: list[Interface] = []


def batches(window: Window) -> Iterator[list[Record]]:
    """Records, some at a time. The window begins with SECTION_MAGIC.

    Raises CaptureError when the first section's header is not one, Broken when the capture ends early or is corrupt.
    """
    if not window.want(SECTION):
        raise CaptureError(f"it ends within the pcapng section header, after {window.left} bytes")
    if _byte_order(window) is None:
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
    for order in "<>":
        if mark == struct.pack(order + "I", BYTE_ORDER_MAGIC):
            return order
    return None


class _Blocks:
    """Walks the blocks of all sections."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.section = _Section("<")

    def fill(self, records: list[Record]) -> None:
        """Add the records of some blocks, of one at least. Raises Broken, with those before the fault added."""
        window = self.window
        taken = 0
        while len(records) < BATCH and taken < BLOCK and window.want(8):
            kind, size = self._head()
            window.need(size, "a block")
            begin, end = window.at + 8, window.at + size - 4
            if self.section.word.unpack_from(window.data, end)[0] != size:
                raise window.broken("a block's two lengths differ")
            if kind == ENHANCED_PACKET:
                records.append(self._enhanced(begin, end))
            elif kind == INTERFACE:
                self.section.interfaces.append(self._interface(begin, end))
            elif kind == SIMPLE_PACKET:
                records.append(self._simple(begin, end))
            elif kind == OLD_PACKET:
                records.append(self._old(begin, end))
            window.at += size
            taken += size

    def _head(self) -> tuple[int, int]:
        """Type and total length of the block at the window's place. A section's header says how the rest is read."""
        window = self.window
        kind, size = self.section.head.unpack_from(window.data, window.at)
        if kind == SECTION_HEADER:
            window.need(SECTION, "a section's header")
            order = _byte_order(window)
            if order is None:
                raise window.broken("a section has no byte-order mark")
            self.section = _Section(order)
            _, size, _, major, minor = struct.unpack_from(order + "IIIHH", window.data, window.at)
            if major != 1:
                raise window.broken(f"a section is of pcapng version {major}.{minor}, which is not known (1.0 is)")
        least = SECTION if kind == SECTION_HEADER else SMALLEST_BLOCK
        if not least <= size <= LARGEST_BLOCK or size % 4:
            raise window.broken(f"a block claims {size} bytes")
        return kind, size

    # The bodies, data[begin:end] of the window

    def _enhanced(self, begin: int, end: int) -> Record:
        fields = self.section.enhanced
        at = self._fixed(fields, begin, end)
        number, high, low, captured, original = fields.unpack_from(self.window.data, begin)
        return self._packet(number, high << 32 | low, at, captured, original, end)

    def _old(self, begin: int, end: int) -> Record:
        fields = self.section.old
        at = self._fixed(fields, begin, end)
        number, _, high, low, captured, original = fields.unpack_from(self.window.data, begin)
        return self._packet(number, high << 32 | low, at, captured, original, end)

    def _packet(self, number: int, ticks: int, at: int, captured: int, original: int, end: int) -> Record:
        window = self.window
        interface = self._described(number)
        behind = at + captured
        if behind > end:
            raise window.broken(f"a packet claims {captured} bytes, more than its block has")
        comment = None
        options = behind + (-captured & 3)
        if options < end:
            comment = "\n".join(map(_text, self._options(options, end).get(OPT_COMMENT, ()))) or None
        time_ns = ticks * interface.multiplier // interface.divisor + interface.offset
        return Record(time_ns, interface.linktype, window.data[at:behind], original, comment, interface.name)

    def _simple(self, begin: int, end: int) -> Record:
        """A packet without a time, of the section's first interface."""
        at = self._fixed(self.section.word, begin, end)
        (original,) = self.section.word.unpack_from(self.window.data, begin)
        interface = self._described(0)
        captured = min(original, interface.snaplen or original)
        if at + captured > end:
            raise self.window.broken(f"a packet claims {captured} bytes, more than its block has")
        return Record(0, interface.linktype, self.window.data[at : at + captured], original, None, interface.name)

    def _interface(self, begin: int, end: int) -> Interface:
        at = self._fixed(self.section.description, begin, end)
        linktype, _, snaplen = self.section.description.unpack_from(self.window.data, begin)
        options = self._options(at, end)
        multiplier, divisor = _resolution(options)
        offsets = options.get(OPT_OFFSET, ())
        sign = self.section.order
        seconds = struct.unpack(sign + "q", offsets[0])[0] if offsets and len(offsets[0]) == 8 else 0
        names = options.get(OPT_NAME, ())
        name = _text(names[0]) if names else str(len(self.section.interfaces))
        return Interface(linktype, snaplen, name, multiplier, divisor, seconds * NANO)

    def _described(self, number: int) -> Interface:
        interfaces = self.section.interfaces
        if number >= len(interfaces):
            raise self.window.broken(f"a packet is of interface {number}, which is not described")
        return interfaces[number]

    def _fixed(self, fields: struct.Struct, begin: int, end: int) -> int:
        """Where the fixed fields of a body end."""
        if begin + fields.size > end:
            raise self.window.broken("a block is shorter than its kind")
        return begin + fields.size

    def _options(self, at: int, end: int) -> dict[int, list[bytes]]:
        """Options by code, each with its values in order."""
        found: dict[int, list[bytes]] = {}
        while at + 4 <= end:
            code, size = self.section.option.unpack_from(self.window.data, at)
            if code == OPT_END:
                break
            if at + 4 + size > end:
                raise self.window.broken("an option is longer than its block")
            found.setdefault(code, []).append(self.window.data[at + 4 : at + 4 + size])
            at += 4 + size + (-size & 3)
        return found


def _resolution(options: dict[int, list[bytes]]) -> tuple[int, int]:
    """A tick in nanoseconds, as a fraction in lowest terms: if_tsresol, a negative power of 10 or (top bit) of 2."""
    value = (options.get(OPT_RESOLUTION) or [b""])[0]
    power = value[0] if len(value) == 1 else 6
    ticks = int(2 ** (power & 0x7F)) if power & 0x80 else int(10**power)
    common = math.gcd(NANO, ticks)
    return NANO // common, ticks // common


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


class PcapngWriter:
    """Writes a pcapng of one little-endian section, its times in nanoseconds.

    file: a binary file object, which stays open. An interface is described when its first frame is written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._interfaces: dict[tuple[str, int], int] = {}
        self._block(SECTION_HEADER, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1))

    def write(
        self,
        frame: bytes,
        time_ns: int,
        *,
        comment: str | None = None,
        interface: str = "",
        linktype: int = 1,
        original_length: int | None = None,
    ) -> None:
        """Add a frame.

        time_ns: nanoseconds since 1970; what 64 bits cannot hold is written as the nearest they can. interface: a
        name, one for each link type. linktype: as in Record. original_length: bytes on the wire, if more than given.
        """
        number = self._interfaces.get((interface, linktype))
        if number is None:
            number = self._describe(interface, linktype)
        ticks = min(max(time_ns, 0), 2**64 - 1)
        size = len(frame)
        head = struct.pack("<IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, size, original_length or size)
        self._block(ENHANCED_PACKET, head + frame + bytes(-size & 3) + _written((OPT_COMMENT, comment)))

    def _describe(self, name: str, linktype: int) -> int:
        self._interfaces[name, linktype] = number = len(self._interfaces)
        resolution = struct.pack("<HHB3xHH", OPT_RESOLUTION, 1, 9, OPT_END, 0)
        self._block(INTERFACE, struct.pack("<HHI", linktype, 0, 0) + _written((OPT_NAME, name), end=False) + resolution)
        return number

    def _block(self, kind: int, body: bytes) -> None:
        size = struct.pack("<I", len(body) + SMALLEST_BLOCK)
        self._file.write(b"".join((struct.pack("<I", kind), size, body, size)))


def _written(option: tuple[int, str | None], end: bool = True) -> bytes:
    """One option that is text, cut to what an option can hold; nothing without a text."""
    code, text = option
    if not text:
        return b""
    value = text.encode(errors="replace")[:LARGEST_OPTION].decode(errors="ignore").encode()
    out = struct.pack("<HH", code, len(value)) + value + bytes(-len(value) & 3)
    return out + struct.pack("<HH", OPT_END, 0) if end else out
