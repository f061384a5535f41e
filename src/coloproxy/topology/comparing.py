"""The comparator as an element: both replicas' frames in, verified frames out, events to whoever listens."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from coloproxy.compare import config as compare_config
from coloproxy.compare.comparator import Batch, Comparator
from coloproxy.compare.events import CheckpointRequested, Event, Side, Warned
from coloproxy.compare.rules import load_rules
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import parse_address
from coloproxy.link.clock import Clock
from coloproxy.link.evidence import EvidenceFolder, Witness
from coloproxy.link.flow import Take, bare
from coloproxy.link.loop import Loop
from coloproxy.link.notify import NotifySocket
from coloproxy.topology import config
from coloproxy.topology.element import Element
from coloproxy.topology.wires import OUT, Shape

REPLICAS = "replicas"  # the output for resets to both replicas


class Comparing(Element):
    """`report(event)` is told what happens; `completed()` is called when the notify socket says that the secondary is a
    copy of the primary."""

    shape = Shape(("primary", "secondary"), (OUT, REPLICAS), optional=frozenset({REPLICAS}))
    keeps = True

    def __init__(
        self, name: str, settings: config.ComparatorElement, clock: Clock, report: Callable[[Event], None], loop: Loop
    ) -> None:
        super().__init__(name)
        self.completed: Callable[[], None] = lambda: None
        self._report = report
        self._clock = clock
        self._cuts = settings.on_divergence == "cut"
        fields = compare_config.Config.__struct_fields__
        chosen = compare_config.Config(**{field: getattr(settings, field) for field in fields})
        self.comparator = Comparator(chosen, clock.now(), evidence=settings.evidence is not None)
        self.witnesses: list[Witness] = []
        self._notify: NotifySocket | None = None
        self._settings = settings
        if settings.notify_dev is not None and settings.on_divergence != "hold":
            raise ColoproxyError(
                f"element {name}: on_divergence = {settings.on_divergence!r} is for use without notify_dev, which"
                " brings checkpoints; drop one."
            )
        with self._naming():
            if settings.rules is not None:
                self.comparator.set_rules(load_rules(Path(settings.rules)))
            if settings.notify_dev is not None:
                address = parse_address(settings.notify_dev)
                self._notify = NotifySocket(
                    address, loop, clock.now, report, lambda: self.completed(), vnet_hdr=settings.vnet_hdr
                )  # fmt: skip

    def wired(self) -> None:
        if self._cuts and REPLICAS not in self.outs:
            raise ColoproxyError(
                f"element {self.name}: to cut connections it must reach the replicas: wire '{self.name}.{REPLICAS}' to"
                " where the client's frames go."
            )

    def open(self) -> None:
        with self._naming():
            if self._settings.evidence is not None:
                self.witnesses.append(EvidenceFolder(self._settings.evidence, self._clock))
            if self._notify is not None:
                self._notify.endpoint.start()

    def close(self) -> None:
        if self._notify is not None:
            self._notify.endpoint.close()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say whose error it is."""
        try:
            yield
        except ColoproxyError as error:
            raise ColoproxyError(f"element {self.name}: {error}") from None

    def inlets(self) -> Mapping[str, Take]:
        return {"primary": self._primary, "secondary": self._secondary}

    def _primary(self, batch: Batch, now: float) -> None:
        self._receive(Side.PRIMARY, batch, now)

    def _secondary(self, batch: Batch, now: float) -> None:
        self._receive(Side.SECONDARY, batch, now)

    def _receive(self, side: Side, batch: Batch, now: float) -> None:
        self.comparator.receive_batch(side, bare(batch), now)

    def gate(self, channel: str) -> Callable[[], bool]:
        return partial(self.comparator.readable, Side[channel.upper()])

    def deadline(self) -> float | None:
        return self.comparator.next_deadline()

    def tick(self, now: float) -> None:
        self.comparator.tick(now)

    def finish(self, now: float) -> None:
        """Send on what was released, tell what happened."""
        if released := self.comparator.take_output():
            self.outs[OUT].outputs(released, now)
        if returns := self.comparator.take_returns():
            self.outs[REPLICAS].outputs([(frame, 0, len(frame), vnet_len, None) for frame, vnet_len in returns], now)
        for event in self.comparator.take_events():
            self._report(event)
            if isinstance(event, CheckpointRequested) and self._notify is not None:
                self._notify.request()
        if self.witnesses:
            for evidence in self.comparator.take_evidence():
                for witness in self.witnesses:
                    if problem := witness.write(evidence):
                        self._report(Warned(time=now, text=f"{self.name}: {problem}"))

    def compact(self) -> None:
        """Copy what is held out of the buffers it came in."""
        self.comparator.compact()

    def counters(self) -> dict[str, int]:
        account = self.comparator.accounting()
        return {
            "held": account.primary.held.frames + account.secondary.held.frames,
            "verified_bytes": account.verified_bytes,
            "divergences": sum(account.divergences.values()),
            "checkpoints_requested": account.checkpoints_requested,
            "made": account.made.frames,
            "clamped": account.clamped,
        }
