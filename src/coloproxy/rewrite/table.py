"""The connections that are translated: found by key, bounded in number, forgotten when over or silent for long."""

import struct
from collections.abc import Callable, Iterator

from coloproxy.packet.parse import Packet
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.engine import Connection, Engine
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.states import OPENING, OVER, State

EVICTED_AT_ONCE = 16  # a full table forgets one in so many, so that it is not searched for each newcomer
COPIED = ("state", "last", "known", "offset", "stamped", "ts_offset", "raw_syn", "p_isn", "s_isn", "client_isn",
          "next_isn", "p_stamp", "s_stamp", "s_fin")  # fmt: skip
# Who has to go first from a full table: what is over, then what may never become a connection (a flood of SYNs must
# not displace those that live), then the longest silent.
RANKS = [0 if state in OVER else 1 if state in OPENING else 2 for state in State]


class Table:
    """All connections of one rewriter. `gone(c, evicted)` is called for each before it is forgotten."""

    def __init__(self, config: Config, engine: Engine, gone: Callable[[Connection, bool], None]) -> None:
        self.limit = config.max_connections
        self.engine = engine
        self.gone = gone
        self.opened = 0
        self.lifetimes = [
            (config.idle_timeout if state is State.ESTABLISHED else config.transitory_timeout) / 1000 for state in State
        ]

    def __len__(self) -> int:
        return len(self.engine.by_replica)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.engine.by_replica.values())

    def find(self, source: Source, packet: Packet) -> Connection | None:
        """The connection that a segment belongs to."""
        table = self.engine.by_client if source is Source.CLIENT else self.engine.by_replica
        return table.get(packet.key)  # type: ignore[no-any-return]

    def open(self, source: Source, packet: Packet, now: float) -> Connection:
        """A new connection, with room made for it."""
        if len(self) >= self.limit:
            for c in self.engine.first_to_go(RANKS, max(1, self.limit // EVICTED_AT_ONCE)):
                self._forget(c, evicted=True)
        key, client_key = packet.key, mirrored(packet)
        if source is Source.CLIENT:
            key, client_key = client_key, key
        c = Connection(key, client_key, now)
        self.engine.add(c)
        self.opened += 1
        return c

    def adopt(self, other: "Table") -> None:
        """Have the numbers of another table's connections, of which this one's replica is a copy."""
        for theirs in other:
            if len(self) >= self.limit:
                break
            c = self.engine.by_replica.get(theirs.key)
            if c is None:
                c = Connection(theirs.key, theirs.client_key, theirs.since)
                self.engine.add(c)
                self.opened += 1
            for name in COPIED:
                setattr(c, name, getattr(theirs, name))
            c.fast = False

    def forget(self, c: Connection) -> None:
        """Forget a connection that is over."""
        self._forget(c, evicted=False)

    def clear(self) -> None:
        """Forget all."""
        for c in list(self):
            self.forget(c)

    def age(self, now: float) -> None:
        """Forget connections that have been silent for longer than their state allows."""
        for c in self.engine.aged(now, self.lifetimes):
            self.forget(c)

    def _forget(self, c: Connection, evicted: bool) -> None:
        self.gone(c, evicted)
        self.engine.forget(c)


def mirrored(packet: Packet) -> bytes:
    """The key of what the other end sends."""
    size = 2 * len(packet.src)
    return packet.dst + packet.src + struct.pack(">HH", packet.dport, packet.sport) + packet.key[size + 4 :]
