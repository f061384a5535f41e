"""The comparator: two replicas' frames go in, verified frames and events come out. No sockets, no clock, no threads.

    comparator = Comparator(Config(), now=time.monotonic())
    comparator.receive(Side.PRIMARY, frame, now=time.monotonic())
    for buf, start, end, vnet_len, lease in comparator.take_output(): ...
    for event in comparator.take_events(): ...
"""

import weakref
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from coloproxy import trace
from coloproxy.compare import accounts
from coloproxy.compare.accounts import REFUSED, side_account
from coloproxy.compare.config import Config
from coloproxy.compare.context import Context
from coloproxy.compare.cut import CUT
from coloproxy.compare.datagram import Datagrams
from coloproxy.compare.engine import Connection, Engine, Frame
from coloproxy.compare.epochs import Epochs
from coloproxy.compare.events import (
    Accounting,
    ConnectionEvicted,
    Counts,
    Divergence,
    Endpoints,
    Event,
    FrameRefused,
    Held,
    Reason,
    Side,
    State,
    Warned,
)
from coloproxy.compare.explain import around, endpoints_of, in_front
from coloproxy.compare.fragments import Fragments
from coloproxy.compare.overdue import Overdue
from coloproxy.compare.requests import Requests
from coloproxy.compare.rules import Action, Rule
from coloproxy.compare.state import Survey, connection_states, held, survey
from coloproxy.compare.table import Table
from coloproxy.compare.tcp import Tcp
from coloproxy.compare.tracing import Tracing
from coloproxy.packet.parse import Kind, Malformed, Packet, parse

Output = tuple[bytes | bytearray, int, int, int, object]

PART_DELAY = 0.001  # seconds for which the rest of a large frame may follow before its beginning leaves alone
MAX_EVENTS = 65536  # events that wait to be taken
MAX_EVIDENCE = 64  # divergences whose frames wait to be taken
EVIDENCE_FRAMES = 32  # frames of each side kept for one divergence
ICMP_KINDS = (Kind.ICMP, Kind.ICMPV6)
SIDES = tuple(Side)


class Batch(Protocol):
    """Many frames in one buffer. `index` holds (start, end, vnet_len) for each of `count`; `headroom` is the length of
    the framing in front of each; `lease` is any object: while it lives, the buffer is in use."""

    buf: bytearray
    index: "array[int]"
    count: int
    headroom: int
    lease: object


class Evidence(NamedTuple):
    """A divergence and the frames around it: (side, frame, virtio-net header's length, time received)."""

    divergence: Divergence
    frames: list[tuple[Side, bytes, int, float]]


