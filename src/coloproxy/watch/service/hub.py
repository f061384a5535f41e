"""What the service knows of the proxy, and to whom it passes that on."""

import asyncio
import bisect
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from coloproxy.compare.events import (
    AgentChanged,
    CheckpointCompleted,
    CheckpointFailed,
    CheckpointRequested,
    Divergence,
    Event,
    FailedOver,
    GuestCheckpoint,
    PeerConnected,
    PeerLost,
    TakenOver,
    Warned,
)
from coloproxy.compare.rules import Rule
from coloproxy.watch.messages import (
    AddRule,
    Answer,
    Asked,
    AskRules,
    Connections,
    Evidenced,
    Happened,
    Hello,
    Picture,
    Streams,
    Told,
    Want,
)
from coloproxy.watch.service.audience import Audience, Reader
from coloproxy.watch.service.history import History, Point
from coloproxy.watch.service.protection import STARTED, protection
from coloproxy.watch.service.vault import Entry, Vault

MARKS = 500  # checkpoints and failovers on the time axis
PATIENCE = 5.0  # seconds in which the proxy must answer, and after which a picture is no longer of now
DURATIONS = tuple(0.001 * 2**power for power in range(16))  # seconds: bounds for checkpoints, 1 ms to 33 s

MARKED = (
    CheckpointRequested | CheckpointCompleted | CheckpointFailed | FailedOver | PeerConnected | PeerLost | Warned
    | AgentChanged | TakenOver
)  # fmt: skip
OF_THE_GUEST = CheckpointRequested | CheckpointCompleted | FailedOver  # of which an agent says more itself
ROUTINE = ("stopped for a checkpoint", "resumed after a checkpoint")  # what an agent does all the time


