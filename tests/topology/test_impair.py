"""The bad network: what it loses, delays, doubles and overtakes, and that it always accounts for it."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.errors import ColoproxyError
from coloproxy.topology import config
from coloproxy.topology.impair import ETHERNET_OVERHEAD, Impair, wire_bytes
from support.flow import Bench, Catch, numbered
from support.frames import tcp

PROBABILITY = st.floats(0, 1)
TIME = st.floats(0, 5)  # ms
SETTINGS = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**31)},
    optional={
        "loss": PROBABILITY, "duplicate": PROBABILITY, "reorder": PROBABILITY, "delay": TIME, "jitter": TIME,
        "rate": st.sampled_from(["100k", "10M", "1G"]), "limit": st.integers(1, 50),
    },
)  # fmt: skip
# How many frames come at once, and how long it is until the next ones do.
ARRIVALS = st.lists(st.tuples(st.integers(0, 20), st.floats(0, 0.01)), max_size=20)


def play(settings: dict[str, Any], arrivals: list[tuple[int, float]], end: float = 0.0) -> Bench:
    """Send numbered frames at these times; `end` seconds after the last everything has been let go that is due."""
    bench = Bench(Impair("x", config.Impair(**settings)))
    frames = iter(numbered(sum(count for count, _ in arrivals)))
    now = 100.0
    for count, pause in arrivals:
        bench.send(*(next(frames) for _ in range(count)), now=now)
        bench.turn(now)
        now += pause
        while (due := bench.element.deadline()) is not None and due <= now:
            bench.turn(due)
        bench.turn(now)
    bench.turn(now + end)
    return bench


@given(SETTINGS, ARRIVALS)
def test_the_same_seed_does_the_same(settings: dict[str, Any], arrivals: list[tuple[int, float]]) -> None:
    one, other = play(settings, arrivals), play(settings, arrivals)
    assert (one.out.frames, one.out.times, one.counters()) == (other.out.frames, other.out.times, other.counters())


@given(SETTINGS, ARRIVALS, st.sampled_from([0.0, 60.0]))
def test_every_frame_is_accounted_for(settings: dict[str, Any], arrivals: list[tuple[int, float]], end: float) -> None:
    bench = play(settings, arrivals, end)
    counts = bench.counters()
    came = sum(count for count, _ in arrivals)
    assert came + counts["duplicated"] == len(bench.out.frames) + counts["lost"] + counts["overflowed"] + counts["held"]
    if end:
        assert counts["held"] == 0
        assert bench.element.idle
        assert bench.element.deadline() is None


@given(SETTINGS, ARRIVALS)
def test_without_reordering_the_order_is_kept(settings: dict[str, Any], arrivals: list[tuple[int, float]]) -> None:
    bench = play(settings | {"reorder": 0.0}, arrivals, end=60.0)
    assert bench.out.frames == sorted(bench.out.frames)


@given(SETTINGS, ARRIVALS)
def test_no_frame_is_altered_or_leaves_early(settings: dict[str, Any], arrivals: list[tuple[int, float]]) -> None:
    bench = play(settings, arrivals, end=60.0)
    frames = numbered(sum(count for count, _ in arrivals))
    came = [(frame, 0.0) for frame in frames]
    now, at = 100.0, 0
    for count, pause in arrivals:
        came[at : at + count] = [(frame, now) for frame in frames[at : at + count]]
        at, now = at + count, now + pause
    when = dict(came)
    for frame, left in zip(bench.out.frames, bench.out.times, strict=True):
        assert left >= when[frame] + settings.get("delay", 0.0) / 1000 - 1e-9


@pytest.mark.parametrize("rate", [1e6, 1e8, 1e9])
def test_the_rate_is_kept_whatever_comes(rate: float) -> None:
    frames = numbered(2000, 1476)
    settings = config.Impair(rate=f"{rate / 1e6:g}M")
    bench = Bench(Impair("x", settings))
    bench.send(*frames, now=5.0)
    while (due := bench.element.deadline()) is not None:
        bench.turn(due)
    assert bench.out.frames == frames
    spacing = 8 * (1476 + ETHERNET_OVERHEAD) / rate
    assert bench.out.times == pytest.approx([5.0 + spacing * (n + 1) for n in range(2000)])


def test_time_in_which_nothing_is_sent_is_not_saved_up() -> None:
    bench = Bench(Impair("x", config.Impair(rate="1M")))
    one, two = numbered(2, 226)  # 2 ms each
    bench.send(one, now=0.0)
    bench.send(two, now=10.0)
    bench.turn(10.001)
    assert bench.out.take() == [one]
    bench.turn(10.0021)
    assert bench.out.take() == [two]


def share(counted: str, **settings: Any) -> float:
    bench = play({"limit": 100000, **settings}, [(20000, 0.0)], end=10.0)
    return bench.counters()[counted] / 20000


@pytest.mark.parametrize(("key", "counted"), [("loss", "lost"), ("duplicate", "duplicated"), ("reorder", "reordered")])
def test_probabilities_are_what_they_say(key: str, counted: str) -> None:
    assert share(counted, **{key: 0.3}) == pytest.approx(0.3, abs=0.02)  # six standard deviations
    assert share(counted, **{key: 0.0}) == 0.0
    assert share(counted, **{key: 1.0}) == 1.0


def test_a_frame_that_is_held_back_is_overtaken_by_those_that_come_meanwhile() -> None:
    bench = play({"reorder": 0.1, "delay": 1.0, "seed": 3}, [(10, 0.0005)] * 20, end=1.0)
    numbers = [int.from_bytes(frame[:4], "big") for frame in bench.out.frames]
    assert sorted(numbers) == list(range(200))
    overtaken = sum(any(later < number for later in numbers[at + 1 :]) for at, number in enumerate(numbers))
    assert overtaken > 0
    assert bench.counters()["reordered"] > 5


def test_jitter_spreads_delays_evenly() -> None:
    bench = play({"jitter": 1.0, "delay": 1.0}, [(1, 0.01)] * 1000)
    late = [left - (100.0 + 0.01 * n) for n, left in enumerate(bench.out.times)]
    assert 0.001 <= min(late) < 0.0011
    assert 0.0019 < max(late) <= 0.002
    assert sum(late) / len(late) == pytest.approx(0.0015, abs=0.0001)


def test_a_full_queue_loses_what_comes() -> None:
    bench = play({"rate": "1k", "limit": 5}, [(8, 0.0)])
    assert bench.counters() | {"held": 5, "overflowed": 3} == bench.counters()
    bench.turn(1000.0)
    assert bench.out.frames == numbered(8)[:5]


def test_what_a_full_queue_loses_does_not_change_the_chance_of_the_rest() -> None:
    roomy, tight = (
        play({"jitter": 1.0, "reorder": 0.2, "limit": limit, "seed": 9}, [(10, 1.0), (10, 0.0)], end=1.0)
        for limit in (100, 5)
    )
    assert tight.counters()["overflowed"] == 10
    assert len(set(roomy.out.times)) > 5
    left, left_too = (dict(zip(each.out.frames, each.out.times, strict=True)) for each in (roomy, tight))
    assert {frame: left[frame] for frame in left_too} == left_too


def test_a_bad_rate_names_the_element() -> None:
    with pytest.raises(ColoproxyError) as caught:
        Impair("slow", config.Impair(rate="fast"))
    assert str(caught.value) == "element slow: rate = 'fast' is no good: write bits a second, such as 100M or 1G."


def test_a_large_frame_costs_what_its_segments_would() -> None:
    frame = tcp(b"x" * 6000, vnet=10, gso=1460)
    segments = [1460, 1460, 1460, 1460, 160]
    assert wire_bytes(frame, 0, len(frame), 10) == sum(54 + size + ETHERNET_OVERHEAD for size in segments)
    small = tcp(b"x" * 100, vnet=12)
    assert wire_bytes(small, 0, len(small), 12) == 154 + ETHERNET_OVERHEAD


@given(st.binary(min_size=1, max_size=80), st.integers(0, 2**32 - 1))
def test_any_header_has_a_cost(frame: bytes, vnet_len: int) -> None:
    assert wire_bytes(frame, 0, len(frame), vnet_len) >= ETHERNET_OVERHEAD


def test_large_frames_keep_their_headers() -> None:
    bench = Bench(Impair("x", config.Impair(delay=1.0)))
    frame = struct.pack("<BBHHHH", 1, 1, 54, 1460, 34, 16) + bytes(3000)
    bench.send(frame, now=0.0, vnet=10)
    bench.turn(0.001)
    caught: Catch = bench.out
    assert (caught.frames, caught.vnet_lens) == ([frame], [10])
