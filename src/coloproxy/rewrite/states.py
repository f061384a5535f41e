"""The life of a TCP connection as a table: (state, event) -> state (RFC 9293, 3.3.2 and 3.10.7).

States are those of the replicas' end of the connection, as far as it shows in the segments that go by: "sent" is what
the replicas sent, "received" what their client did. A pair that is not in the table changes nothing. The state says
when a connection may be forgotten and when its key may begin anew; numbers are translated in every state, so that a
segment that only looks as if it ended the connection (one that its receiver finds unacceptable) does no harm.
"""

import enum


class State(enum.IntEnum):
    """RFC 9293, 3.3.2. CLOSED is LISTEN too: from outside the two look the same."""

    CLOSED = 0
    SYN_SENT = 1
    SYN_RECEIVED = 2
    ESTABLISHED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    CLOSE_WAIT = 6
    CLOSING = 7
    LAST_ACK = 8
    TIME_WAIT = 9


class Event(enum.StrEnum):
    """What a segment that goes by means. A segment with an acknowledgement and a FIN is two events, in this order."""

    SYN_SENT = "sent SYN"
    SYN_RECEIVED = "received SYN"
    SYN_ACK_RECEIVED = "received SYN and ACK of SYN"
    SYN_ACKED = "received ACK of SYN"
    FIN_ACKED = "received ACK of FIN"
    FIN_SENT = "sent FIN"
    FIN_RECEIVED = "received FIN"
    RST = "sent or received RST"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.CLOSED: {
        Event.SYN_SENT: State.SYN_SENT,
        Event.SYN_RECEIVED: State.SYN_RECEIVED,
    },
    State.SYN_SENT: {
        Event.SYN_RECEIVED: State.SYN_RECEIVED,  # both ends opened at once
        Event.SYN_ACK_RECEIVED: State.ESTABLISHED,
        Event.RST: State.CLOSED,
    },
    State.SYN_RECEIVED: {
        Event.SYN_ACK_RECEIVED: State.ESTABLISHED,  # both ends opened at once
        Event.SYN_ACKED: State.ESTABLISHED,
        Event.FIN_SENT: State.FIN_WAIT_1,
        Event.FIN_RECEIVED: State.CLOSE_WAIT,
        Event.RST: State.CLOSED,
    },
    State.ESTABLISHED: {
        Event.FIN_SENT: State.FIN_WAIT_1,
        Event.FIN_RECEIVED: State.CLOSE_WAIT,
        Event.RST: State.CLOSED,
    },
    State.FIN_WAIT_1: {
        Event.FIN_ACKED: State.FIN_WAIT_2,
        Event.FIN_RECEIVED: State.CLOSING,
        Event.RST: State.CLOSED,
    },
    State.FIN_WAIT_2: {
        Event.FIN_RECEIVED: State.TIME_WAIT,
        Event.RST: State.CLOSED,
    },
    State.CLOSE_WAIT: {
        Event.FIN_SENT: State.LAST_ACK,
        Event.RST: State.CLOSED,
    },
    State.CLOSING: {
        Event.FIN_ACKED: State.TIME_WAIT,
        Event.RST: State.CLOSED,
    },
    State.LAST_ACK: {
        Event.FIN_ACKED: State.CLOSED,
        Event.RST: State.CLOSED,
    },
    State.TIME_WAIT: {
        Event.RST: State.CLOSED,
    },
}

# Both numbers are still being learned.
OPENING = frozenset({State.SYN_SENT, State.SYN_RECEIVED})

# Over: a SYN begins the key anew (RFC 9293, 3.6.1, for TIME-WAIT).
OVER = frozenset({State.CLOSED, State.TIME_WAIT})

# An ordinary acknowledgement is no event here.
QUIET = frozenset(
    state for state in set(State) - OPENING if not {Event.SYN_ACKED, Event.FIN_ACKED} & TRANSITIONS[state].keys()
)


def following(state: State, event: Event) -> State:
    """The state after the event."""
    return TRANSITIONS[state].get(event, state)
