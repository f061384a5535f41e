"""Fuzzes the capture room: any bytes as a file are refused at opening or read, with a sentence if not to the end.

    python fuzz/fuzz_capture.py -max_total_time=60 [CORPUS]

Without atheris `run` does the same with random bytes.
"""

import gzip
import io
import random
import struct
import sys
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

if atheris is None or __name__ != "__main__":
    from coloproxy.capture import Capture, CaptureError, PcapngWriter, to_ethernet
else:
    with atheris.instrument_imports(include=["coloproxy.capture"]):
        from coloproxy.capture import Capture, CaptureError, PcapngWriter, to_ethernet
from support.captures import Shot, enhanced, interface, old, option, pcap, section, simple

SHOTS = [Shot(1, b"\x45" + bytes(30)), Shot(2, b"", 9), Shot(3, bytes(60))]
OPTIONS = option(1, b"comment") + option(9, b"\x89") + option(0, b"")
FILES = [
    pcap(SHOTS),
    pcap(SHOTS, ">", nanoseconds=True, linktype=113),
    pcap(SHOTS, modified=True, linktype=0),
    section() + interface(101, options=OPTIONS) + enhanced(5, bytes(20), options=OPTIONS) + simple(b"abc"),
    section(">") + interface(276, 9, order=">") + old(5, bytes(21), order=">") + section() + interface() + simple(b"x"),
]
FILES += [gzip.compress(file) for file in FILES[:4:3]]


def file_from(raw: bytes) -> bytes:
    """The file that an input stands for: its own bytes, or a good file with (place, byte) pairs laid over it."""
    if not raw or raw[0] >= 0xF0:
        return raw[1:]
    file = bytearray(FILES[raw[0] % len(FILES)])
    for place, byte in struct.iter_unpack(">HB", raw[1 : len(raw) - (len(raw) - 1) % 3]):
        if place >= 0xFF00:
            del file[max(len(file) - byte, 0) :]
        else:
            file[place % len(file) : place % len(file) + 1] = bytes((byte,))
        if not file:
            break
    return bytes(file)


def one_input(raw: bytes) -> None:
    """Raises AssertionError, or whatever escapes, if a promise is broken."""
    file = file_from(raw)
    try:
        capture = Capture(io.BytesIO(file), "it")
    except CaptureError:
        return
    found = list(capture)
    assert capture.read == len(found)
    assert capture.problem is None or "byte" in capture.problem
    copy = io.BytesIO()
    writer = PcapngWriter(copy)
    for record in found:
        to_ethernet(record)
        writer.write(record.data, record.time_ns, comment=record.comment, interface=record.interface)
    assert [record.data for record in Capture(io.BytesIO(copy.getvalue()))] == [record.data for record in found]


def run(seconds: float, seed: int) -> int:
    """Try random inputs for some time; returns how many."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        one_input(rng.randbytes(rng.randrange(1, 40)))
        count += 1
    return count


if __name__ == "__main__":
    if atheris is None:
        sys.exit("atheris is not installed: pip install 'coloproxy[fuzz]'")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
