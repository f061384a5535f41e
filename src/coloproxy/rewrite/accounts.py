"""What a rewriter counts."""

from collections.abc import Sequence

import msgspec

from coloproxy.compare.events import Counts, Endpoints
from coloproxy.rewrite.sources import Source

RECEIVED, PASSED, TRANSLATED, HELD, DROPPED = range(0, 10, 2)
WIDTH = 10
_NAMES = ("received", "passed", "translated", "held", "dropped")


class SourceAccount(msgspec.Struct, frozen=True):
    """Where one source's frames ended. received = passed + translated + held + dropped, at any moment.

    passed: untouched but for what a SYN offers; translated: of a connection that is tracked; held: waiting for its
    numbers; dropped: waited in vain.
    """

    received: Counts = Counts()
    passed: Counts = Counts()
    translated: Counts = Counts()
    held: Counts = Counts()
    dropped: Counts = Counts()


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts. `stripped` are SYNs that lost their timestamps, `fragments` pieces of TCP segments that passed
    untouched, `answered` acknowledgements made for replicas in the client's stead; `malformed` counts by
    reason what passed for being no proper frame."""

    primary: SourceAccount = SourceAccount()
    secondary: SourceAccount = SourceAccount()
    client: SourceAccount = SourceAccount()
    connections: int = 0
    connections_opened: int = 0
    connections_evicted: int = 0
    stripped: int = 0
    fragments: int = 0
    answered: int = 0
    malformed: dict[str, int] = {}


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """One connection as it stands: its state by RFC 9293, the secondary's sequence numbers and timestamps minus the
    primary's (None: not known, not translated), frames that wait for these, seconds since its last segment."""

    connection: Endpoints
    state: str
    offset: int | None
    timestamps_offset: int | None
    held_frames: int
    idle: float


def source_account(tally: Sequence[int], source: Source) -> SourceAccount:
    """One source's account from the engine's tally."""
    columns = range(source * WIDTH, (source + 1) * WIDTH, 2)
    return SourceAccount(**{name: Counts(tally[at], tally[at + 1]) for name, at in zip(_NAMES, columns, strict=True)})
