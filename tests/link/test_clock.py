"""The clock counts no time in which nothing was read, and never goes back."""

import signal
import threading
import time
from collections.abc import Callable

import pytest

from coloproxy.link.clock import LATE, Clock
from support import frames
from support.process import Running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands at 100 s; `pass_` moves it."""
    monkeypatch.setattr(time, "monotonic", lambda: NOW[0])
    NOW[0] = 100.0
    return Clock()


NOW = [100.0]


def pass_(seconds: float) -> None:
    NOW[0] += seconds


def test_time_counts_while_frames_are_read(clock: Clock) -> None:
    pass_(5)
    clock.woke(105 - LATE / 2)
    assert clock.now() == 105


def test_time_for_which_the_loop_did_not_wake_does_not(clock: Clock) -> None:
    pass_(10)
    clock.woke(101)
    assert clock.now() == 101
    assert clock.monotonic(102) == 111
    pass_(1)
    assert clock.now() == 102


def test_a_wait_without_an_end_is_never_late(clock: Clock) -> None:
    pass_(1000)
    clock.woke(float("inf"))
    assert clock.now() == 1100


def test_it_never_goes_back(clock: Clock) -> None:
    pass_(10)
    assert clock.now() == 110
    pass_(10)
    clock.woke(0)
    assert clock.now() == 110


def test_it_stands_still_while_it_is_stopped(clock: Clock) -> None:
    clock.stop()
    pass_(10)
    clock.woke(101)
    assert clock.now() == 100
    clock.go_on()
    pass_(1)
    assert clock.now() == 101


def test_what_came_while_the_process_was_stopped_has_come_in_time(proxy: Callable[..., Running]) -> None:
    running = proxy("--compare-timeout", "1000")
    p, s, o = running.peers()
    p.send(frames.udp(b"answer"))
    running.until(running.account("primary", held=1))
    others = [frames.udp(bytes(1400), dport=1000 + at % 8) for at in range(600)]
    running.process.send_signal(signal.SIGSTOP)
    speakers = [threading.Thread(target=p.send, args=others)]
    speakers.append(threading.Thread(target=s.send, args=[*others, frames.udp(b"answer")]))
    for speaker in speakers:
        speaker.start()
    time.sleep(2.2)
    running.process.send_signal(signal.SIGCONT)
    assert len(o.frames(601)) == 601
    for speaker in speakers:
        speaker.join()
    assert running.events("divergence") == []
    running.stop()
