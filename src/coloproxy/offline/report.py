"""What a comparison of two captures found."""

from typing import Literal

import msgspec

from coloproxy.compare.events import Endpoints, Reason

MAX_LISTED = 1000  # differences, and connections, that are told one by one; the others are counted

Verdict = Literal["same", "differs", "not compared"]


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place at which the two differ.

    connection: as the primary has it (the replica is its source); secondary_connection: the secondary's, if that has
    other addresses or ports. offset: index of the first differing byte in the stream, or in the datagram; seq and
    secondary_seq: its TCP sequence number in either capture. length: how many bytes only one of the two has sent.
    primary, secondary: up to 64 bytes around the place, in hexadecimal, beginning `context_offset` bytes before it.
    primary_frames, secondary_frames: numbers of the frames in the captures, from 1. rule: which had it compared.
    """

    reason: Reason
    detail: str
    connection: Endpoints
    rule: str = "default"
    secondary_connection: Endpoints | None = None
    offset: int | None = None
    seq: int | None = None
    secondary_seq: int | None = None
    length: int | None = None
    primary: str = ""
    secondary: str = ""
    context_offset: int = 0
    primary_frames: list[int] = []
    secondary_frames: list[int] = []


class Compared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One connection, or the datagrams between two ports.

    verified: bytes that both replicas sent alike. Three kinds are not compared: unseen, at whose place one of the
    captures has nothing, being cut by its snapshot length or having lost a frame; before, sent before the other capture
    begins; skipped, behind a difference, to go on after it. note: what else is to be said.
    """

    connection: Endpoints
    verdict: Verdict
    verified: int = 0
    differences: int = 0
    unseen: int = 0
    before: int = 0
    skipped: int = 0
    frames: tuple[int, int] = (0, 0)
    secondary_connection: Endpoints | None = None
    note: str = ""


class Totals(msgspec.Struct, kw_only=True):
    """All connections added up. paired: those that are in both captures."""

    connections: int = 0
    paired: int = 0
    same: int = 0
    differ: int = 0
    not_compared: int = 0
    verified: int = 0
    unseen: int = 0
    before: int = 0
    skipped: int = 0
    differences: int = 0

    def left_out(self) -> list[tuple[int, str]]:
        """What was not compared: bytes, and why."""
        whys = (
            (self.unseen, "not captured"), (self.before, "sent before the other capture begins"),
            (self.skipped, "behind a difference"),
        )  # fmt: skip
        return [(size, why) for size, why in whys if size]


class CaptureSummary(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was read of one capture. frames: all; sent: those the replica sent. problem: why not all could be read.

    Of the frames sent, not compared are: `short`, cut within their headers; `malformed`; `fragments` of datagrams of
    which not all are there; `passed`, by rule. `cut` were compared as far as they go. `unknown_links` counts frames of
    link types that cannot be read.
    """

    path: str
    format: str = ""
    frames: int = 0
    sent: int = 0
    cut: int = 0
    short: int = 0
    malformed: int = 0
    fragments: int = 0
    passed: int = 0
    unknown_links: dict[str, int] = {}
    problem: str | None = None


class Report(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole result. `same`: no difference was found in what could be compared."""

    same: bool
    side: str
    match: str
    primary: CaptureSummary
    secondary: CaptureSummary
    totals: Totals
    differences: list[Difference]
    connections: list[Compared]
    guessed: str = ""
    secondary_side: str = ""


class Findings:
    """Collects connections and differences; of very many it keeps those that matter most and counts the rest."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.differences: list[Difference] = []
        self._different: list[Compared] = []
        self._others: list[Compared] = []

    def differs(self, difference: Difference) -> None:
        self.totals.differences += 1
        if len(self.differences) < MAX_LISTED:
            self.differences.append(difference)

    def compared(self, one: Compared) -> None:
        totals = self.totals
        totals.connections += 1
        totals.paired += all(one.frames)
        totals.verified += one.verified
        totals.unseen += one.unseen
        totals.before += one.before
        totals.skipped += one.skipped
        if one.verdict == "differs":
            totals.differ += 1
            if len(self._different) < MAX_LISTED:
                self._different.append(one)
            return
        if one.verdict == "same":
            totals.same += 1
        else:
            totals.not_compared += 1
        self._others.append(one)
        if len(self._others) > 2 * MAX_LISTED:
            self._others = self._weightiest()

    def connections(self) -> list[Compared]:
        """Those that differ, in the order found, then those with most bytes."""
        return (self._different + self._weightiest())[:MAX_LISTED]

    def _weightiest(self) -> list[Compared]:
        return sorted(self._others, key=lambda one: -one.verified)[:MAX_LISTED]
