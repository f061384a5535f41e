"""The story of a run, from its file of events."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from coloproxy.compare.events import (
    Accounting,
    CheckpointCompleted,
    CheckpointFailed,
    CheckpointRequested,
    Divergence,
    FailedOver,
    PeerLost,
    Reason,
    State,
    Summary,
    Warned,
)
from coloproxy.errors import ColoproxyError
from coloproxy.watch.report.reproduce import script
from coloproxy.watch.report.story import MOST, Figure, Item, Story, worst
from coloproxy.watch.report.words import counted, duration, size

Known = (
    Divergence | CheckpointRequested | CheckpointCompleted | CheckpointFailed | FailedOver | PeerLost | State | Summary
    | Warned
)  # fmt: skip
MOST_WARNINGS = 20


class _Any(msgspec.Struct):
    event: str
    time: float


def of_events(path: Path) -> Story:
    """Read the file. Raises ColoproxyError if it cannot be read, or holds something else than events."""
    teller = _Teller()
    for event, now in _events(path):
        teller.hear(event, now)
    return teller.story(path)


def _events(path: Path) -> Iterator[tuple[Known | None, float]]:
    """Events with the seconds since the first; None for those that are not told of. A file that was appended to by
    several runs goes on from run to run."""
    known = {each.__struct_config__.tag for each in Known.__args__}
    decode, glance = msgspec.json.Decoder(Known).decode, msgspec.json.Decoder(_Any).decode
    start = end = before = 0.0
    begun = False
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    head = glance(line)
                    event = decode(line) if head.event in known else None
                except msgspec.MsgspecError as error:
                    if not line.endswith(b"\n"):  # the process was killed while it wrote
                        return
                    raise ColoproxyError(f"events file {path}, line {number}: no event: {error}.") from None
                if not begun or head.time < before:  # another run, perhaps after a restart of the machine
                    start, begun = head.time - end, True
                before, end = head.time, head.time - start
                yield event, end
    except OSError as error:
        raise ColoproxyError(f"events file {path}: {error.strerror}; name one that can be read.") from None


class _Teller:
    """Gathers what is told."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.reasons: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.connections: dict[str, Counter[str]] = {}
        self.made: list[float] = []
        self.took: list[float] = []
        self.asked = self.failed = self.heard = 0
        self.length = 0.0
        self.accounts: list[Accounting] = []
        self.last: Accounting | None = None
        self.warnings: list[str] = []

    def hear(self, event: Known | None, now: float) -> None:
        """Take in one event."""
        self.heard += 1
        self.length = max(self.length, now)
        if isinstance(event, Divergence):
            self._diverged(event, now)
        elif isinstance(event, CheckpointRequested):
            self.asked += 1
        elif isinstance(event, CheckpointCompleted):
            self.made.append(now)
            self.took += [event.took] if event.took is not None else []
        elif isinstance(event, CheckpointFailed):
            self.failed += 1
        elif isinstance(event, Summary):
            self.accounts.append(event.accounting)
            self.last = None
        elif isinstance(event, State):
            self.last = event.accounting
        elif isinstance(event, PeerLost):
            self._warn(now, f"{event.role} lost its peer: {event.reason}")
        elif isinstance(event, FailedOver):
            self._warn(now, f"the {event.survivor} went on alone")
        elif isinstance(event, Warned):
            self._warn(now, event.text)

    def _warn(self, now: float, text: str) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(f"after {duration(now)}: {text}")

    def _diverged(self, event: Divergence, now: float) -> None:
        self.reasons[event.reason] += 1
        self.times.setdefault(event.reason, []).append(now)
        name = str(event.connection) if event.connection is not None else "none in particular"
        self.connections.setdefault(name, Counter())[event.reason] += 1
        if len(self.items) < MOST:
            self.items.append(item(len(self.items) + 1, event, now))

    def story(self, path: Path) -> Story:
        """The whole of it. Raises ColoproxyError if there was none."""
        if not self.heard:
            raise ColoproxyError(f"events file {path}: there is no event in it.")
        accounts = self.accounts + ([self.last] if self.last is not None else [])
        total = self.reasons.total()
        waits = [sum(cells) for cells in zip(*(account.waits for account in accounts if account.waits))]
        released = sum(account.primary.released.frames for account in accounts)
        return Story(
            title="coloproxy: what happened",
            source=str(path),
            verdict=verdict(total, len(self.connections)),
            good=not total,
            figures=self._figures(accounts),
            facts=[("Events", f"{self.heard:,}, over {duration(self.length)}")],
            reasons=self.reasons,
            times=self.times,
            length=self.length,
            checkpoints=self.made,
            waits=waits or None,
            waited=sum(account.waited for account in accounts),
            at_once=max(0, released - sum(waits)),
            connections=worst(self.connections),
            items=self.items,
            warnings=self.warnings,
        )

    def _figures(self, accounts: list[Accounting]) -> list[Figure]:
        figures = [
            Figure("Divergences", f"{self.reasons.total():,}", counted(len(self.reasons), "reason")),
            Figure("Checkpoints", f"{len(self.made):,}", self._checkpoints()),
        ]
        if not accounts:
            return [*figures, Figure("Released", "not known", "there is no summary: the run was cut short")]
        released = [account.primary.released for account in accounts] + [each.primary.passed for each in accounts]
        verified = sum(account.verified_bytes for account in accounts)
        opened = sum(account.connections_opened for account in accounts)
        held = sum(account.primary.held.frames for account in accounts)
        return [
            *figures,
            Figure("Released", size(sum(each.bytes for each in released)),
                   counted(sum(each.frames for each in released), "frame")),
            Figure("Verified", size(verified), "of payload, equal on both sides"),
            Figure("Connections", f"{opened:,}", f"{len(self.connections):,} of them differed"
                   if len(self.connections) != 1 else "one of them differed"),
            Figure("Still held", counted(held, "frame"), "of the primary's, never released"),
        ]  # fmt: skip

    def _checkpoints(self) -> str:
        if not self.took:
            return f"{self.asked:,} asked for"
        middle = sorted(self.took)[len(self.took) // 2]
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.asked:,} asked for{failed}; they took {duration(middle)}, the median"


def verdict(total: int, connections: int) -> str:
    """The sentence at the top."""
    if not total:
        return "No divergence: wherever both replicas spoke, both said the same."
    return f"{counted(total, 'divergence')} on {counted(connections, 'connection')}."


def item(number: int, event: Divergence, now: float) -> Item:
    """A divergence, as it is told."""
    place = ""
    if event.stream_offset is not None:
        place = f"byte {event.stream_offset:,} of the stream, sequence number {event.seq}"
    held = ((side, each) for side, each in (("primary", event.held_primary), ("secondary", event.held_secondary)))
    notes = [
        f"{side}: {counted(each.frames, 'frame')}, {size(each.bytes)} held, the oldest for {duration(each.oldest_age)}"
        for side, each in held
        if each.frames
    ]
    return Item(
        number=number, reason=Reason(event.reason), connection=event.connection, detail=event.detail, rule=event.rule,
        place=place, when=now, offset=event.stream_offset, primary=bytes.fromhex(event.primary),
        secondary=bytes.fromhex(event.secondary), context_offset=event.context_offset, notes=notes,
        script=script(event),
    )  # fmt: skip
