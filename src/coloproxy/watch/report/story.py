"""What a report tells, wherever it comes from."""

from collections import Counter

import msgspec

from coloproxy.compare.events import Endpoints, Reason

MOST = 500  # divergences that are told one by one; the others are counted


class Item(msgspec.Struct, kw_only=True):
    """One divergence. when: seconds from the beginning; None: it has no time. place: where, in words. offset: of the
    first byte that differs. primary, secondary: bytes around it, beginning `context_offset` bytes before. script: a
    program that makes it happen again; None: its bytes alone do not."""

    number: int
    reason: Reason
    connection: Endpoints | None
    detail: str
    rule: str
    place: str = ""
    when: float | None = None
    offset: int | None = None
    primary: bytes = b""
    secondary: bytes = b""
    context_offset: int = 0
    notes: list[str] = []
    script: str | None = None


class Figure(msgspec.Struct):
    """A number at the top."""

    name: str
    value: str
    note: str = ""


class Connection(msgspec.Struct):
    """A connection that differed: how often, by reason; what else is to be said."""

    name: str
    count: int
    reasons: Counter[str]
    note: str = ""


class Story(msgspec.Struct, kw_only=True):
    """All of it. verdict: a sentence; good: whether it is good news. times: of all divergences, by reason, in seconds
    from the beginning to `length`. checkpoints: when they were made. waits, at_once: as in an account; None: not
    measured. again: how all of it is done again, as shell commands. facts: what is to be known of the source."""

    title: str
    source: str
    verdict: str
    good: bool
    figures: list[Figure] = []
    facts: list[tuple[str, str]] = []
    reasons: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    length: float = 0.0
    checkpoints: list[float] = []
    waits: list[int] | None = None
    waited: float = 0.0
    at_once: int = 0
    connections: list[Connection] = []
    items: list[Item] = []
    again: list[str] = []
    warnings: list[str] = []


def worst(found: dict[str, Counter[str]], notes: dict[str, str] | None = None, limit: int = 20) -> list[Connection]:
    """The connections with most divergences, worst first."""
    ranked = sorted(found.items(), key=lambda entry: -entry[1].total())[:limit]
    return [Connection(name, reasons.total(), reasons, (notes or {}).get(name, "")) for name, reasons in ranked]
