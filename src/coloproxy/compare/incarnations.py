"""Connections that follow one another on one key: a SYN with a new number begins the next.

One replica may do so before the other has; until that follows, each of the two is on a connection of its own.
"""

import math
from collections.abc import Callable, Iterator
from itertools import takewhile

from coloproxy.compare.context import Context
from coloproxy.compare.engine import Connection
from coloproxy.compare.events import Reason, Side
from coloproxy.packet.parse import Packet

SYN = 0x02
MAX_AHEAD = 8  # connections on one key that the secondary may have begun before the primary has


class Incarnations:
    """`beside` has, in order of their coming, connections that are not in the table: a newer one that only one side
    has begun, and an older one that both have left while it still held frames of the primary."""

    def __init__(self, context: Context, refresh: Callable[[Connection], None]) -> None:
        self.context = context
        self.engine = context.engine
        self.refresh = refresh
        self.beside: dict[Connection, None] = {}

    def find(self, c: Connection, side: Side, packet: Packet) -> Connection | None:
        """The connection on the key of `c` that this side's segment belongs to. None: a SYN of the old epoch, or one
        too many."""
        ahead = 0
        while c.successor is not None and (c.p_moved if side == Side.PRIMARY else c.s_moved):
            c = c.successor
            ahead += 1
        if not packet.flags & SYN or not self._begins_anew(c, side, packet):
            return c
        if side == Side.SECONDARY and (ahead >= MAX_AHEAD or self.context.now < self.context.stale_until):
            return None
        return self._succeed(c, side)

    def gone_on(self, c: Connection) -> None:
        """What was held of `c` has left without a checkpoint, as if the secondary were where the primary is: nobody
        waits any more for the other to begin `c`, or to end it."""
        if c not in self.beside:
            return
        before = next((link for link in chain(self.engine.tcp.get(c.key)) if link.successor is c), None)
        if before is None:
            del self.beside[c]
        elif before.p_moved:  # and so all in front of it: the table's own first
            for link in list(takewhile(lambda link: link is not c, chain(self.engine.tcp.get(c.key)))):
                link.s_moved = True
                self._retire(link)
        else:
            before.successor, before.s_moved = None, False
            self.forget(c)

    def settle(self) -> None:
        """Nothing is held any more: on each key the connection that the primary has come to is the only one."""
        for c in [c for c in self.engine.tcp.values() if c.successor is not None]:
            current = c
            while current.p_moved and current.successor is not None:
                current = current.successor
            current.successor, current.s_moved = None, False
            if current is not c:
                self._replace(c, current)
        self.beside.clear()

    def forget(self, c: Connection) -> int:
        """Drop what the secondary has said on `c` and all that follow it, of which the primary knows nothing; how many
        frames that were."""
        dropped = 0
        for link in chain(c):
            dropped += link.s_count
            while link.s_head is not None:
                self.engine.use_up(link)
            self.beside.pop(link, None)
        return dropped

    def _begins_anew(self, c: Connection, side: Side, packet: Packet) -> bool:
        syn = c.p_syn if side == Side.PRIMARY else c.s_syn
        if syn is not None:
            return bool(syn.isn != packet.seq and not syn.stale)
        if side == Side.PRIMARY:
            return bool(c.started or c.p_acked or c.p_rst)
        reset = c.s_rst and c.s_rst_time < math.inf  # and not perhaps in the old epoch
        return bool(c.s_acked or reset or c.s_head is not None)

    def _succeed(self, c: Connection, side: Side) -> Connection:
        """Let one side go on to a new connection on the same key; the other follows with its own SYN."""
        n: Connection = c.successor
        if n is None:
            c.successor = n = Connection()
            n.key, n.kind, n.since, n.last = c.key, c.kind, self.context.now, self.context.now
            self.beside[n] = None
        if side == Side.PRIMARY:
            c.p_moved = True
        else:
            c.s_moved = True
        if c.p_moved and c.s_moved:
            self._retire(c)
        self.refresh(c)
        return n

    def _retire(self, c: Connection) -> None:
        """Both sides have begun anew: the successor takes the table's place, and what is held here stays unverified."""
        n = c.successor
        del self.beside[n]
        self._replace(c, n)
        while c.s_head is not None:
            self.engine.use_up(c)
        if c.p_count:
            self.beside[c] = None
            self.context.diverge(
                c, Reason.TCP_RESTART, "both began a new connection; the primary's last bytes of the old one were "
                "not sent by the secondary", c.p_head, None, c.verified if c.started else None,
            )  # fmt: skip

    def _replace(self, c: Connection, n: Connection) -> None:
        self.engine.forget(self.engine.tcp, c)
        self.engine.tcp[n.key] = n


def chain(c: Connection | None) -> Iterator[Connection]:
    """A connection and those that follow it."""
    while c is not None:
        yield c
        c = c.successor
