"""The rewriter: one client, two replicas, two numberings. Frames are translated where they lie. No sockets, no clock.

    rewriter = Rewriter(Config(), now=time.monotonic())
    rewriter.translate(Source.CLIENT, batch, now)      # the batch is now what the secondary is to get
    for frame, vnet_len in rewriter.take_released(Source.CLIENT): ...

All on one host: a batch of the client's goes through `prepare`, to the primary, through `translate`, to the secondary;
one of either replica's through `translate` (which learns from the primary's) and then to the comparator. On two hosts:
beside the primary a `Stripper` for both directions; beside the secondary `translate` for the copies of the client's
frames and for the secondary's. What `translate` keeps back, for the numbers are not known yet, comes from
`take_released` later: ask it, for both directions, after every call.
"""

import weakref
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from coloproxy import trace
from coloproxy.compare.events import ConnectionEvicted, Warned
from coloproxy.packet.parse import PROTO_TCP, Buffer, Kind, Malformed, Packet, parse
from coloproxy.rewrite import tracing
from coloproxy.rewrite.accounts import DROPPED, HELD, PASSED, TRANSLATED, Accounting, Tracked, source_account
from coloproxy.rewrite.batch import Batch
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.engine import Connection, Engine
from coloproxy.rewrite.quoted import ERRORS, quoted_segment, shift_quoted
from coloproxy.rewrite.recovery import Recovery
from coloproxy.rewrite.segments import SYN, Segments
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.states import State
from coloproxy.rewrite.stripper import Stripper
from coloproxy.rewrite.table import Table
from coloproxy.rewrite.waiting import Waiting, WaitingRoom

SCAN = 5.0  # seconds between looks for connections that have been silent for too long
MAX_EVENTS = 4096  # events that wait to be taken
SOURCES = tuple(Source)


class Released(NamedTuple):
    """A frame that waited and may go on, and the length of its virtio-net header."""

    frame: bytes
    vnet_len: int


