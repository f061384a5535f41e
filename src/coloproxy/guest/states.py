"""The life of an agent as a table: (state, event) -> (state, what is done). No sockets, no clock, no processes.

An agent has the guest (primary), a copy of it (secondary), or neither. Who may live alone is not decided here but by
the lease, which is asked in DECIDING and TAKING_OVER: of two agents that ask, one is told GRANTED, the other REFUSED.
Where a copy may be the only one, QEMU is not ended for being slow to answer (HUNG), only its end is the end (BROKEN).
"""

import enum

from coloproxy.errors import ColoproxyError


class State(enum.StrEnum):
    """What an agent is doing."""

    WAITING = "waiting"  # no guest is here; ready to be a secondary
    STARTING = "starting"  # QEMU is being started with the guest
    ALONE = "alone"  # the guest runs here, unprotected
    SILENCED = "silenced"  # it does, and says nothing: the lease could not be renewed
    COPYING = "copying"  # its memory goes to the secondary for the first time
    PAIRING = "pairing"  # the secondary is in step, and the lease is asked to name both
    PROTECTED = "protected"  # the secondary is in step
    CHECKPOINTING = "checkpointing"  # the secondary is being made equal again
    DECIDING = "deciding"  # the secondary is lost: may the primary go on alone?
    RECEIVING = "receiving"  # a secondary whose memory arrives for the first time
    STANDBY = "standby"  # a secondary in step
    LOADING = "loading"  # a secondary being made equal again
    TAKING_OVER = "taking over"  # the primary is lost: may the secondary go on alone?
    FAILING_OVER = "failing over"  # it may: it becomes the guest
    FAILED = "failed"  # the guest is gone, or must not run here; up starts again


class Event(enum.StrEnum):
    """What can happen to it."""

    UP = "up"
    STARTED = "guest started"
    BROKEN = "guest broken"
    HUNG = "QEMU does not answer"
    ASKED = "asked to copy"
    PROTECT = "protect"
    COPIED = "copied"
    COPY_FAILED = "copy failed"
    STOPPED = "stopped for a checkpoint"
    RESUMED = "resumed after a checkpoint"
    LOST = "peer lost"
    HAND_OVER = "failover"
    GRANTED = "lease granted"
    REFUSED = "lease refused"
    EXPIRING = "lease expiring"
    RENEWED = "lease renewed"
    ALIVE = "running alone"
    DOWN = "down"


class Do(enum.StrEnum):
    """What the agent does about it."""

    NOTHING = "nothing"
    START = "start the guest"
    SPEAK = "let the guest speak"
    SILENCE = "have the guest say nothing"
    COPY = "copy the guest's memory"
    RECEIVE = "start QEMU to receive"
    PAIR = "write that there are two"
    TELL = "tell the secondary that it may be asked to live"
    CLAIM = "ask who may live"
    SEPARATE = "let the secondary go, release what is held"
    SUCCEED = "fence, leave COLO, take over the network"
    YIELD = "hand over to the secondary"
    DISCARD = "end QEMU here"


S, E = State, Event

