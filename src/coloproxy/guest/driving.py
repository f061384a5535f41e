"""A checkpoint driver kept going on an event loop."""

import math
import time
from collections.abc import Callable

from coloproxy.checkpoint.driver import Driver, Order
from coloproxy.link.loop import Loop


class Driving:
    """Looks at the driver when something is due, until `end()`: `ask()` and `give_up()` are what it may order."""

    def __init__(self, driver: Driver, loop: Loop, ask: Callable[[], None], give_up: Callable[[], None]) -> None:
        self.driver = driver
        self._loop = loop
        self._ask, self._give_up = ask, give_up
        self._next = math.inf  # when the next look is due
        self._ended = False

    def want(self, reason: str) -> None:
        """A checkpoint is needed."""
        self.driver.want(reason, time.monotonic())
        self.look()

    def look(self) -> None:
        """Do what is due, and look again when more may be: what is wanted now may be due before what was."""
        now = time.monotonic()
        order = self.driver.tick(now)
        if order is Order.GIVE_UP:
            self.end()
            self._give_up()
            return
        if order is Order.ASK:
            self._ask()
        due = self.driver.deadline()
        if due is not None and due < self._next and not self._ended:
            self._next = due
            self._loop.after(max(0.0, due - now), lambda: self._look_at(due))

    def _look_at(self, due: float) -> None:
        if due == self._next and not self._ended:
            self._next = math.inf
            self.look()

    def end(self) -> None:
        """Order nothing more."""
        self._ended = True
