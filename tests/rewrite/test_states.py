"""The table of a connection's life."""

import pytest

from coloproxy.rewrite.states import OPENING, OVER, QUIET, TRANSITIONS, Event, State, following


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {State.CLOSED}
    for _ in State:
        reached |= {after for before in reached for after in TRANSITIONS[before].values()}
    assert reached == set(State)


def test_every_state_leads_to_the_end() -> None:
    ending = set(OVER)
    for _ in State:
        ending |= {before for before, events in TRANSITIONS.items() if set(events.values()) & ending}
    assert ending == set(State)


@pytest.mark.parametrize("state", State)
def test_a_reset_ends_everything(state: State) -> None:
    """RFC 9293, 3.10.7.4, second."""
    assert following(state, Event.RST) is State.CLOSED


@pytest.mark.parametrize("state", State)
def test_what_is_not_in_the_table_changes_nothing(state: State) -> None:
    for event in set(Event) - TRANSITIONS[state].keys():
        assert following(state, event) in (state, State.CLOSED)
        assert following(state, event) is state or event is Event.RST


def test_only_the_opening_states_await_the_acknowledgement_of_a_syn() -> None:
    for state, events in TRANSITIONS.items():
        assert (Event.SYN_ACKED in events or Event.SYN_ACK_RECEIVED in events) == (state in OPENING)


def test_an_acknowledgement_means_nothing_in_a_quiet_state() -> None:
    for state in QUIET:
        for event in (Event.SYN_ACKED, Event.FIN_ACKED):
            assert following(state, event) is state
    assert State.ESTABLISHED in QUIET


E, S = Event, State
WALKS = {
    "the client closes first": [
        (E.SYN_RECEIVED, S.SYN_RECEIVED), (E.SYN_ACKED, S.ESTABLISHED), (E.FIN_RECEIVED, S.CLOSE_WAIT),
        (E.FIN_SENT, S.LAST_ACK), (E.FIN_ACKED, S.CLOSED),
    ],
    "the replicas close first": [
        (E.SYN_SENT, S.SYN_SENT), (E.SYN_ACK_RECEIVED, S.ESTABLISHED), (E.FIN_SENT, S.FIN_WAIT_1),
        (E.FIN_ACKED, S.FIN_WAIT_2), (E.FIN_RECEIVED, S.TIME_WAIT),
    ],
    "both close at once": [
        (E.SYN_RECEIVED, S.SYN_RECEIVED), (E.SYN_ACKED, S.ESTABLISHED), (E.FIN_SENT, S.FIN_WAIT_1),
        (E.FIN_RECEIVED, S.CLOSING), (E.FIN_ACKED, S.TIME_WAIT),
    ],
    "both open at once": [
        (E.SYN_SENT, S.SYN_SENT), (E.SYN_RECEIVED, S.SYN_RECEIVED), (E.SYN_ACK_RECEIVED, S.ESTABLISHED),
    ],
    "closed before it was open": [(E.SYN_RECEIVED, S.SYN_RECEIVED), (E.FIN_SENT, S.FIN_WAIT_1)],
}  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
def test_the_walks_of_rfc_9293(name: str) -> None:
    """RFC 9293, figures 5, 6, 7, 12 and 13."""
    state = State.CLOSED
    for event, after in WALKS[name]:
        state = following(state, event)
        assert state is after
