"""The rewriter as elements: the translation itself, and the removal of timestamps in front of both replicas."""

from collections.abc import Callable, Mapping, Sequence

from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.link.clock import Clock
from coloproxy.link.flow import Inlet, Sink, Take, bare
from coloproxy.rewrite import config as rewrite_config
from coloproxy.rewrite.rewriter import Released, Rewriter
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.stripper import Stripper
from coloproxy.topology import config
from coloproxy.topology.catchup import CatchUp
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Shape

SOURCES = {source.label: source for source in Source}
PRIMARY, SECONDARY, CLIENT = SOURCES
ANSWERS = "answers"


class Rewriting(Element):
    """Channels client, secondary and primary: frames that come in by one leave by it, translated.

    Where the primary's frames do not go by, that channel is left unwired. The output `answers` is for the primary:
    acknowledgements around what it lost on its way here; it may be left unwired too.
    """

    shape = Shape(tuple(SOURCES), (*SOURCES, ANSWERS), optional=frozenset({Source.PRIMARY.label, ANSWERS}))
    alters = True

    def __init__(
        self, name: str, settings: config.Rewriter, clock: Clock, report: Callable[[Event], None]
    ) -> None:  # fmt: skip
        super().__init__(name)
        self._report = report
        fields = rewrite_config.Config.__struct_fields__
        chosen = rewrite_config.Config(**{field: getattr(settings, field) for field in fields})
        self.rewriter = Rewriter(chosen, clock.now())

    def inlets(self) -> Mapping[str, Take]:
        return {label: self._taker(source, label) for label, source in SOURCES.items()}

    def _taker(self, source: Source, label: str) -> Take:
        rewriter, outs = self.rewriter, self.outs
        translate = rewriter.translate

        def take(batch: Batch, now: float) -> None:
            count = batch.count
            translate(source, batch, now)
            if rewriter.ready:
                self.let_go(now)  # what waited goes in front of what has just come
            if batch.count:
                outs[label].batch(batch if batch.count == count else bare(batch), now)

        return take

    def let_go(self, now: float) -> None:
        """Send on what waited for the numbers and waits no longer, and what the secondary is to be told once more."""
        for label, source in SOURCES.items():
            if released := self.rewriter.take_released(source):
                self.outs[label].outputs(outputs(released), now)
        if answers := self.rewriter.take_answers(Source.SECONDARY):
            self.outs[Source.CLIENT.label].outputs(outputs(answers), now)
        if (answers := self.rewriter.take_answers(Source.PRIMARY)) and ANSWERS in self.outs:
            self.outs[ANSWERS].outputs(outputs(answers), now)

    def checkpoint_completed(self, now: float) -> None:
        """The secondary is a copy of the primary as of now."""
        self.rewriter.checkpoint_completed(now)
        self.let_go(now)

    def leads_to(self, channel: str) -> Sequence[str]:
        return (channel,)

    def deadline(self) -> float | None:
        return self.rewriter.next_deadline()

    def tick(self, now: float) -> None:
        self.rewriter.tick(now)
        self.let_go(now)

    def finish(self, now: float) -> None:
        for event in self.rewriter.take_events():
            self._report(event)

    def counters(self) -> dict[str, int]:
        account = self.rewriter.accounting()
        return {
            "connections": account.connections,
            "translated": account.client.translated.frames + account.secondary.translated.frames,
            "held": account.client.held.frames + account.secondary.held.frames,
            "dropped": account.client.dropped.frames + account.secondary.dropped.frames,
            "evicted": account.connections_evicted,
            "fragments": account.fragments,
            "answered": account.answered,
        }


def outputs(released: list[Released]) -> list[Output]:
    """Frames of the rewriter's as elements send them."""
    return [(frame, 0, len(frame), vnet_len, None) for frame, vnet_len in released]


class Uncopied(Rewriting):
    """The rewriter where a checkpoint makes no copy: the secondary keeps its numbers, and is brought up to where the
    primary is. Connections are followed from the first checkpoint on; where there is none, that costs nothing."""

    keeps = True

    def __init__(
        self, name: str, settings: config.Rewriter, clock: Clock, report: Callable[[Event], None]
    ) -> None:  # fmt: skip
        super().__init__(name, settings, clock, report)
        self._catch_up: CatchUp | None = None
        self._onward: Sink

    def inlets(self) -> Mapping[str, Take]:
        takes = super().inlets()

        def client(batch: Batch, now: float) -> None:
            if self._catch_up is not None:
                self._catch_up.client(batch)
            takes[CLIENT](batch, now)

        def primary(batch: Batch, now: float) -> None:
            shown = self._catch_up.primary(batch) if self._catch_up is not None else []
            takes[PRIMARY](batch, now)
            if shown:
                self._onward.outputs(shown, now)

        return {**takes, CLIENT: client, PRIMARY: primary}

    def wired(self) -> None:
        if PRIMARY not in self.outs:
            raise ColoproxyError(
                f"element {self.name}: without copies it must see the primary's frames: wire '{self.name}.{PRIMARY}'."
            )
        self._onward = self.outs[SECONDARY]
        self.outs[SECONDARY] = Inlet(self._secondary)

    def _secondary(self, batch: Batch, now: float) -> None:
        """What the secondary said, translated."""
        shown, acks = self._catch_up.secondary(batch) if self._catch_up is not None else (None, [])
        if shown is None:
            self._onward.batch(batch, now)
        elif shown:
            self._onward.outputs(shown, now)
        for frame, _, _, vnet_len, _ in acks:
            translated = self.rewriter.receive(Source.CLIENT, frame, now, vnet_len)
            if translated is not None:
                self.outs[CLIENT].outputs([(translated, 0, len(translated), vnet_len, None)], now)

    def checkpoint_completed(self, now: float) -> None:
        if self._catch_up is None:
            self._catch_up = CatchUp()
        self._catch_up.checkpoint()

    def leads_to(self, channel: str) -> Sequence[str]:
        return {PRIMARY: (PRIMARY, SECONDARY), SECONDARY: (SECONDARY, CLIENT)}.get(channel, (channel,))


class Strip(Element):
    """Takes the timestamps option out of SYNs, where they lie."""

    alters = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._stripper = Stripper()

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        self._stripper.strip(batch)
        self.outs[OUT].batch(batch, now)

    def counters(self) -> dict[str, int]:
        return {"stripped": self._stripper.stripped}
