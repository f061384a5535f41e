"""Fragments: gathered per side until a datagram is whole, then compared as one and released as they came."""

from collections.abc import Callable

from coloproxy.compare.accounts import HELD
from coloproxy.compare.context import Context
from coloproxy.compare.engine import Frame
from coloproxy.compare.events import Endpoints, Reason, Side
from coloproxy.compare.explain import describe
from coloproxy.packet.fragment import FragmentOverlap, Reassembler
from coloproxy.packet.parse import Kind, Malformed, Packet, parse

MAX_DATAGRAMS = 4096
Whole = Callable[[Side, Packet, Frame], None]


class Fragments:
    """Incomplete datagrams of both sides. `whole(side, packet, frame)` takes each that is complete,
    `malformed(side, frame, error)` each that is complete and no datagram.

    Fragments of the primary are never lost: those of a datagram that cannot be completed stay held until the next
    checkpoint, for which they are a reason.
    """

    def __init__(self, context: Context, whole: Whole, malformed: Callable[[Side, Frame, Malformed], None]) -> None:
        self.context = context
        self.whole = whole
        self.malformed = malformed
        self.held: tuple[dict[int, Frame], dict[int, Frame]] = ({}, {})
        self._reset()

    def _reset(self) -> None:
        config = self.context.config
        timeouts = min(config.fragment_timeout, config.compare_timeout) / 1000, config.fragment_timeout / 1000
        self.sides = tuple(Reassembler(config.max_fragment_bytes, MAX_DATAGRAMS, timeout) for timeout in timeouts)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        first, second = self.sides[0].next_deadline, self.sides[1].next_deadline
        return first if second is None or (first is not None and first < second) else second

    def receive(self, side: Side, packet: Packet, frame: Frame) -> None:
        """Take one fragment."""
        self._hold(side, frame)
        try:
            done = self.sides[side].add(packet, frame.buf, self.context.now, frame)
        except FragmentOverlap as overlap:
            self._give_up(side, overlap.tags, Reason.FRAGMENT_OVERLAP, "fragments of one datagram overlap", packet)
            return
        if done is not None:
            self._complete(side, done.frame, done.tags)

    def tick(self, now: float) -> None:
        """Give up datagrams that have waited too long."""
        for side, reassembler in zip(Side, self.sides):
            for parts in reassembler.expire(now):
                self._give_up(side, parts, Reason.TIMEOUT_PRIMARY_ONLY, "a datagram's fragments never became whole")

    def new_epoch(self) -> list[Frame]:
        """Forget all: the primary's frames, to be released; the secondary's are dropped."""
        frames = list(self.held[Side.PRIMARY].values())
        for side in Side:
            for frame in list(self.held[side].values()):
                self._unhold(side, frame)
                if side == Side.SECONDARY:
                    self.context.drop(side, frame)
        self._reset()
        return frames

    def _complete(self, side: Side, datagram: bytes, parts: list[Frame]) -> None:
        for part in parts:
            self._unhold(side, part)
        whole = Frame()
        whole.buf, whole.start, whole.end = bytearray(datagram), 0, len(datagram)
        whole.parts, whole.time = parts, parts[0].time
        try:
            packet = parse(whole.buf, 0, len(datagram))
        except Malformed as malformed:  # the parts were good, the whole is not
            self.malformed(side, whole, malformed)
            return
        self.whole(side, packet, whole)

    def _give_up(
        self, side: Side, parts: list[Frame], reason: Reason, detail: str, packet: Packet | None = None
    ) -> None:  # fmt: skip
        if side == Side.SECONDARY:
            for part in parts:
                self._unhold(side, part)
                self.context.drop(side, part)
            if reason != Reason.FRAGMENT_OVERLAP:
                return
        first = packet or parse(parts[0].buf, parts[0].start, parts[0].end, parts[0].vnet_len)
        self.context.diverge(None, reason, f"the {side.label}: {detail}", endpoints=_endpoints(first))

    def _hold(self, side: Side, frame: Frame) -> None:
        engine = self.context.engine
        engine.order += 1
        frame.order = engine.order
        self.held[side][frame.order] = frame
        engine.count(side, HELD, 1, frame.end - frame.start)

    def _unhold(self, side: Side, frame: Frame) -> None:
        del self.held[side][frame.order]
        self.context.engine.count(side, HELD, -1, frame.start - frame.end)


def _endpoints(packet: Packet) -> Endpoints:
    """The ends of a datagram of which not every part is there: without ports."""
    return describe(Kind.OTHER, packet.src + packet.dst + bytes([packet.protocol]))
