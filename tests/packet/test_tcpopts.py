"""TCP options, whole and broken."""

from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.tcpopts import SynOptions, blank_timestamps, options, syn_options, timestamps
from support.frames import syn_options as built
from support.frames import timestamp


@given(st.integers(0, 65535), st.none() | st.integers(0, 255), st.booleans(), st.booleans(), st.integers(0, 9))
def test_what_a_syn_offers_is_read(mss: int, scale: int | None, sack: bool, stamps: bool, front: int) -> None:
    buf = bytes(front) + built(mss, scale, sack, stamps)
    assert syn_options(buf, front, len(buf)) == SynOptions(mss, scale, sack, stamps)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_timestamps_are_read(value: int, echo: int) -> None:
    buf = timestamp(value, echo)
    assert timestamps(buf, 0, len(buf)) == (value, echo)
    assert timestamps(buf, 0, len(buf) - 1) is None


def test_no_options_offer_nothing() -> None:
    assert syn_options(b"", 0, 0) == SynOptions()


def test_nothing_is_read_behind_the_end_of_the_list() -> None:
    assert syn_options(b"\0\x02\x04\x05\xb4\0\0\0", 0, 8) == SynOptions()


def test_an_option_of_a_wrong_length_counts_as_not_there() -> None:
    assert syn_options(b"\x02\x03\x05\x03\x03\x07\x04\x03\0\0", 0, 10) == SynOptions(window_scale=7)


@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 40))
def test_any_bytes_are_read_within_their_bounds(buf: bytes, start: int, size: int) -> None:
    start = min(start, len(buf))
    end = min(start + size, len(buf))
    last = start
    for _, first, stop in options(buf, start, end):
        assert last + 2 <= first <= stop <= end
        last = stop
    assert syn_options(buf, start, end) == syn_options(buf[start:end], 0, end - start)


def test_an_option_shorter_than_its_own_head_ends_the_list() -> None:
    for length in (0, 1):
        assert list(options(bytes((5, length, 4, 2)), 0, 4)) == []


@given(st.binary(max_size=6), st.integers(0, 3), st.booleans())
def test_blanked_timestamps_are_gone_and_nothing_else_is(behind: bytes, front: int, there: bool) -> None:
    begin = built(stamps=False) + b"\1" * front
    buf = bytearray(begin + (timestamp(3, 4) if there else b"") + b"\0" + behind)
    before = bytes(buf)
    assert blank_timestamps(buf, 0, len(buf)) == there
    assert timestamps(buf, 0, len(buf)) is None
    assert buf == (begin + b"\1" * 12 + b"\0" + behind if there else before)


@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 40))
def test_blanking_any_bytes_stays_within_their_bounds(raw: bytes, start: int, size: int) -> None:
    start = min(start, len(raw))
    end = min(start + size, len(raw))
    buf = bytearray(raw)
    blank_timestamps(buf, start, end)
    assert (len(buf), buf[:start], buf[end:]) == (len(raw), raw[:start], raw[end:])
    assert timestamps(buf, start, end) is None
