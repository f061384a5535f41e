"""Classic pcap (draft-ietf-opsawg-pcap): either byte order, microseconds or nanoseconds, and the "modified" variant."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from coloproxy.capture.errors import CaptureError
from coloproxy.capture.record import Record
from coloproxy.capture.window import Window

FILE_HEADER = 24
MICROSECONDS = 0xA1B2C3D4
NANOSECONDS = 0xA1B23C4D
MODIFIED = 0xA1B2CD34  # A. Kuznetzov's: record headers carry the interface index and the packet type as well
LARGEST = 1 << 18  # bytes in a record; libpcap and Wireshark take more for corruption, too
LINKTYPE_BITS = 0x03FFFFFF  # the rest of the field describes a frame check sequence

# magic -> (nanoseconds in a tick of the fraction, bytes of a record header)
VARIANTS = {MICROSECONDS: (1000, 16), NANOSECONDS: (1, 16), MODIFIED: (1000, 24)}
MAGICS = {struct.pack(order + "I", magic): (magic, order) for magic in VARIANTS for order in "<>"}


def batches(window: Window) -> Iterator[list[Record]]:
    """Records, some at a time. The window begins with one of MAGICS.

    Raises CaptureError when the file's header is not one, Broken when the capture ends early or is corrupt.
    """
    magic, order = MAGICS[window.data[window.at : window.at + 4]]
    if not window.want(FILE_HEADER):
        raise CaptureError(f"it ends within the pcap header, after {window.left} bytes")
    major, minor, _, _, _, network = struct.unpack_from(order + "HHiIII", window.data, window.at + 4)
    if major != 2:
        raise CaptureError(f"pcap version {major}.{minor} is not known (2.4 is); convert it with editcap")
    tick, header = VARIANTS[magic]
    window.at += FILE_HEADER
    yield from _records(window, struct.Struct(order + "IIII"), header, tick, network & LINKTYPE_BITS)


def _records(window: Window, fields: struct.Struct, header: int, tick: int, linktype: int) -> Iterator[list[Record]]:
    unpack = fields.unpack_from
    wanted = header
    while window.need(wanted, "a record"):
        records: list[Record] = []
        add = records.append
        data, at = window.data, window.at
        end = len(data)
        last = end - header
        captured = 0
        while at <= last:
            seconds, fraction, captured, original = unpack(data, at)
            start = at + header
            following = start + captured
            if following > end or captured > LARGEST:
                break
            add(Record(seconds * 1_000_000_000 + fraction * tick, linktype, data[start:following], original))
            at = following
        window.at = at
        if records:
            yield records
        if at > last:
            wanted = header
        elif captured > LARGEST:
            raise window.broken(f"a record claims {captured} bytes")
        else:
            wanted = header + captured


class PcapWriter:
    """Writes a classic pcap of Ethernet frames, little-endian, in nanoseconds.

    file: a binary file object, which stays open. linktype: as in Record.
    """

    def __init__(self, file: BinaryIO, linktype: int = 1) -> None:
        self._file = file
        file.write(struct.pack("<IHHiIII", NANOSECONDS, 2, 4, 0, 0, LARGEST, linktype))

    def write(self, frame: bytes, time_ns: int, original_length: int | None = None) -> None:
        """Add a frame. time_ns: nanoseconds since 1970; original_length: bytes on the wire, if more than given."""
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        size = len(frame)
        self._file.write(struct.pack("<IIII", seconds, fraction, size, original_length or size))
        self._file.write(frame)
