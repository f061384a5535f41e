"""The virtio-net header, there and back."""

from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.vnet import GSO_TCPV6, NEEDS_CSUM, VnetHeader, read

BYTE, WORD = st.integers(0, 255), st.integers(0, 65535)


@given(BYTE, BYTE, WORD, WORD, WORD, WORD, st.sampled_from([10, 12, 20]), st.integers(0, 5))
def test_what_is_written_is_read(
    flags: int, kind: int, hdr_len: int, size: int, start: int, offset: int, length: int, front: int
) -> None:
    header = VnetHeader(flags, kind, hdr_len, size, start, offset)
    written = header.write(length)
    assert len(written) == length
    assert read(bytes(front) + written, front, length) == header
    assert header.needs_csum == bool(flags & NEEDS_CSUM)


def test_no_header_says_nothing() -> None:
    assert read(b"", 0, 0) == VnetHeader()
    assert VnetHeader(NEEDS_CSUM).write(0) == b""


def test_fields_are_little_endian() -> None:
    raw = bytes.fromhex("01 04 4a00 a005 3600 1000".replace(" ", ""))
    assert read(raw, 0, 10) == VnetHeader(NEEDS_CSUM, GSO_TCPV6, 74, 1440, 54, 16)
