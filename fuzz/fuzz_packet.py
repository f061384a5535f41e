"""Fuzzes the packet room: any bytes as a frame are Malformed or parsed within themselves, edited and reassembled.

    python fuzz/fuzz_packet.py -max_total_time=60 [CORPUS]

Without atheris `run` does the same with random bytes.
"""

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
    from coloproxy.packet import edit, fragment, parse, tcpopts
else:
    with atheris.instrument_imports(include=["coloproxy.packet"]):
        from coloproxy.packet import edit, fragment, parse, tcpopts
from support.kinds import FRAMES, VNET

NAMES = sorted(FRAMES)
REACH = 150  # bytes from a frame's start that may be changed: all headers lie there
FRONT = 3  # bytes in front of the frame and behind it, to notice what is read outside


def frame_from(raw: bytes) -> tuple[bytes, int]:
    """The frame that an input stands for: its own bytes, or a good frame with (place, byte) pairs laid over it."""
    if not raw or raw[0] >= 0xF0:
        return raw[2:], parse.VNET_LENGTHS[raw[1] % 4] if len(raw) > 1 else 0
    name = NAMES[raw[0] % len(NAMES)]
    frame = bytearray(FRAMES[name])
    for place, byte in struct.iter_unpack("BB", raw[1 : len(raw) - (len(raw) + 1) % 2]):
        if place >= REACH:
            del frame[max(len(frame) - byte, 0) :]
        elif place < len(frame):
            frame[place] = byte
    return bytes(frame), VNET[name]


def one_input(raw: bytes) -> None:
    """Raises AssertionError, or whatever escapes, if a promise is broken."""
    frame, vnet_len = frame_from(raw)
    buf = bytes(FRONT) + frame + bytes(FRONT)
    try:
        p = parse.parse(buf, FRONT, FRONT + len(frame), vnet_len)
    except parse.Malformed as malformed:
        if not (malformed.reason and str(malformed)):
            raise AssertionError("a malformed frame without a reason") from malformed
        return
    check(p, buf)
    if parse.parse(b"\xff" * FRONT + frame + b"\xff" * FRONT, FRONT, FRONT + len(frame), vnet_len) != p:
        raise AssertionError("what lies outside the frame was read")
    if p.kind == parse.Kind.TCP:
        edit_all(frame, vnet_len)
    if p.fragment is not None:
        reassemble(p, buf)


def check(p: parse.Packet, buf: bytes) -> None:
    end = len(buf) - FRONT
    assert FRONT + p.vnet_len + 14 <= p.l3 <= p.end == end
    assert len(p.key) >= 2
    if p.version:
        assert p.l3 + 20 <= p.l4 <= p.payload <= p.payload_end <= p.l4_end <= end
    if p.kind == parse.Kind.TCP:
        tcpopts.syn_options(buf, p.l4 + 20, p.payload)


def edit_all(frame: bytes, vnet_len: int) -> None:
    """What is made of a segment is one again, and says what it should."""
    p = parse.parse(frame, 0, len(frame), vnet_len)
    half = (p.payload_end - p.payload) // 2
    for made, seq, ack, size in (
        (edit.tcp_part(frame, p, 0, half), p.seq, p.ack, half),
        (edit.tcp_with_ack(frame, p, 7, 8), p.seq, 7, p.payload_end - p.payload),
        (edit.tcp_pure_ack(frame, p, 5, 6, 7), 5, 6, 0),
    ):
        q = parse.parse(made, 0, len(made), vnet_len)
        assert (q.key, q.seq, q.ack, q.payload_end - q.payload) == (p.key, seq, ack, size)


def reassemble(p: parse.Packet, buf: bytes) -> None:
    """A fragment alone is no datagram, and time takes it away; repeated it stays one."""
    gatherer = fragment.Reassembler(1 << 20, 10, 30.0)
    for tag in range(2):
        assert gatherer.add(p, buf, 0.0, tag) is None
    assert gatherer.expire(30.0) == [[0, 1]]


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