class Comparator:
    """Compares two replicas' output and releases what both say.

    `now` is always seconds on one monotonic clock of the caller's. Call `tick(now)` when `next_deadline()` has come,
    `take_output()` and `take_events()` after every call. Nothing raises for what a frame contains.
    """

    def __init__(self, config: Config | None = None, now: float = 0.0, *, evidence: bool = False) -> None:
        self.config = config or Config()
        self._context = context = Context(self.config, self._diverge, now)
        self._engine = engine = Engine(
            self._general, None, None, None, self.config.max_queue_size, self.config.max_held_bytes
        )
        context.engine = engine
        self._tcp = Tcp(context)
        self._datagrams = Datagrams(context)
        self._fragments = Fragments(context, self._sort, self._take_malformed)
        engine.differs, engine.settle, engine.owed = self._tcp.differs, self._tcp.acks.settle, self._tcp.acks.owed
        self._table = Table(self.config, engine, self._evict)
        context.decided = self._table.decided
        self._requests = Requests(self.config, self._requested)
        self._epochs = Epochs(context, self._table, self._tcp, self._datagrams, self._fragments)
        self._overdue = Overdue(context, self._tcp, self._datagrams)
        self._events: deque[Event] = deque()
        self._lost_events = 0
        self._evidence: deque[Evidence] | None = None
        if evidence:
            self.keep_evidence()
        self._malformed: Counter[str] = Counter()
        self._divergences: Counter[str] = Counter()
        self._evicted = 0
        self._completed = 0
        self._parts_due: float | None = None
        self._scan_due = now + self.config.expired_scan_cycle / 1000
        self._solo: Side | None = None
        self._watch_tracing()

    # Frames in, frames and events out

    def receive(self, side: Side, frame: bytes | bytearray | memoryview, now: float, vnet_len: int = 0) -> None:
        """Take one frame, its virtio-net header of `vnet_len` bytes first."""
        buf = bytearray(frame)
        if buf:
            self._take(side, buf, array("I", (0, len(buf), vnet_len)), 1, 0, None, now)

    def receive_batch(self, side: Side, batch: Batch, now: float) -> None:
        """Take many frames. Raises ValueError if the index points outside the buffer."""
        self._take(side, batch.buf, batch.index, batch.count, batch.headroom, batch.lease, now)

    def take_output(self) -> list[Output]:
        """What may leave since the last call, in order: (buf, start, end, vnet_len, lease).

        vnet_len >= 0: buf[start:end] is one frame. vnet_len == -1: a range of frames with their framing, as it came.
        """
        return self._engine.take_output()

    def take_returns(self) -> list[tuple[bytes, int]]:
        """Frames of the comparator's own for both replicas since the last call, as if from their client: (frame,
        virtio-net header's length). They reset the connections that were cut."""
        returns, self._epochs.cutter.returns = self._epochs.cutter.returns, []
        return returns

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        if not self._events and not self._lost_events:
            return []
        events = list(self._events)
        self._events.clear()
        if self._lost_events:
            text = f"{self._lost_events} events were lost: more than {MAX_EVENTS} waited to be taken"
            events.append(Warned(time=self._context.now, text=text))
            self._lost_events = 0
        return events

    def keep_evidence(self) -> None:
        """Keep the frames behind divergences from now on, up to 64 divergences until they are taken."""
        if self._evidence is None:
            self._evidence = deque(maxlen=MAX_EVIDENCE)

    def take_evidence(self) -> list[Evidence]:
        """The frames behind the divergences since the last call; empty unless the comparator was made to keep them."""
        found = list(self._evidence or ())
        if self._evidence:
            self._evidence.clear()
        return found

    def readable(self, side: Side) -> bool:
        """Whether frames of this side should be read: False while its queues are at a limit."""
        return not self._engine.full(side)

    def compact(self) -> None:
        """Copy what is held out of the buffers it came in, so that these can be used again."""
        self._engine.detach()
        for frame in self._epochs.elsewhere():
            frame.detach()

    # Time

    def next_deadline(self) -> float | None:
        """When `tick` should be called; None: not before something else happens."""
        due = self._scan_due if self._table else None
        for other in (
            self._parts_due,
            self._requests.deadline,
            self._datagrams.deadline if self._datagrams.waiting else None,
            self._fragments.deadline,
        ):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def tick(self, now: float) -> None:
        """Do what is due: timeouts, delayed and repeated requests, parts of large frames."""
        self._context.now = self._engine.now = now
        self._datagrams.tick(now)
        self._fragments.tick(now)
        if now >= self._scan_due:
            self._scan_due = now + self.config.expired_scan_cycle / 1000
            self._overdue.scan()
            self._table.age(now)
        self._finish(now)
        self._requests.tick(now)

    # Checkpoints and failover

    def checkpoint_completed(self, now: float) -> None:
        """The secondary is a copy of the primary as of now: what the primary said before is released."""
        self._context.now = self._engine.now = now
        self._solo = None
        took = self._requests.completed(now)
        self._completed += 1
        self._events.append(self._epochs.begin(took))
        self._switch_fast()

    def checkpoint_failed(self, now: float) -> None:
        """A checkpoint came to nothing: nothing is released, and what asked for it asks again."""
        self._context.now = now
        self._requests.failed(now)
        self._events.append(self._epochs.failed())

    def failover_to_secondary(self, now: float) -> None:
        """The primary is gone: its held frames are dropped, the secondary's leave from now on."""
        self._alone(Side.SECONDARY, now)

    def primary_alone(self, now: float) -> None:
        """The secondary is gone: the primary's held frames are released, and all that follow."""
        self._alone(Side.PRIMARY, now)

    def _alone(self, survivor: Side, now: float) -> None:
        self._context.now = self._engine.now = now
        self._solo = survivor
        self._requests.completed(now)
        self._events.append(self._epochs.alone(survivor))
        self._switch_fast()

    # What it is doing

    @property
    def epoch(self) -> int:
        """How many checkpoints have completed."""
        return self._epochs.number

    def accounting(self) -> Accounting:
        """Where all frames are."""
        context, engine = self._context, self._engine
        return Accounting(
            primary=side_account(engine.tally, Side.PRIMARY),
            secondary=side_account(engine.tally, Side.SECONDARY),
            made=Counts(context.made_frames, context.made_bytes),
            clamped=context.clamped,
            checkpoints_requested=self._requests.count,
            checkpoints_completed=self._completed,
            connections_opened=self._table.opened,
            connections_evicted=self._evicted,
            verified_bytes=engine.verified_bytes,
            malformed=dict(self._malformed),
            divergences=dict(self._divergences),
            waits=list(engine.waits) if engine.measuring else [],
            waited=engine.waited,
        )

    def state(self, now: float, limit: int = 1000) -> State:
        """A picture of this moment, with up to `limit` connections, those that hold frames first."""
        connections = [*self._table, *self._tcp.incarnations.beside]
        return State(
            time=now,
            epoch=self.epoch,
            checkpoint_pending=self._requests.pending,
            connection_count=len(connections),
            connections=connection_states(connections, now, limit),
            accounting=self.accounting(),
        )

    @property
    def survivor(self) -> Side | None:
        """Which replica goes on alone, after a failover and until a checkpoint completes; None: there are two."""
        return self._solo

    @property
    def checkpoint_pending(self) -> bool:
        """Whether a checkpoint is needed that has not been made."""
        return self._requests.pending

    def knows(self, connection: Connection) -> bool:
        """Whether a connection that a survey has found is still there."""
        here = self._table.by_kind[connection.kind].get(connection.key) is connection
        return here or connection in self._tcp.incarnations.beside

    def measure_waits(self) -> None:
        """Count from now on for how long frames of the primary are held: the account says so."""
        self._engine.measuring = True

    def survey(self, limit: int = 0) -> Survey:
        """What all connections have in common, and up to `limit` of them: in a small part of the time of `state`."""
        return survey(self._engine, self._table, list(self._tcp.incarnations.beside), limit)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force, in order."""
        return self._table.rules.given

    def set_rules(self, new: Sequence[Rule]) -> None:
        """Use these rules from now on, for frames that come. Raises ColoproxyError if one is not valid."""
        self._table.set_rules(new, self._tcp.incarnations.beside)

    # The way of a frame that the engine does not take itself

    def _take(
        self, side: Side, buf: bytearray, index: "array[int]", count: int, headroom: int, lease: object, now: float
    ) -> None:
        self._context.now = now
        self._engine.receive(side, buf, index, count, headroom, lease, now)  # type: ignore[arg-type]
        self._finish(now)

    def _general(
        self, side: int, buf: bytearray, start: int, end: int, vnet_len: int, headroom: int, lease: object, _now: float
    ) -> None:  # fmt: skip
        side = SIDES[side]
        frame = Frame()
        frame.buf, frame.start, frame.end, frame.lease = buf, start, end, lease
        frame.headroom, frame.vnet_len, frame.time = headroom, vnet_len, self._context.now
        if self._solo is not None:
            self._let_pass_alone(side, frame)
            return
        try:
            packet = parse(buf, start, end, vnet_len)
        except Malformed as malformed:
            self._take_malformed(side, frame, malformed)
            return
        if packet.fragment is not None:
            self._fragments.receive(side, packet, frame)
        else:
            self._sort(side, packet, frame)

    def _sort(self, side: Side, packet: Packet, frame: Frame) -> None:
        """Do with a whole frame as the rules say."""
        icmp_type = frame.buf[packet.l4] if packet.kind in ICMP_KINDS else -1
        decision, c = self._table.decide(side, packet, icmp_type)
        if decision.action is Action.PASS:
            if packet.version != 4:
                self._context.tracing.unsupported(side, frame)
            self._context.let_pass(side, frame)
            return
        if decision is CUT[side]:
            self._engine.count(side, REFUSED, frame.frames(), frame.weight())
            return
        if decision.action is Action.REFUSE:
            self._refuse(side, frame, decision.rule, "refused by rule")
            return
        if c is None:
            c = self._table.open(packet, icmp_type, self._context.now)
        fill(frame, packet)
        if packet.kind == Kind.TCP and self.config.tcp_match == "sequence":
            self._tcp.receive(side, c, packet, frame)
        else:
            self._datagrams.receive(side, c, frame)

    def _take_malformed(self, side: Side, frame: Frame, malformed: Malformed) -> None:
        self._malformed[malformed.reason] += 1
        self._context.tracing.unsupported(side, frame)
        if self.config.malformed == "pass":
            self._context.let_pass(side, frame)
        else:
            self._refuse(side, frame, malformed.reason, str(malformed))

    def _refuse(self, side: Side, frame: Frame, reason: str, detail: str) -> None:
        self._engine.count(side, REFUSED, frame.frames(), frame.weight())
        self._report(
            FrameRefused(
                time=self._context.now, side=side.label, reason=reason, detail=detail, length=frame.end - frame.start
            )
        )

    def _let_pass_alone(self, side: Side, frame: Frame) -> None:
        if side == self._solo:
            self._engine.send(frame.buf, frame.start, frame.end, frame.vnet_len, frame.headroom, frame.lease)
            self._engine.count(side, accounts.PASSED, 1, frame.end - frame.start)
        else:
            self._context.drop(side, frame)

    def _finish(self, now: float) -> None:
        """What is looked at once a batch rather than once a frame."""
        if self._engine.partials:
            if self._parts_due is None:
                self._parts_due = now + PART_DELAY
            elif now >= self._parts_due:
                self._parts_due = None
                self._tcp.release_parts()
        else:
            self._parts_due = None
        if self._epochs.released:
            self._epochs.go_on()
        if self._engine.full(Side.PRIMARY) and self._engine.full(Side.SECONDARY) and not self._requests.pending:
            reason = Reason.QUEUE_LIMIT if self._engine.p_crowded else Reason.MEMORY_LIMIT
            self._diverge(None, reason, "neither side can be read on: both have come to a limit")
            self._epochs.go_on()

    # What is reported

    def _diverge(
        self,
        c: Connection | None,
        reason: Reason,
        detail: str,
        primary: Frame | None = None,
        secondary: Frame | None = None,
        place: int | None = None,
        primary_at: int = 0,
        secondary_at: int = 0,
        endpoints: Endpoints | None = None,
    ) -> None:
        """The two differ: report it, and do as `on_divergence` says."""
        now = self._context.now
        front = in_front(primary, primary_at, secondary, secondary_at)
        offset = None
        rule = "default"
        if c is not None:
            c.diverged = reason
            c.p_fast = c.s_fast = False
            endpoints = endpoints_of(c)
            rule = c.rule[Side.PRIMARY].rule if c.rule else rule
            offset = (place - c.first) & 0xFFFFFFFF if place is not None and c.started else None
        divergence = Divergence(
            time=now,
            epoch=self.epoch,
            reason=reason,
            connection=endpoints,
            detail=detail,
            rule=rule,
            seq=place,
            stream_offset=offset,
            primary=around(primary, primary_at, front).hex(),
            secondary=around(secondary, secondary_at, front).hex(),
            context_offset=front,
            held_primary=held(c, Side.PRIMARY, now) if c is not None else Held(),
            held_secondary=held(c, Side.SECONDARY, now) if c is not None else Held(),
        )
        self._divergences[reason] += 1
        self._report(divergence)
        if self._evidence is not None:
            self._evidence.append(Evidence(divergence, list(evidence(c, primary, secondary))))
        if self.config.on_divergence == "hold":
            self._requests.ask(divergence, now)
        else:
            self._epochs.released.append(c)

    def _requested(self, request: Event) -> None:
        self._events.append(request)
        self._context.tracing.requested(request.reason, request.connection, request.seq)  # type: ignore[union-attr]

    def _evict(self, c: Connection) -> None:
        """A connection is being forgotten: the secondary's held frames with it; the primary has none held."""
        dropped = self._tcp.incarnations.forget(c)
        self._datagrams.forget(c)
        self._evicted += 1
        idle = self._context.now - c.last
        self._context.tracing.evicted(endpoints_of(c), idle, dropped)
        self._report(
            ConnectionEvicted(time=self._context.now, connection=endpoints_of(c), idle=idle, dropped_frames=dropped)
        )

    def _report(self, event: Event) -> None:
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        else:
            self._lost_events += 1

    # The fast path

    def _watch_tracing(self) -> None:
        """Leave the fast path while the comparator is traced: its events are fired by the general one."""
        me = weakref.ref(self)

        def changed() -> None:
            comparator = me()
            if comparator is None:
                cancel()
            else:
                comparator._switch_fast()

        cancel = trace.on_change(changed)
        self._switch_fast()

    def _switch_fast(self) -> None:
        wanted = Tracing.wanted()
        self._engine.fast = not wanted and self._solo is None and not self._always_general
        self._engine.tracer = self._context.tracing.compared if wanted else None

    _always_general = False

    def use_general_path(self) -> None:
        """Take every frame the general way: for testing that it makes no difference but to the speed."""
        self._always_general = True
        self._switch_fast()


