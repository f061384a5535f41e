"""How often a proxy shows itself: as its own work on that allows, however long it waits for a processor meanwhile."""

import math
import socket
import time
from collections.abc import Callable

import pytest

from coloproxy.link.clock import Clock
from coloproxy.link.loop import Loop
from coloproxy.watch.beacon import INTERVAL, SHARE, Beacon
from coloproxy.watch.channel import Channel
from coloproxy.watch.host import Host
from coloproxy.watch.messages import Gate

LONG = 0.1  # seconds that a picture takes


class Noting(Loop):
    """Keeps for how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.pauses.append(seconds)
        super().after(seconds, call)


def pause_after(taking: Callable[[], None]) -> float:
    """The pause that follows a picture while which this is done."""
    loop, pictures = Noting(), 0

    def gates() -> list[Gate]:
        nonlocal pictures
        pictures += 1
        taking()
        return []

    beacon = Beacon(Host("compare", "compare", loop, Clock(), {}, gates, lambda _: None, lambda _: None))
    ours, theirs = socket.socketpair()
    beacon.speak(Channel(ours, loop, beacon.asked, beacon.silence))
    while not pictures:
        loop.pauses.clear()
        loop.turn(math.inf)
    loop.close()
    ours.close()
    theirs.close()
    return max(loop.pauses)


def work() -> None:
    """Use a processor."""
    end = time.thread_time() + LONG
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(
    ("taking", "least", "most"),
    [(work, LONG / SHARE, math.inf), (lambda: time.sleep(LONG), INTERVAL, LONG / SHARE / 2)],
)
def test_a_picture_that_was_much_work_is_followed_by_a_long_pause_but_not_one_that_waited(
    taking: Callable[[], None], least: float, most: float
) -> None:
    assert least <= pause_after(taking) <= most
