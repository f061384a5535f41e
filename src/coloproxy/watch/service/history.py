"""The last ten minutes as columns: what a picture says, less what the one before said."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from coloproxy.watch.messages import Picture

POINTS = 1200  # a picture each half second
SHORTEST_WAIT = 0.000064  # seconds: the first cell of waits


class Point(NamedTuple):
    """time: wall. released: bytes a second; frames: a second. median, tail: seconds within which half and 99 % of the
    primary's frames left (0: with the frames they came with; None: none left). primary, secondary: bytes held of
    either. oldest: seconds. divergences: since the last point. lag: seconds, the mean."""

    time: float
    released: float
    frames: float
    median: float | None
    tail: float | None
    primary: int
    secondary: int
    oldest: float
    divergences: int
    lag: float


class Totals(NamedTuple):
    """What only grows, of all comparators together."""

    wall: float = 0.0
    bytes: int = 0
    frames: int = 0
    compared: int = 0
    waits: tuple[int, ...] = ()
    divergences: int = 0
    lags: int = 0
    lagged: float = 0.0


class History:
    """Points, oldest first, of which the last few hundred are kept."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=POINTS)
        self._before = Totals()

    def add(self, picture: Picture) -> Point | None:
        """The point that a picture makes; None for the first, which there is nothing to compare with."""
        now, before = totals(picture), self._before
        self._before = now
        seconds = now.wall - before.wall
        if not before.wall or seconds <= 0:
            return None
        panes = picture.panes.values()
        waits = [b - a for a, b in zip(before.waits or [0] * len(now.waits), now.waits)]
        at_once = max(0, now.compared - before.compared - sum(waits))
        lags = now.lags - before.lags
        point = Point(
            time=now.wall,
            released=(now.bytes - before.bytes) / seconds,
            frames=(now.frames - before.frames) / seconds,
            median=quantile(waits, at_once, 0.5),
            tail=quantile(waits, at_once, 0.99),
            primary=sum(pane.accounting.primary.held.bytes for pane in panes),
            secondary=sum(pane.accounting.secondary.held.bytes for pane in panes),
            oldest=max((max(pane.primary_age, pane.secondary_age) for pane in panes), default=0.0),
            divergences=now.divergences - before.divergences,
            lag=(now.lagged - before.lagged) / lags if lags > 0 else 0.0,
        )
        self.points.append(point)
        return point


def totals(picture: Picture) -> Totals:
    """All comparators of a picture, added up."""
    accounts = [pane.accounting for pane in picture.panes.values()]
    left = [each for account in accounts for each in (account.primary.released, account.primary.passed, account.made)]
    waits = tuple(map(sum, zip(*(pane.accounting.waits for pane in picture.panes.values()))))
    return Totals(
        wall=picture.wall,
        bytes=sum(counts.bytes for counts in left),
        frames=sum(counts.frames for counts in left),
        compared=sum(account.primary.released.frames for account in accounts),
        waits=waits,
        divergences=sum(sum(account.divergences.values()) for account in accounts),
        lags=sum(picture.lags),
        lagged=picture.lagged,
    )


def quantile(waits: Sequence[int], at_once: int, share: float) -> float | None:
    """The seconds within which this share of frames left; between two cells' bounds, as if spread evenly there."""
    wanted = share * (sum(waits) + at_once)
    if not wanted:
        return None
    if wanted <= at_once:
        return 0.0
    wanted -= at_once
    low, high = 0.0, SHORTEST_WAIT
    for count in waits:
        if wanted <= count:
            return low + (high - low) * wanted / count
        wanted -= count
        low, high = high, 2 * high
    return low
