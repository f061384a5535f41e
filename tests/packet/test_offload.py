"""What a card would have done: segments and checksums, finished here."""

import struct

import pytest

from coloproxy.packet.offload import finished
from support.frames import ones, tcp, udp

EMPTY = bytes(10)


def header(flags: int, kind: int = 0, size: int = 0, start: int = 34, offset: int = 16) -> bytes:
    return struct.pack("<BBHHHH", flags, kind, 54, size, start, offset)


def partial(frame: bytes, start: int, offset: int) -> bytes:
    """The frame with no more than the pseudo-header's sum where its checksum is."""
    length = len(frame) - start
    addresses, protocol = (frame[26:34], frame[23]) if frame[12] == 8 else (frame[22:54], frame[20])
    out = bytearray(frame)
    struct.pack_into(">H", out, start + offset, ones(addresses + struct.pack(">II", length, protocol)))
    return bytes(out)


def test_what_needs_nothing_stays_but_for_its_header() -> None:
    frame = tcp(payload=b"hello")
    assert finished(header(2) + frame, 10) == [EMPTY + frame]


WHOLE = tcp(payload=b"hello"), tcp(payload=b"odd", src="fd00::2", dst="fd00::9")


@pytest.mark.parametrize("whole", WHOLE, ids=["4", "6"])
def test_a_partial_checksum_is_completed(whole: bytes) -> None:
    start = 34 if whole[12] == 8 else 54
    assert finished(header(1, start=start) + partial(whole, start, 16), 10) == [EMPTY + whole]


def test_a_checksum_of_zero_would_mean_that_there_is_none() -> None:
    for number in range(65536):
        whole = udp(payload=struct.pack(">H", number))
        if whole[40:42] in (b"\xff\xff", b"\0\0"):
            break
    (made,) = finished(header(1, offset=6) + partial(whole, 34, 6), 10)
    assert made[10 + 40 : 10 + 42] == b"\xff\xff"


def test_a_large_frame_becomes_its_segments() -> None:
    data = bytes(range(256)) * 12
    whole = tcp(seq=100, payload=data, ident=7, flags=0x18)
    pieces = finished(header(1, 1, 1000) + partial(whole, 34, 16), 10)
    cuts = [data[:1000], data[1000:2000], data[2000:3000], data[3000:]]
    assert pieces == [
        EMPTY + tcp(seq=100 + 1000 * at, payload=part, ident=7 + at, flags=0x10 | (8 if at == 3 else 0))
        for at, part in enumerate(cuts)
    ]


@pytest.mark.parametrize(
    "frame",
    [
        header(1, 1, 0) + tcp(payload=bytes(3000)),
        header(1, 3, 1000) + udp(payload=bytes(3000)),
        header(1, 1, 1000) + tcp(payload=b""),
        header(1, 1, 1000) + bytes(20),
        header(1, start=65000) + tcp(payload=b"hello"),
        header(0, 1, 1000) + tcp(payload=bytes(3000))[:40],
    ],
    ids=["size 0", "udp", "empty", "short", "outside", "cut"],
)
def test_what_cannot_be_done_is_not(frame: bytes) -> None:
    assert finished(frame, 10) == []