class Rewriter:
    """Translates between the numbers of the primary, which clients know, and those of the secondary.

    `now` is always seconds on one monotonic clock of the caller's. Call `tick(now)` when `next_deadline()` has come.
    Nothing raises for what a frame contains.
    """

    def __init__(self, config: Config | None = None, now: float = 0.0) -> None:
        self.config = config or Config()
        self._recovery = Recovery()
        self._engine = Engine(self._general, self._recovery)
        self._waiting = WaitingRoom(self.config, self._dropped)
        self._table = Table(self.config, self._engine, self._gone)
        self._segments = Segments(self._table, self._engine, self.config.timestamps, self._drop_waiting)
        self._released: tuple[list[Released], ...] = tuple([] for _ in Source)
        self._events: deque[ConnectionEvicted | Warned] = deque()
        self._lost_events = 0
        self._stripper = Stripper()
        self._survivor: Source | None = None
        self._now = now
        self._scan_due = now + SCAN
        self._fragments = 0
        self._evicted = 0
        self._malformed: Counter[str] = Counter()
        self._always_general = False
        self._watch_tracing()

    # Frames

    def prepare(self, batch: Batch) -> None:
        """Make of the client's frames, in place, what both replicas are to get of them.

        Raises ValueError if the index points outside the buffer.
        """
        if self.config.timestamps == "strip" and self._survivor is None:
            self._stripper.strip(batch)

    def translate(self, source: Source, batch: Batch, now: float) -> None:
        """Translate a batch in place. What has to wait is taken out of it: its index and count are then changed.

        Raises ValueError if the index points outside the buffer.
        """
        self._now = now
        batch.count = self._engine.translate(source, batch.buf, batch.index, batch.count, now)  # type: ignore[arg-type]

    def receive(self, source: Source, frame: Buffer, now: float, vnet_len: int = 0) -> bytes | None:
        """Translate one frame, whose first `vnet_len` bytes are its virtio-net header. None: it has to wait."""
        self._now = now
        buf = bytearray(frame)
        if not buf:
            return b""
        kept = self._engine.translate(source, buf, array("I", (0, len(buf), vnet_len)), 1, now)  # type: ignore[arg-type]
        return bytes(buf) if kept else None

    @property
    def ready(self) -> bool:
        """Whether `take_released` or `take_answers` has something to return."""
        return self._recovery.ready or any(self._released)

    def take_released(self, source: Source) -> list[Released]:
        """The frames of a source that waited and may go on, since the last call, in order."""
        released = self._released[source][:]
        self._released[source].clear()
        return released

    def take_answers(self, source: Source) -> list[Released]:
        """Acknowledgements for a replica since the last call, in the client's stead: of what it repeats though the
        client has it, and around what it lost (`recovery`)."""
        return [Released(*answer) for answer in self._recovery.take(source)]

    def take_events(self) -> list[ConnectionEvicted | Warned]:
        """What happened since the last call that somebody should know."""
        events = list(self._events)
        self._events.clear()
        if self._lost_events:
            text = f"{self._lost_events} events were lost: more than {MAX_EVENTS} waited to be taken"
            events.append(Warned(time=self._now, text=text))
            self._lost_events = 0
        return events

    # Time

    def next_deadline(self) -> float | None:
        """When `tick` should be called; None: not before something else happens."""
        scan, waiting = self._scan_due if len(self._table) else None, self._waiting.deadline
        if scan is None or waiting is None:
            return waiting if scan is None else scan
        return min(scan, waiting)

    def tick(self, now: float) -> None:
        """Do what is due: give up on frames that have waited for too long, forget connections that are over."""
        self._now = now
        self._waiting.expire(now)
        if now >= self._scan_due:
            self._scan_due = now + SCAN
            self._table.age(now)

    # Checkpoints and failover

    def checkpoint_completed(self, now: float, primary: "Rewriter | None" = None) -> None:
        """The secondary is a copy of the primary as of now, so its numbers are the primary's: all offsets are 0.

        What the secondary sent before and waits here is dropped, as the comparator drops it; the client's frames go on.
        A primary that was a secondary once has a rewriter of its own, `primary`: its offsets are its copy's too.
        Nothing changes when it is the secondary behind this rewriter that has become the primary.
        """
        self._now = now
        if self._survivor is Source.SECONDARY:
            return
        self._stand_alone(None)
        differed = self._engine.copied()
        if primary is not None:
            self._table.adopt(primary._table)
        tracing.checkpoint(len(self._table), differed)
        for c in self._waiting.connections():
            self._release(c, {Source.CLIENT})

    def failover_to_secondary(self, now: float) -> None:
        """The primary is gone: its connections go on being translated, the secondary's own numbers are the client's on
        new ones, which pass untouched."""
        self._now = now
        self._stand_alone(Source.SECONDARY)
        for c in self._table:
            c.raw_syn = False

    def primary_alone(self, now: float) -> None:
        """The secondary is gone, its numbers with it: nothing is translated until a checkpoint has made another."""
        self._now = now
        self._stand_alone(Source.PRIMARY)
        self._table.clear()

    def _stand_alone(self, survivor: Source | None) -> None:
        self._survivor = survivor
        self._segments.tracking = survivor is None
        if survivor is not None:
            tracing.failover(survivor.label, len(self._table))

    # What it knows

    def connections(self) -> Iterator[Connection]:
        """All connections that are tracked."""
        return iter(self._table)

    def know(self, c: Connection) -> None:
        """Track a connection that another rewriter has learned the numbers of, unless one of its key is known."""
        if c.key not in self._engine.by_replica:
            self._engine.add(c)

    # What it is doing

    def __len__(self) -> int:
        """How many connections are tracked."""
        return len(self._table)

    def accounting(self) -> Accounting:
        """Where all frames are."""
        tally = self._engine.tally
        return Accounting(
            **{source.label: source_account(tally, source) for source in Source},
            connections=len(self._table),
            connections_opened=self._table.opened,
            connections_evicted=self._evicted,
            stripped=self._segments.stripped + self._stripper.stripped,
            fragments=self._fragments,
            answered=self._recovery.count,
            malformed=dict(self._malformed),
        )

    def state(self, now: float, limit: int = 1000) -> list[Tracked]:
        """Up to `limit` connections, those heard of last first."""
        chosen = sorted(self._table, key=lambda c: -c.last)[:limit]
        return [
            Tracked(
                connection=tracing.endpoints_of(c),
                state=State(c.state).name,
                offset=c.offset if c.known else None,
                timestamps_offset=c.ts_offset if c.stamped else None,
                held_frames=len(c.waiting or ()),
                idle=round(now - c.last, 6),
            )
            for c in chosen
        ]

    # The way of a frame that the engine does not take itself

    def _general(self, source: int, buf: bytearray, start: int, end: int, vnet_len: int, _now: float) -> int:
        try:
            packet = parse(buf, start, end, vnet_len)
        except Malformed as malformed:
            self._malformed[malformed.reason] += 1
            return PASSED
        if packet.kind == Kind.TCP:
            return self._segment(SOURCES[source], packet, buf)
        if packet.kind in ERRORS and source == Source.CLIENT:
            return self._icmp(packet, buf)
        if packet.fragment is not None and packet.protocol == PROTO_TCP:
            self._fragments += 1
        return PASSED

    def _icmp(self, packet: Packet, buf: bytearray) -> int:
        """An ICMP message from the client's side: it may be about a segment of the primary's."""
        quoted = quoted_segment(packet, buf)
        c = self._engine.by_replica.get(quoted[0]) if quoted else None
        if quoted is None or c is None or not c.known:
            return PASSED
        shift_quoted(packet, buf, quoted[1], c.offset)
        return TRANSLATED

    def _segment(self, source: Source, packet: Packet, buf: bytearray) -> int:
        if source is Source.PRIMARY and not packet.flags & SYN:
            self._segments.from_primary(packet)
            return PASSED
        tracing.segment(source, packet, self._table.find(source, packet))
        c = self._segments.open(source, packet, buf, self._now)
        if c is None:
            return PASSED
        self._segments.syn(packet, buf)
        column = PASSED if source is Source.PRIMARY else self._follow(source, c, packet, buf)
        if c.known and c.waiting:
            self._release(c, set(Source))
        self._segments.refresh(c)
        return column

    def _follow(self, source: Source, c: Connection, packet: Packet, buf: bytearray) -> int:
        """Translate a segment of a connection that is tracked, or have it wait."""
        follow = self._segments.from_client if source is Source.CLIENT else self._segments.from_secondary
        if follow(c, packet, buf):
            return TRANSLATED
        frame = Waiting(source, bytes(buf[packet.start : packet.end]), packet.vnet_len, self._now)
        if not self._waiting.enter(c, frame):
            tracing.dropped(source, len(frame.frame))
            return DROPPED
        tracing.held(c, source, len(frame.frame))
        return HELD

    def _release(self, c: Connection, sources: set[Source]) -> None:
        """Let go on what waited of a connection whose numbers are known now; drop what other sources sent."""
        for waiting in self._waiting.leave(c):
            if waiting.source not in sources:
                self._dropped(waiting)
                continue
            buf = bytearray(waiting.frame)
            packet = parse(buf, 0, len(buf), waiting.vnet_len)
            self._unhold(waiting, self._follow(waiting.source, c, packet, buf))
            self._released[waiting.source].append(Released(bytes(buf), waiting.vnet_len))
        self._segments.refresh(c)

    def _unhold(self, waiting: Waiting, column: int) -> None:
        size = len(waiting.frame)
        self._engine.count(waiting.source, HELD, -1, -size)
        self._engine.count(waiting.source, column, 1, size)

    # What ends

    def _dropped(self, waiting: Waiting) -> None:
        tracing.dropped(waiting.source, len(waiting.frame))
        self._unhold(waiting, DROPPED)

    def _drop_waiting(self, c: Connection) -> None:
        self._waiting.drop(c)

    def _gone(self, c: Connection, evicted: bool) -> None:
        """A connection is being forgotten, and what waits of it with it."""
        dropped = self._waiting.drop(c)
        if not evicted:
            tracing.ended(c, self._now)
            return
        idle = self._now - c.last
        tracing.evicted(c, idle, dropped)
        self._evicted += 1
        if len(self._events) < MAX_EVENTS:
            event = ConnectionEvicted(
                time=self._now, connection=tracing.endpoints_of(c), idle=idle, dropped_frames=dropped
            )
            self._events.append(event)
        else:
            self._lost_events += 1

    # The fast path

    def _watch_tracing(self) -> None:
        """Leave the fast path while every segment is traced: the general one fires these events."""
        me = weakref.ref(self)

        def changed() -> None:
            rewriter = me()
            if rewriter is None:
                cancel()
            else:
                rewriter._switch_fast()

        cancel = trace.on_change(changed)
        self._switch_fast()

    def _switch_fast(self) -> None:
        self._engine.fast = not (tracing.wanted() or self._always_general)

    def use_general_path(self) -> None:
        """Take every frame the general way: for testing that it makes no difference but to the speed."""
        self._always_general = True
        self._switch_fast()
