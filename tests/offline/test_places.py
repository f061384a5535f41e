"""Ranges and places do what sets of numbers do."""

from hypothesis import given
from hypothesis import strategies as st

from coloproxy.offline.places import Places, Ranges

NUMBERS = st.integers(-5, 60)
SPANS = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair) + 1))


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {n for low, high in ranges for n in range(low, high)}


@given(st.lists(SPANS), SPANS, NUMBERS)
def test_ranges_are_sets_of_numbers(spans: list[tuple[int, int]], span: tuple[int, int], place: int) -> None:
    ranges = Ranges()
    for low, high in spans:
        ranges.add(low, high)
    model = numbers(spans)
    assert numbers(ranges.ranges) == model
    assert all(b < c for (_, b), (c, _) in zip(ranges.ranges, ranges.ranges[1:]))
    assert numbers(ranges.within(*span)) == model & numbers([span])
    assert numbers(ranges.outside(*span)) == numbers([span]) - model
    assert ranges.total == len(model)
    assert ranges.before(place) == sum(high <= place for _, high in ranges.ranges)
    assert bool(ranges) == bool(model)
    ranges.drop(place)
    assert numbers(ranges.ranges) == {n for n in model if n >= place}
    assert ranges.total == len(numbers(ranges.ranges))
    ranges.move(7)
    assert numbers(ranges.ranges) == {n + 7 for n in model if n >= place}
    assert ranges.total == len(numbers(ranges.ranges))


@given(st.lists(SPANS))
def test_every_place_is_new_once(spans: list[tuple[int, int]]) -> None:
    places = Places(0)
    seen = set(range(-10, 0))
    for low, high in spans:
        new = numbers(places.see(low, high))
        assert new == numbers([(low, high)]) - seen
        seen |= new
        assert places.next == next(n for n in range(100) if n not in seen)
        assert numbers(places.ahead.ranges) == {n for n in seen if n >= places.next}
        assert places.ahead.total == len(numbers(places.ahead.ranges))
