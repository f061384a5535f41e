"""Every byte is checked, and what is measured is what was."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.lab.content import BLOCK, Content, Mismatch, address_of
from coloproxy.lab.result import percentiles

CONTENT = Content(1)


@given(st.integers(0, 1 << 40), st.integers(1, BLOCK), st.data())
def test_any_byte_that_is_wrong_is_found_and_named(offset, size, data) -> None:
    got = bytearray(CONTENT.at(offset, size))
    CONTENT.check(address_of(got), size, offset)
    wrong = data.draw(st.integers(0, size - 1))
    bits = data.draw(st.integers(1, 255))
    copy = bytearray(got)
    copy[wrong] ^= bits
    with pytest.raises(Mismatch, match=rf"^byte {offset + wrong} is {copy[wrong]:#04x}, not {got[wrong]:#04x}$"):
        CONTENT.check(address_of(copy), size, offset)


@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20).filter(lambda shift: shift % BLOCK))
def test_bytes_of_another_place_are_found(offset, shift) -> None:
    got = bytearray(CONTENT.at(offset, 64))
    with pytest.raises(Mismatch):
        CONTENT.check(address_of(got), 64, offset + shift)


def test_a_file_is_the_beginning_of_the_stream(tmp_path: Path) -> None:
    size = 2 * BLOCK + 77
    CONTENT.write(tmp_path / "file", size)
    stream = b"".join(CONTENT.at(at, size - at) for at in range(0, size, BLOCK))
    assert (tmp_path / "file").read_bytes() == stream
    assert len(stream) == size


def test_the_same_seed_has_the_same_content_and_another_another() -> None:
    assert Content(1).at(0, 999) == CONTENT.at(0, 999)
    assert Content(2).at(0, 999) != CONTENT.at(0, 999)


@given(st.lists(st.floats(0, 1e3), min_size=1))
def test_percentiles_are_times_that_were_measured_in_order(times) -> None:
    found = percentiles(times)
    values = [found.least, found.p50, found.p90, found.p99, found.most]
    assert values == sorted(values)
    assert set(values) <= {1e6 * time for time in times}
    assert (found.least, found.most) == (1e6 * min(times), 1e6 * max(times))


def test_there_are_no_percentiles_of_nothing() -> None:
    assert percentiles([]) is None
