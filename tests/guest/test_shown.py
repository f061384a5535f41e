"""What an agent does is shown in words, and its page is nothing that the guest waits for."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest.shown import LOOKS, Shown, progress
from coloproxy.guest.states import IN_STEP, UNPROTECTED, State


def test_there_are_words_for_every_state() -> None:
    assert set(LOOKS) == set(State)
    for look in LOOKS.values():
        assert look.why.format(other="b").endswith(".")


def test_only_what_is_in_step_is_called_protected() -> None:
    protected = {state for state, look in LOOKS.items() if look.looks == "protected"}
    assert protected == (IN_STEP | {State.STANDBY, State.LOADING}) - {State.PAIRING, State.DECIDING}
    assert not protected & UNPROTECTED


def test_what_is_one_state_to_people_has_one_name() -> None:
    assert LOOKS[State.PROTECTED] == LOOKS[State.CHECKPOINTING]
    assert LOOKS[State.STANDBY] == LOOKS[State.LOADING]


def test_how_far_the_copy_is() -> None:
    copy = {"what": "disk", "total": 200, "remaining": 50}
    assert progress({"state": State.COPYING, "copy": copy}) == " 75 % of the disk has arrived."
    assert progress({"state": State.PROTECTED, "copy": copy}) == progress({"state": State.COPYING, "copy": None}) == ""


def agent(warned: list[str], later: list[Any]) -> Any:
    """What is asked of an agent before its page is there."""
    return SimpleNamespace(warn=warned.append, loop=SimpleNamespace(after=lambda _, call: later.append(call)))


def test_an_address_that_is_taken_is_tried_again() -> None:
    warned: list[str] = []
    later: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        shown = Shown(agent(warned, later), SimpleNamespace(), port, [], print)  # type: ignore[arg-type]
        later.pop()()
        assert len(later) == 1
    assert len(warned) == 1
    assert "Address already in use" in warned[0]
    shown.close()


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ColoproxyError, match="is no good"):
        Shown(agent([], []), SimpleNamespace(), "nonsense", [], print)  # type: ignore[arg-type]
