"""When to ask QEMU for a checkpoint, whether it was heard, and when to give up on one. No sockets, no clock.

    driver.want("tcp_payload", now)     somebody needs a checkpoint
    driver.tick(now) is Order.ASK       set x-checkpoint-delay on the primary now: that begins one at once
    driver.began(now)                   QEMU's STOP
    driver.completed(now)               QEMU's RESUME
    driver.tick(now) is Order.GIVE_UP   it takes too long: the other side counts as lost

QEMU forgets a request that comes while a checkpoint is under way. So whatever is wanted after one has begun is asked
for when it is complete, and again while nothing begins.
"""

import enum
from collections import Counter
from typing import NamedTuple

AGAIN = 0.3  # seconds after which a request that began nothing is repeated


class Order(enum.Enum):
    """What the driver wants done."""

    ASK = "ask"
    GIVE_UP = "give up"


class Made(NamedTuple):
    """A checkpoint: how often each reason asked for it, seconds since the first did, seconds the guest stood still."""

    reasons: dict[str, int]
    took: float
    paused: float


class Driver:
    """Times are seconds. min_interval: the least time from one checkpoint's end to the next request; max_interval: the
    most, None for as long as nobody asks; timeout: for all of one, from the request on."""

    def __init__(self, now: float, *, min_interval: float, max_interval: float | None, timeout: float) -> None:
        self._min, self._max, self._timeout = min_interval, max_interval, timeout
        self._reasons: Counter[str] = Counter()
        self._wanted: float | None = None  # since when
        self._later: Counter[str] = Counter()  # wanted since one is under way
        self._asked: float | None = None
        self._first_asked: float | None = None
        self._began: float | None = None
        self._last = now
        self.count = 0

    @property
    def under_way(self) -> bool:
        """Whether the guest stands still for a checkpoint."""
        return self._began is not None

    @property
    def awaited(self) -> bool:
        """Whether one was asked for and has not begun."""
        return self._asked is not None and self._began is None

    def want(self, reason: str, now: float) -> None:
        """A checkpoint is needed."""
        if self._began is not None:
            self._later[reason] += 1
            return
        self._reasons[reason] += 1
        if self._wanted is None:
            self._wanted = now

    def began(self, now: float) -> None:
        """The primary's guest has stopped."""
        self._began = now
        if self._wanted is None:
            self._wanted = now

    def completed(self, now: float) -> Made:
        """It runs again."""
        began = now if self._began is None else self._began
        wanted = now if self._wanted is None else self._wanted
        made = Made(dict(self._reasons), now - wanted, now - began)
        self._reasons, self._later = self._later, Counter()
        self._wanted = now if self._reasons else None
        self._began = self._asked = self._first_asked = None
        self._last = now
        self.count += 1
        return made

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self._began is not None:
            return (self._first_asked or self._began) + self._timeout
        if self._asked is not None and self._first_asked is not None:
            return min(self._asked + AGAIN, self._first_asked + self._timeout)
        if self._wanted is not None:
            return max(self._wanted, self._last + self._min)
        return None if self._max is None else self._last + self._max

    def tick(self, now: float) -> Order | None:
        """What is due."""
        due = self.deadline()
        if due is None or now < due:
            return None
        if self._began is not None or (self._first_asked is not None and now >= self._first_asked + self._timeout):
            return Order.GIVE_UP
        if self._wanted is None:
            self.want("max_interval", now)
        self._asked = now
        self._first_asked = self._first_asked or now
        return Order.ASK
