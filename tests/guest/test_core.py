"""What an agent does by itself, without QEMU: its parts are stand-ins."""

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coloproxy.checkpoint.driver import Driver
from coloproxy.guest import core
from coloproxy.guest.core import Core
from coloproxy.guest.disk import DISK
from coloproxy.guest.elements import Door
from coloproxy.guest.memory import Memory
from coloproxy.guest.pace import JUST, LONG, WRITTEN, Pace
from coloproxy.guest.states import State
from coloproxy.link.loop import Loop
from support.wire import PATIENCE


def agent(**how: Any) -> Any:
    made = SimpleNamespace(
        file=SimpleNamespace(protect="auto"), state=State.ALONE, _wire=SimpleNamespace(connected=True),
        _peer_state=State.WAITING, _lost_at=None, _rests_until=-math.inf, loop=Loop(), asked=0,
    )  # fmt: skip

    def protect() -> None:
        made.asked += 1

    made.protect = protect
    vars(made).update(how)
    return made


@pytest.mark.parametrize(
    ("how", "asked"),
    [({}, 1), ({"_lost_at": 1.0}, 0), ({"state": State.SILENCED}, 0), ({"_peer_state": State.RECEIVING}, 0)],
    ids=["alone", "not yet alone", "silenced", "no host for it"],
)
def test_a_secondary_is_made_by_itself_when_the_guest_is_alone(how: dict[str, Any], asked: int) -> None:
    made = agent(**how)
    Core._look_for_protection(made)
    assert made.asked == asked


def test_a_copy_that_failed_is_tried_again_though_the_other_host_says_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "REST", 0.05)
    made = agent()
    made._look_for_protection = lambda: Core._look_for_protection(made)
    Core._rest(made)
    made._look_for_protection()
    assert made.asked == 0
    end = time.monotonic() + PATIENCE
    while not made.asked:
        assert time.monotonic() < end
        made.loop.turn(end)


def test_a_folder_that_is_full_ends_no_agent(tmp_path: Path) -> None:
    (tmp_path / "state.new").symlink_to("/dev/full")
    said: list[str] = []
    made = agent(
        state=State.TAKING_OVER, place=tmp_path, generation=1, _machine=None, warn=said.append,
        _memory=Memory(tmp_path / "state.json"),
    )  # fmt: skip
    Core._remember(made)
    assert len(said) == 1
    assert said[0].startswith(f"folder {tmp_path}: No space left on device; the next agent here would not know")


@pytest.mark.parametrize("asked", [False, True])
def test_when_the_guest_runs_again_clients_wait_on_if_the_next_checkpoint_is_asked_for(asked: bool) -> None:
    driver, door = Driver(0.0, min_interval=0.0, max_interval=None, timeout=3.0), Door("door")
    if asked:
        driver.want("first", 1.0)
        driver.tick(1.0)
    door.close_up()
    made = agent(
        path=SimpleNamespace(door=door), clock=SimpleNamespace(now=time.monotonic),
        _driving=SimpleNamespace(driver=driver),
    )  # fmt: skip
    Pace._primary_resumed(made)
    assert door.closed == asked


@pytest.mark.parametrize(
    ("silent", "again"), [(0.0, JUST), (0.05, 0.05 + JUST), (math.inf, LONG)], ids=["no time", "a while", "always"]
)
def test_how_long_before_its_stop_a_guest_may_have_missed_what_was_said(silent: float, again: float) -> None:
    since: list[float] = []
    made = agent(
        path=SimpleNamespace(
            door=SimpleNamespace(close_behind=since.append), listener=SimpleNamespace(spoke=100.0 - silent)
        ),
        clock=SimpleNamespace(now=lambda: 100.0), _driving=None,
    )  # fmt: skip
    Pace._primary_stopped(made)
    assert since == [pytest.approx(100.0 - again)]


def test_what_was_written_before_the_pair_began_asks_for_no_checkpoint() -> None:
    written = [10 * WRITTEN]

    def execute(_command: str, _arguments: None, told: Any) -> None:
        told([{"node-name": DISK, "stats": {"wr_bytes": written[0]}}], None)

    wants: list[str] = []
    made = agent(
        _driving=object(), _written=None, _want=wants.append,
        _colo=SimpleNamespace(monitor=SimpleNamespace(execute=execute)),
    )  # fmt: skip
    made._look_at_writing = lambda _: None
    Pace._look_at_writing(made, made._driving)
    assert wants == []
    written[0] += WRITTEN + 1
    Pace._look_at_writing(made, made._driving)
    assert wants == ["disk written"]
