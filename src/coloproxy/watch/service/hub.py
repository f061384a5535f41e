"""What the service knows of the proxy, and to whom it passes that on."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from coloproxy.compare.events import (
    CheckpointCompleted,
    CheckpointFailed,
    CheckpointRequested,
    Divergence,
    Event,
    FailedOver,
    PeerConnected,
    PeerLost,
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

MARKED = CheckpointRequested | CheckpointCompleted | CheckpointFailed | FailedOver | PeerConnected | PeerLost | Warned


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
        self.durations = [0] * (len(DURATIONS) + 1)
        self.duration = 0.0
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
        self.audience.tell("picture", self.now(self.history.add(picture)))

    def _happened(self, told: Happened) -> None:
        event = told.event
        if isinstance(event, Divergence):
            self.vault.add(told, event)
            if told.number is not None:
                self.audience.tell("divergence", summary(self.vault.entries[told.number]))
        elif isinstance(event, MARKED):
            self._count(event)
            self.marks.append(mark(told.wall, event))
            self.audience.tell("mark", self.marks[-1])

    def _count(self, event: Event) -> None:
        if isinstance(event, CheckpointFailed):
            self.failed_checkpoints += 1
        elif isinstance(event, CheckpointCompleted) and event.took is not None:
            cell = next((at for at, bound in enumerate(DURATIONS) if event.took <= bound), len(DURATIONS))
            self.durations[cell] += 1
            self.duration += event.took

    # For the page

    @property
    def alive(self) -> bool:
        """Whether the proxy has shown itself of late."""
        return time.monotonic() - self._heard < PATIENCE and self.picture is not None

    def now(self, point: Point | None = None) -> dict[str, Any]:
        """All there is to say of this moment, but for connections and divergences."""
        state, since, why = self.protection
        return {
            "protection": {"state": state, "since": since, "why": why},
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
    kept = ("event", "epoch", "took", "reason", "attempt", "survivor", "role", "text", "released_frames")
    return {"wall": wall, **{name: fields[name] for name in kept if name in fields}}


def summary(entry: Entry) -> dict[str, Any]:
    """A divergence in a list."""
    divergence = entry.divergence
    return {
        "number": entry.number, "wall": entry.wall, "reason": divergence.reason, "detail": divergence.detail,
        "connection": str(divergence.connection) if divergence.connection is not None else "",
        "offset": divergence.stream_offset, "epoch": divergence.epoch, "rule": divergence.rule,
    }  # fmt: skip
