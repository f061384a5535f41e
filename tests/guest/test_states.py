"""The table of the agent's states: what two agents can come to, whatever happens to them."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.guest.states import (
    IN_STEP,
    PRIMARY,
    SECONDARY,
    TABLE,
    UNPROTECTED,
    Do,
    Event,
    ImpossibleError,
    State,
    diagram,
    following,
    role,
)
from support.pages import DOCS


def test_every_state_has_its_events_and_can_be_come_to() -> None:
    assert set(TABLE) == set(State)
    reached = {State.WAITING, *(after for events in TABLE.values() for after, _ in events.values())}
    assert reached == set(State)


def test_every_event_and_every_deed_is_used() -> None:
    used = list(itertools.chain.from_iterable(TABLE.values()))
    assert set(used) == set(Event)
    assert {do for events in TABLE.values() for _, do in events.values()} == set(Do)


@pytest.mark.parametrize("state", State)
def test_down_and_the_loss_of_the_peer_can_be_in_every_state(state: State) -> None:
    assert Event.DOWN in TABLE[state]
    assert Event.LOST in TABLE[state]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_an_impossible_event_is_refused_by_a_sentence(state: State, event: Event) -> None:
    if event in TABLE[state]:
        following(state, event)
        return
    with pytest.raises(ImpossibleError, match=f"'{event}' cannot be while the agent is {state}; it can while"):
        following(state, event)


def test_nobody_who_was_in_step_lives_alone_without_the_lease() -> None:
    for state, events in TABLE.items():
        for event, (after, do) in events.items():
            alone = after in UNPROTECTED or after is State.FAILING_OVER
            if alone and state in IN_STEP | (SECONDARY - {State.FAILING_OVER}):
                assert event is Event.GRANTED, (state, event, do)


def test_only_deciding_and_taking_over_ask_who_may_live() -> None:
    for events in TABLE.values():
        for after, do in events.values():
            assert (do is Do.CLAIM) == (do is not Do.NOTHING and after in {State.DECIDING, State.TAKING_OVER})


def test_who_is_refused_ends_its_guest() -> None:
    for events in TABLE.values():
        if Event.REFUSED in events:
            assert events[Event.REFUSED][1] is Do.DISCARD


def test_an_unprotected_guest_falls_silent_when_its_lease_expires() -> None:
    for state in UNPROTECTED - {State.SILENCED}:
        assert TABLE[state][Event.EXPIRING] == (State.SILENCED, Do.SILENCE)


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_an_agent_is_one_thing_at_a_time(events: list[Event]) -> None:
    state = State.WAITING
    for event in events:
        if event in TABLE[state]:
            state, _ = following(state, event)
        assert (state in PRIMARY) + (state in SECONDARY) + (role(state) == "none") == 1


def test_the_diagram_in_the_manual_is_that_of_the_table() -> None:
    page = (DOCS / "guest.md").read_text()
    assert diagram() in page, "put what coloproxy.guest.states.diagram() says into docs/guest.md"


def test_the_diagram_has_an_arrow_for_every_change() -> None:
    shown = set(re.findall(r"^    (\w+) --> (\w+): ", diagram(), re.MULTILINE))
    changes = {
        (a.value.replace(" ", "_"), b.value.replace(" ", "_"))
        for a in TABLE
        for b, _ in TABLE[a].values()
        if a is not b
    }
    assert shown == changes