def fill(frame: Frame, packet: Packet) -> None:
    """Set what of a frame is compared."""
    frame.data, frame.size = packet.payload, packet.payload_end - packet.payload
    if packet.kind == Kind.TCP:
        # A SYN takes the place in front of the first byte.
        frame.seq = (packet.seq + (packet.flags >> 1 & 1)) & 0xFFFFFFFF
        frame.ack, frame.flags, frame.window, frame.fin = packet.ack, packet.flags, packet.window, packet.flags & 1
    elif packet.kind in ICMP_KINDS:  # type and code in front of the checksum, which is not compared
        frame.flags = frame.buf[packet.l4] << 8 | frame.buf[packet.l4 + 1]
        frame.data, frame.size = packet.l4 + 4, packet.l4_end - packet.l4 - 4
    elif packet.kind == Kind.OTHER:
        frame.data, frame.size = packet.l4, packet.l4_end - packet.l4
    elif packet.kind == Kind.NON_IP:
        frame.data, frame.size = packet.l3, packet.end - packet.l3


def evidence(
    c: Connection | None, primary: Frame | None, secondary: Frame | None
) -> Iterable[tuple[Side, bytes, int, float]]:  # fmt: skip
    """The frames that differ and those held around them, each side's in order, without repetition."""
    for side, first in ((Side.PRIMARY, primary), (Side.SECONDARY, secondary)):
        head: Frame | None = None
        if c is not None:
            head = c.p_head if side == Side.PRIMARY else c.s_head
        seen: set[bytes] = set()
        queue: list[Frame] = [first] if first is not None else []
        while head is not None and len(queue) < EVIDENCE_FRAMES:
            queue.append(head)
            head = head.next
        for frame in queue:
            for part in frame.parts or (frame,):
                raw = bytes(part.buf[part.start : part.end])
                if raw not in seen:
                    seen.add(raw)
                    yield side, raw, part.vnet_len, part.time
