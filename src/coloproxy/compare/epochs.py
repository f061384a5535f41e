"""Epochs: what a checkpoint, a failover, or going on in spite of a divergence does to all that is held."""

from collections.abc import Iterator

from coloproxy.compare.accounts import HELD, WIDTH
from coloproxy.compare.context import Context
from coloproxy.compare.cut import Cutter
from coloproxy.compare.datagram import Datagrams
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import CheckpointCompleted, CheckpointFailed, FailedOver, Side
from coloproxy.compare.fragments import Fragments
from coloproxy.compare.table import UNPROTECTED, Table
from coloproxy.compare.tcp import Tcp
from coloproxy.packet.parse import Kind

Waiting = tuple[int, Connection | None, Frame]  # order of arrival, connection, frame


class Epochs:
    """`number` counts the checkpoints completed. `released` lists the connections that diverged and are to go on
    without a checkpoint, None standing for all."""

    def __init__(
        self, context: Context, table: Table, tcp: Tcp, datagrams: Datagrams, fragments: Fragments
    ) -> None:
        self.context = context
        self.table = table
        self.tcp = tcp
        self.datagrams = datagrams
        self.fragments = fragments
        self.cutter = Cutter(context)
        self.number = 0
        self.released: list[Connection | None] = []
        self.streams = context.config.tcp_match == "sequence"

    def begin(self, took: float | None) -> CheckpointCompleted:
        """Begin a new epoch: the primary's held frames leave, the secondary's are dropped, its state is a copy."""
        context = self.context
        frames = self._held()
        context.tracing.flush_begins(self.number, *frames)
        context.stale_until = context.now + context.config.epoch_grace / 1000
        owing = [c for c in self.table if c.owes]
        self._release(self._clear())
        for c in owing:
            self.tcp.resume(c)
        self.number += 1
        context.tracing.flush_ends(self.number, *frames)
        context.tracing.completed(self.number, took)
        return CheckpointCompleted(
            time=context.now, epoch=self.number, released_frames=frames[0], dropped_frames=frames[1], took=took
        )

    def failed(self) -> CheckpointFailed:
        return CheckpointFailed(time=self.context.now, epoch=self.number)

    def alone(self, survivor: Side) -> FailedOver:
        """One replica goes on alone. Without the primary, what it said and the secondary did not confirm is dropped."""
        held, _ = self._held()
        waiting = self._clear()
        self.table.clear()
        if survivor == Side.PRIMARY:
            self._release(waiting)
            return FailedOver(time=self.context.now, survivor="primary", released_frames=held, dropped_frames=0)
        for _, _, frame in waiting:
            self.context.drop(Side.PRIMARY, frame)
        return FailedOver(time=self.context.now, survivor="secondary", released_frames=0, dropped_frames=held)

    def go_on(self) -> None:
        """Let the connections that diverged go on, as `on_divergence` says."""
        policy = self.context.config.on_divergence
        while self.released:
            waiting, self.released = self.released, []
            for c in waiting:
                if c is None:
                    self._release(self._clear(keep=True))
                elif policy == "cut" and c.kind == Kind.TCP and self.cutter.cut(c):
                    self.cutter.drop(self.context.engine.new_epoch([c], False))
                    self.tcp.incarnations.gone_on(c)
                elif (c.kind == Kind.TCP and self.streams) or policy != "release":
                    if policy != "release":
                        c.rule = UNPROTECTED
                    self._release(self.context.engine.new_epoch([c], policy == "release"))
                    self._resume(c)
                    self.tcp.incarnations.gone_on(c)
                else:
                    self.datagrams.give_up_one(c)

    def elsewhere(self) -> Iterator[Frame]:
        """Held frames that no connection of the table has."""
        for side in self.fragments.held:
            yield from side.values()
        for c in self.tcp.incarnations.beside:
            for frame in (c.p_head, c.s_head, c.a_head):
                while frame is not None:
                    yield frame
                    frame = frame.next
            yield from c.control or ()

    def _held(self) -> tuple[int, int]:
        tally = self.context.engine.tally
        return tally[HELD], tally[WIDTH + HELD]

    def _clear(self, keep: bool = False) -> list[Waiting]:
        """Empty all queues; the primary's frames."""
        connections = [*self.table, *self.tcp.incarnations.beside]
        waiting: list[Waiting] = self.context.engine.new_epoch(connections, keep)
        waiting += [(frame.order, None, frame) for frame in self.fragments.new_epoch()]
        self.tcp.incarnations.settle()
        self.datagrams.waiting.clear()
        return waiting

    def _release(self, waiting: list[Waiting]) -> None:
        """Release the primary's frames in the order in which they came."""
        waiting.sort(key=lambda entry: entry[0])
        connections: dict[Connection, None] = {}
        for _, c, frame in waiting:
            if c is not None and c.kind == Kind.TCP and self.streams:
                self.tcp.acks.uncompared(c, frame)
                connections[c] = None
            else:
                self.context.release(frame)
        for c in connections:
            self._resume(c)

    def _resume(self, c: Connection) -> None:
        if c.kind == Kind.TCP and self.streams:
            self.tcp.resume(c)
        else:
            self.datagrams.refresh(c)
