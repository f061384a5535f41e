"""What an agent does by itself, without QEMU: its parts are stand-ins."""

from types import SimpleNamespace
from typing import Any

import pytest

from coloproxy.guest.core import Core
from coloproxy.guest.states import State


def agent(**how: Any) -> Any:
    made = SimpleNamespace(
        file=SimpleNamespace(protect="auto"), state=State.ALONE, _wire=SimpleNamespace(connected=True),
        _peer_state=State.WAITING, _lost_at=None, asked=0,
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