TABLE: dict[State, dict[Event, tuple[State, Do]]] = {
    S.WAITING: {
        E.UP: (S.STARTING, Do.START),
        E.ASKED: (S.RECEIVING, Do.RECEIVE),
        E.LOST: (S.WAITING, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.NOTHING),
    },
    S.STARTING: {
        E.STARTED: (S.ALONE, Do.SPEAK),
        E.BROKEN: (S.FAILED, Do.DISCARD),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.LOST: (S.STARTING, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.ALONE: {
        E.PROTECT: (S.COPYING, Do.COPY),
        E.EXPIRING: (S.SILENCED, Do.SILENCE),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.BROKEN: (S.FAILED, Do.DISCARD),
        E.HUNG: (S.ALONE, Do.NOTHING),
        E.LOST: (S.ALONE, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.SILENCED: {
        E.RENEWED: (S.ALONE, Do.SPEAK),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.BROKEN: (S.FAILED, Do.DISCARD),
        E.HUNG: (S.SILENCED, Do.NOTHING),
        E.LOST: (S.SILENCED, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.COPYING: {
        E.COPIED: (S.PAIRING, Do.PAIR),
        E.COPY_FAILED: (S.ALONE, Do.SEPARATE),
        E.LOST: (S.ALONE, Do.SEPARATE),
        E.EXPIRING: (S.SILENCED, Do.SILENCE),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.BROKEN: (S.FAILED, Do.DISCARD),
        E.HUNG: (S.COPYING, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.PAIRING: {
        E.GRANTED: (S.PROTECTED, Do.TELL),
        E.LOST: (S.DECIDING, Do.CLAIM),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.BROKEN: (S.WAITING, Do.YIELD),
        E.HUNG: (S.PAIRING, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.PROTECTED: {
        E.STOPPED: (S.CHECKPOINTING, Do.NOTHING),
        E.HAND_OVER: (S.WAITING, Do.YIELD),
        E.LOST: (S.DECIDING, Do.CLAIM),
        E.BROKEN: (S.WAITING, Do.YIELD),
        E.HUNG: (S.WAITING, Do.YIELD),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.CHECKPOINTING: {
        E.RESUMED: (S.PROTECTED, Do.NOTHING),
        E.HAND_OVER: (S.WAITING, Do.YIELD),
        E.LOST: (S.DECIDING, Do.CLAIM),
        E.BROKEN: (S.WAITING, Do.YIELD),
        E.HUNG: (S.WAITING, Do.YIELD),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.DECIDING: {
        E.GRANTED: (S.ALONE, Do.SEPARATE),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.BROKEN: (S.WAITING, Do.YIELD),
        E.HUNG: (S.DECIDING, Do.NOTHING),
        E.LOST: (S.DECIDING, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.RECEIVING: {
        E.COPIED: (S.STANDBY, Do.NOTHING),
        E.COPY_FAILED: (S.WAITING, Do.DISCARD),
        E.BROKEN: (S.WAITING, Do.DISCARD),
        E.HUNG: (S.WAITING, Do.DISCARD),
        E.LOST: (S.WAITING, Do.DISCARD),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.STANDBY: {
        E.STOPPED: (S.LOADING, Do.NOTHING),
        E.HAND_OVER: (S.TAKING_OVER, Do.CLAIM),
        E.LOST: (S.TAKING_OVER, Do.CLAIM),
        E.BROKEN: (S.WAITING, Do.DISCARD),
        E.HUNG: (S.WAITING, Do.DISCARD),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.LOADING: {
        E.RESUMED: (S.STANDBY, Do.NOTHING),
        E.HAND_OVER: (S.TAKING_OVER, Do.CLAIM),
        E.LOST: (S.TAKING_OVER, Do.CLAIM),
        E.BROKEN: (S.WAITING, Do.DISCARD),
        E.HUNG: (S.WAITING, Do.DISCARD),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.TAKING_OVER: {
        E.GRANTED: (S.FAILING_OVER, Do.SUCCEED),
        E.REFUSED: (S.WAITING, Do.DISCARD),
        E.BROKEN: (S.WAITING, Do.DISCARD),
        E.HUNG: (S.TAKING_OVER, Do.NOTHING),
        E.HAND_OVER: (S.TAKING_OVER, Do.NOTHING),
        E.LOST: (S.TAKING_OVER, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.FAILING_OVER: {
        E.ALIVE: (S.ALONE, Do.SPEAK),
        E.BROKEN: (S.FAILED, Do.DISCARD),
        E.REFUSED: (S.FAILED, Do.DISCARD),
        E.HUNG: (S.FAILING_OVER, Do.NOTHING),
        E.HAND_OVER: (S.FAILING_OVER, Do.NOTHING),
        E.LOST: (S.FAILING_OVER, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.DISCARD),
    },
    S.FAILED: {
        E.UP: (S.STARTING, Do.START),
        E.ASKED: (S.RECEIVING, Do.RECEIVE),
        E.LOST: (S.FAILED, Do.NOTHING),
        E.DOWN: (S.WAITING, Do.NOTHING),
    },
}

PRIMARY = frozenset({S.STARTING, S.ALONE, S.SILENCED, S.COPYING, S.PAIRING, S.PROTECTED, S.CHECKPOINTING, S.DECIDING})
SECONDARY = frozenset({S.RECEIVING, S.STANDBY, S.LOADING, S.TAKING_OVER, S.FAILING_OVER})
IN_STEP = frozenset({S.PAIRING, S.PROTECTED, S.CHECKPOINTING, S.DECIDING})  # nothing leaves that both have not said
UNPROTECTED = frozenset({S.ALONE, S.SILENCED, S.COPYING})  # the lease must be renewed


class ImpossibleError(ColoproxyError):
    """An event that cannot be in this state."""

    def __init__(self, state: State, event: Event) -> None:
        able = ", ".join(sorted(each for each in TABLE if event in TABLE[each]))
        super().__init__(f"'{event}' cannot be while the agent is {state}; it can while it is {able or 'never'}.")


def following(state: State, event: Event) -> tuple[State, Do]:
    """The state after an event, and what is to be done. Raises ImpossibleError."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise ImpossibleError(state, event) from None


def role(state: State) -> str:
    """primary, secondary, or none."""
    return "primary" if state in PRIMARY else "secondary" if state in SECONDARY else "none"


def diagram() -> str:
    """The table as a Mermaid state diagram; events that change no state are left out."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for state, events in TABLE.items():
        ways: dict[State, list[str]] = {}
        for event, (after, _) in events.items():
            if after is not state:
                ways.setdefault(after, []).append(event.value)
        lines += [f"    {name(state)} --> {name(after)}: {', '.join(why)}" for after, why in ways.items()]
    return "\n".join([*lines, ""])


def name(state: State) -> str:
    """A state's name without blanks."""
    return state.value.replace(" ", "_")
