"""What is counted in cells is read out of them again; whether the replicas are protected is judged from a picture."""

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy import Comparator, Config, Side
from coloproxy.compare.events import Accounting
from coloproxy.watch.messages import Gate, Pane, Picture
from coloproxy.watch.service.history import SHORTEST_WAIT, quantile
from coloproxy.watch.service.protection import STARTED, judge, protection
from support import frames

BOUNDS = [SHORTEST_WAIT * 2**power for power in range(18)]


@pytest.mark.parametrize("general", [False, True])
@given(waits=st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_every_wait_is_counted_in_its_cell_on_both_paths(general: bool, waits: list[float]) -> None:
    comparator = Comparator(Config(compare_timeout=10**6), now=0.0)
    if general:
        comparator.use_general_path()
    comparator.measure_waits()
    now, measured = 0.0, []
    for number, wait in enumerate(waits):
        segment = frames.tcp(b"x", seq=1 + number, ack=1)
        comparator.receive(Side.PRIMARY, segment, now)
        comparator.receive(Side.SECONDARY, segment, now + wait)
        measured.append((now + wait) - now)
        now += wait
    account = comparator.accounting()
    assert account.primary.released.frames == len(waits)
    expected = [0] * 19
    for wait in measured:
        expected[bisect.bisect_left(BOUNDS, wait)] += 1
    assert account.waits == expected
    assert account.waited == pytest.approx(sum(measured))


def test_what_is_not_measured_is_not_told() -> None:
    assert Comparator().accounting().waits == []


@given(
    waits=st.lists(st.integers(0, 50), min_size=19, max_size=19), at_once=st.integers(0, 50), share=st.floats(0.01, 1.0)
)
def test_a_quantile_lies_in_the_cell_that_has_that_frame(waits: list[int], at_once: int, share: float) -> None:
    found, total = quantile(waits, at_once, share), sum(waits) + at_once
    if not total:
        assert found is None
        return
    assert found is not None
    edges = [0.0, *BOUNDS, 2 * BOUNDS[-1]]
    below = at_once + sum(count for count, lower in zip(waits, edges) if lower < found)
    surely = sum(count for count, upper in zip(waits, edges[1:]) if upper < found)
    assert surely <= share * total <= below * (1 + 1e-9)


def picture(wall: float = 1.0, connected: bool = True, **pane: object) -> Picture:
    fields = {
        "epoch": 0, "checkpoint_pending": False, "survivor": None, "connections": 3, "waiting": 0, "diverged": 0,
        "unprotected": 0, "primary_age": 0.0, "secondary_age": 0.0, "accounting": Accounting(),
    } | pane  # fmt: skip
    gates = [Gate(name="primary_in", connected=True), Gate(name="secondary_in", connected=connected)]
    return Picture(
        wall=wall, panes={"compare": Pane(**fields)}, gates=gates, lags=[], lagged=0.0, cpu=0.0, memory=0, lost={}  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "state", "words"),
    [
        (picture(), "protected", "nothing waits"),
        (picture(unprotected=1), "protected", "1 connection has diverged"),
        (picture(checkpoint_pending=True, diverged=2), "waiting", "2 connections"),
        (picture(connected=False), "open", "secondary_in"),
        (picture(survivor="secondary", connected=False), "alone", "The secondary goes on alone"),
    ],
)
def test_whether_the_replicas_are_protected_is_read_from_a_picture(seen: Picture, state: str, words: str) -> None:
    assert judge(seen)[0] == state
    assert words in judge(seen)[1]


def test_a_state_lasts_since_it_began() -> None:
    first = protection(picture(1.0), STARTED)
    assert (first.state, first.since) == ("protected", 1.0)
    assert protection(picture(2.0, unprotected=1), first).since == 1.0
    assert protection(picture(3.0, connected=False), first).since == 3.0