class Durations:
    """How long something took, as a histogram's cells: those of DURATIONS, and what is above."""

    def __init__(self) -> None:
        self.cells = [0] * (len(DURATIONS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.cells[bisect.bisect_left(DURATIONS, seconds)] += 1
        self.sum += seconds


class Hub:
    """Hears the proxy (`hear`), is asked by the page. `ask` sends a question to the proxy."""

    def __init__(self) -> None:
        self.ask: Callable[[Asked], object] = lambda _: None
        self.hello: Hello | None = None
        self.picture: Picture | None = None
        self.protection = STARTED
        self.history = History()
        self.vault = Vault()
        self.marks: deque[dict[str, Any]] = deque(maxlen=MARKS)
        self.audience = Audience(self._wanted)
        self.closed = False
        self.failed_checkpoints = 0
        self.took = Durations()
        self.paused = Durations()
        self.asked: Counter[str] = Counter()
        self._checkpoints: list[GuestCheckpoint] = []  # since the last picture
        self._heard = 0.0
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[Answer]] = {}

    # From the proxy

    def hear(self, told: Told) -> None:
        """Take in what the proxy tells."""
        if isinstance(told, Picture):
            self._seen(told)
        elif isinstance(told, Happened):
            self._happened(told)
        elif isinstance(told, Evidenced):
            self.vault.evidence(told)
            self.audience.tell("evidence", {"number": told.number})
        elif isinstance(told, Connections):
            self.audience.tell("connections", told, lambda reader: reader.connections)
        elif isinstance(told, Streams):
            self.audience.tell("streams", told, lambda reader: reader.streams == told.key)
        elif isinstance(told, Answer):
            if (question := self._questions.pop(told.request, None)) is not None and not question.done():
                question.set_result(told)
        else:
            self.hello = told

    def _seen(self, picture: Picture) -> None:
        self.picture, self._heard = picture, time.monotonic()
        self.protection = protection(picture, self.protection)
        if self._checkpoints:
            self._mark(together(picture.wall, self._checkpoints))
            self._checkpoints = []
        self.audience.tell("picture", self.now(self.history.add(picture)))

    def _happened(self, told: Happened) -> None:
        event = told.event
        if isinstance(event, Divergence):
            self.vault.add(told, event)
            if told.number is not None:
                self.audience.tell("divergence", summary(self.vault.entries[told.number]))
        elif isinstance(event, GuestCheckpoint):
            self.took.add(event.took)
            self.paused.add(event.paused)
            self.asked.update(event.asked)
            self._checkpoints.append(event)
        elif isinstance(event, MARKED) and not self._routine(event):
            if isinstance(event, CheckpointFailed):
                self.failed_checkpoints += 1
            elif isinstance(event, CheckpointCompleted) and event.took is not None:
                self.took.add(event.took)
            self._mark(mark(told.wall, event))

    def _routine(self, event: Event) -> bool:
        """Whether it is no news, for an agent says it in another way, or all the time."""
        guest = self.hello is not None and self.hello.command == "guest"
        return guest and (
            isinstance(event, OF_THE_GUEST) or (isinstance(event, AgentChanged) and event.happened in ROUTINE)
        )

    def _mark(self, made: dict[str, Any]) -> None:
        self.marks.append(made)
        self.audience.tell("mark", made)

    # For the page

    @property
    def alive(self) -> bool:
        """Whether the proxy has shown itself of late."""
        return time.monotonic() - self._heard < PATIENCE and self.picture is not None

    def now(self, point: Point | None = None) -> dict[str, Any]:
        """All there is to say of this moment, but for connections and divergences. alive: false if it is not of this
        moment any more, for the proxy is silent."""
        return {
            "alive": self.alive,
            "protection": self.protection._asdict(),
            "picture": self.picture,
            "point": point._asdict() if point is not None else None,
            "pages": len(self.audience.readers),
            "dropped_pages": self.audience.dropped,
        }

    async def rules(self) -> Answer:
        """The rules in force. Raises TimeoutError if the proxy does not say."""
        return await self._question(lambda number: AskRules(request=number))

    async def add(self, rule: Rule) -> Answer:
        """Have a rule added. Raises TimeoutError if the proxy does not say what came of it."""
        return await self._question(lambda number: AddRule(request=number, rule=rule))

    def close(self) -> None:
        """The proxy is gone."""
        self.closed = True
        self.audience.close()

    async def _question(self, make: Callable[[int], Asked]) -> Answer:
        number = next(self._numbers)
        question = self._questions[number] = asyncio.get_running_loop().create_future()
        self.ask(make(number))
        try:
            return await asyncio.wait_for(question, PATIENCE)
        finally:
            self._questions.pop(number, None)

    def _wanted(self) -> None:
        readers: set[Reader] = self.audience.readers
        streams = sorted({reader.streams for reader in readers if reader.streams is not None})
        self.ask(Want(connections=any(reader.connections for reader in readers), streams=streams))


def mark(wall: float, event: Event) -> dict[str, Any]:
    """An event on the time axis."""
    fields = msgspec.to_builtins(event)
    kept = (
        "event", "epoch", "took", "reason", "attempt", "survivor", "role", "text", "released_frames", "before", "after",
        "happened", "detail", "why", "steps",
    )  # fmt: skip
    return {"wall": wall, **{name: fields[name] for name in kept if name in fields}}


def together(wall: float, made: list[GuestCheckpoint]) -> dict[str, Any]:
    """A guest's checkpoints since the last picture as one mark; it may make many a second. took, paused: of the one
    that took longest."""
    asked: Counter[str] = Counter()
    for each in made:
        asked.update(each.asked)
    longest = max(made, key=lambda each: each.took)
    return {
        "wall": wall, "event": "guest_checkpoint", "count": len(made), "asked": asked, "took": longest.took,
        "paused": longest.paused,
    }  # fmt: skip


def summary(entry: Entry) -> dict[str, Any]:
    """A divergence in a list."""
    divergence = entry.divergence
    return {
        "number": entry.number, "wall": entry.wall, "reason": divergence.reason, "detail": divergence.detail,
        "connection": str(divergence.connection) if divergence.connection is not None else "",
        "offset": divergence.stream_offset, "epoch": divergence.epoch, "rule": divergence.rule,
    }  # fmt: skip
