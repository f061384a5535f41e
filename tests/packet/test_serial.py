"""Serial numbers: an order on a circle."""

from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.serial import add, after, at_or_before, before, distance, smax, smin

NUMBERS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
STEPS = st.integers(1, 2**31 - 1)


@given(NUMBERS, STEPS)
def test_what_was_added_lies_behind(a: int, n: int) -> None:
    b = add(a, n)
    assert b == (a + n) % 2**32
    assert distance(a, b) == n
    assert distance(b, a) == -n
    assert add(b, -n) == a
    assert before(a, b)
    assert after(b, a)
    assert not before(b, a)
    assert not after(a, b)
    assert at_or_before(a, b)
    assert not at_or_before(b, a)
    assert smin(a, b) == smin(b, a) == a
    assert smax(a, b) == smax(b, a) == b


@given(NUMBERS)
def test_a_number_is_neither_before_nor_after_itself(a: int) -> None:
    assert not before(a, a)
    assert not after(a, a)
    assert at_or_before(a, a)
    assert distance(a, a) == 0
    assert smin(a, a) == smax(a, a) == a


@given(NUMBERS, st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_the_order_does_not_depend_on_where_the_circle_begins(a: int, n: int, shift: int) -> None:
    b = add(a, n)
    assert before(a, b) == before(add(a, shift), add(b, shift))
    assert distance(a, b) == n


def test_zero_follows_the_last_number() -> None:
    assert before(0xFFFFFFFF, 0)
    assert add(0xFFFFFFFF, 1) == 0
    assert distance(0xFFFFFFFF, 0) == 1


@given(NUMBERS, NUMBERS)
def test_of_two_numbers_one_is_at_or_before_the_other_or_after_it(a: int, b: int) -> None:
    assert at_or_before(a, b) != after(a, b)
    assert at_or_before(a, add(a, 2**31)) == (not after(a, add(a, 2**31)))
