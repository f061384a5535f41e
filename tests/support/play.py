"""Plays: feed the comparator this, expect that. Accounts are checked after every step."""

from coloproxy import Comparator, Config, Side
from coloproxy.compare.events import CheckpointRequested, Divergence, Event, SideAccount
from coloproxy.compare.rules import Rule
from coloproxy.packet.parse import Packet, parse

PRIMARY, SECONDARY = Side.PRIMARY, Side.SECONDARY


def adds_up(account: SideAccount) -> bool:
    """received = released + passed + held + dropped + refused, in frames and in bytes."""
    ends = (account.released, account.passed, account.held, account.dropped, account.refused)
    return account.received.frames == sum(e.frames for e in ends) and account.received.bytes == sum(
        e.bytes for e in ends
    )


class Play:
    """A comparator with a clock of its own. `out` collects what left, `events` what was said."""

    def __init__(
        self, *, general: bool = False, rules: list[Rule] | None = None, evidence: bool = False, **config: object
    ) -> None:
        self.comparator = Comparator(Config(**config), now=0.0, evidence=evidence)  # type: ignore[arg-type]
        if general:
            self.comparator.use_general_path()
        if rules is not None:
            self.comparator.set_rules(rules)
        self.now = 0.0
        self.out: list[bytes] = []
        self.vnet: list[int] = []
        self.events: list[Event] = []

    def p(self, *frames: bytes, vnet_len: int = 0) -> "Play":
        """The primary sends these."""
        return self._receive(PRIMARY, frames, vnet_len)

    def s(self, *frames: bytes, vnet_len: int = 0) -> "Play":
        """The secondary sends these."""
        return self._receive(SECONDARY, frames, vnet_len)

    def both(self, *frames: bytes) -> "Play":
        """Both send these."""
        return self.p(*frames).s(*frames)

    def _receive(self, side: Side, frames: tuple[bytes, ...], vnet_len: int) -> "Play":
        for frame in frames:
            self.comparator.receive(side, frame, self.now, vnet_len)
            self._collect()
        return self

    def after(self, seconds: float) -> "Play":
        """Time passes; what falls due in it is done when it is due."""
        until = self.now + seconds
        while (due := self.comparator.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.comparator.tick(self.now)
            self._collect()
            if self.comparator.next_deadline() == due:
                raise AssertionError(f"tick at {due} left its own deadline behind")
        self.now = until
        return self

    def checkpoint(self) -> "Play":
        self.comparator.checkpoint_completed(self.now)
        self._collect()
        return self

    def _collect(self) -> None:
        for buf, start, end, vnet_len, _ in self.comparator.take_output():
            self.out.append(bytes(buf[start:end]))
            self.vnet.append(vnet_len)
        self.events += self.comparator.take_events()
        accounting = self.comparator.accounting()
        assert adds_up(accounting.primary), accounting.primary
        assert adds_up(accounting.secondary), accounting.secondary

    def left(self) -> list[bytes]:
        """What left since this was asked last."""
        out, self.out = self.out, []
        self.vnet = []
        return out

    def packets(self) -> list[tuple[Packet, bytes]]:
        """What left since this was asked last, taken apart: (packet, frame)."""
        vnet = self.vnet
        return [(parse(frame, 0, len(frame), length), frame) for frame, length in zip(self.left(), vnet, strict=True)]

    @property
    def divergences(self) -> list[Divergence]:
        return [event for event in self.events if isinstance(event, Divergence)]

    @property
    def requests(self) -> list[CheckpointRequested]:
        return [event for event in self.events if isinstance(event, CheckpointRequested)]

    @property
    def reasons(self) -> list[str]:
        return [str(d.reason) for d in self.divergences]

    @property
    def held(self) -> tuple[int, int]:
        """Frames held of either side."""
        accounting = self.comparator.accounting()
        return accounting.primary.held.frames, accounting.secondary.held.frames
