"""When the driver of checkpoints is looked at."""

import time
from collections.abc import Iterator

import pytest

from coloproxy.checkpoint.driver import Driver
from coloproxy.guest.driving import Driving
from coloproxy.link.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def turn(loop: Loop, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loop.turn(end)


def test_what_is_wanted_does_not_wait_for_the_checkpoint_that_nobody_asks_for(loop: Loop) -> None:
    asked: list[float] = []
    begun = time.monotonic()
    driver = Driver(begun, min_interval=0.05, max_interval=60, timeout=60)
    driving = Driving(driver, loop, lambda: asked.append(time.monotonic() - begun), lambda: None)
    driving.look()
    driving.want("tcp_payload")
    assert asked == []
    turn(loop, 0.5)
    assert 0.05 <= asked[0] < 0.3
    assert asked[1] > asked[0] + 0.25  # nothing began: it is asked again
    assert len(asked) == 2


def test_one_that_takes_too_long_is_given_up_once_and_nothing_is_ordered_any_more(loop: Loop) -> None:
    given_up: list[None] = []
    driver = Driver(time.monotonic(), min_interval=0, max_interval=None, timeout=0.1)
    driving = Driving(driver, loop, lambda: driver.began(time.monotonic()), lambda: given_up.append(None))
    driving.want("tcp_payload")
    turn(loop, 0.4)
    assert given_up == [None]


def test_at_the_end_nothing_is_due_any_more(loop: Loop) -> None:
    asked: list[None] = []
    driver = Driver(time.monotonic(), min_interval=0.05, max_interval=0.05, timeout=60)
    driving = Driving(driver, loop, lambda: asked.append(None), lambda: None)
    driving.look()
    driving.end()
    turn(loop, 0.2)
    assert asked == []
