"""How long a turn waits for more, by a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.link.port import Tally
from coloproxy.topology import gathering
from coloproxy.topology.gathering import BATCH, LOOK, MUCH, SOCKET, Gathering


class Time:
    """A clock that goes on when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += seconds


class Work:
    """Turns that take `cost` seconds each, while bytes come at a rate."""

    def __init__(self, *rates: float) -> None:
        self.rates = rates
        self.tallies = [Tally() for _ in rates]
        self.time = Time()
        self.most = 0  # bytes of one port in one turn
        self.turns = 0
        self.gathering = Gathering(self.tallies, SOCKET)

    def turn(self, cost: float) -> None:
        begin = self.time.now
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gathering, "time", self.time)
            self.gathering.wait()
        self.time.now += cost
        for rate, tally in zip(self.rates, self.tallies):
            size = int(rate * (self.time.now - begin))
            tally.add(1, size)
            self.most = max(self.most, size)
        self.turns += 1

    def work(self, seconds: float, cost: float) -> "Work":
        end = self.time.now + seconds
        while self.time.now < end:
            self.turn(cost)
        return self


def test_while_little_comes_nobody_waits() -> None:
    assert Work(0.9 * MUCH, 0.9 * MUCH).work(1.0, 0.0001).time.slept == 0


def test_while_much_comes_turns_are_put_off_until_a_batch_is_there() -> None:
    rate = 2 * BATCH / SOCKET
    work = Work(rate, rate / 2).work(1.0, 0.0001)
    assert work.turns == pytest.approx(rate / BATCH, rel=0.05)
    assert work.most == pytest.approx(BATCH, rel=0.3)


def test_nobody_waits_longer_than_a_sender_can_bear() -> None:
    work = Work(1.5 * MUCH).work(2 * LOOK, 0.00001)
    work.turns = 0
    work.work(1.0, 0.00001)
    assert work.turns == pytest.approx(1.0 / SOCKET, rel=0.05)


def test_who_comes_late_waits_no_longer() -> None:
    work = Work(1.5 * MUCH).work(1.0, SOCKET)
    assert work.time.slept == 0


def test_it_is_over_at_once_when_nothing_comes_any_more() -> None:
    work = Work(10 * MUCH).work(0.1, 0.0001)
    assert work.time.slept
    work.rates = (0.0,)
    work.turn(0.0001)
    slept = work.time.slept
    work.work(1.0, 0.0001)
    assert work.time.slept == slept


@given(rates=st.lists(st.floats(0, 1e10), max_size=4), costs=st.lists(st.floats(0, 0.1), min_size=1, max_size=50))
def test_whatever_comes_no_turn_is_put_off_by_more(rates: list[float], costs: list[float]) -> None:
    work = Work(*rates)
    for cost in costs:
        before = work.time.slept
        work.turn(cost)
        assert work.time.slept - before <= SOCKET + 1e-9
