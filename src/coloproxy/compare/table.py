"""The connections: found by key, made when first heard of, decided upon by the rules, forgotten when the table is full.

Python's own dictionaries, with their seeded hash of bytes, hold them, one for each kind.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from coloproxy.compare.config import Config
from coloproxy.compare.cut import CUT
from coloproxy.compare.engine import Connection, Engine
from coloproxy.compare.events import Side
from coloproxy.compare.rules import Action, Decision, Rule, Rules
from coloproxy.packet.parse import Kind, Packet

CLOSED_LINGER = 60.0  # seconds for which a closed connection may still be retransmitting
EVICTED_AT_ONCE = 16  # a full table forgets one in so many, so that it is not searched for each newcomer
DATAGRAM_KINDS = (Kind.UDP, Kind.ICMP, Kind.ICMPV6, Kind.OTHER, Kind.NON_IP)
# A connection that diverged and passes uncompared from then on.
UNPROTECTED = (Decision(Action.PASS, "unprotected since it diverged", frozenset()),) * 2
SETTLED = (UNPROTECTED, CUT)  # decisions that no change of the rules undoes, only a new connection
SYN = 0x02


class Table:
    """All connections of one comparator. `evict(c)` is called for each that is about to be forgotten."""

    def __init__(self, config: Config, engine: Engine, evict: Callable[[Connection], None]) -> None:
        self.limit = self._full = config.max_connections
        self.engine = engine
        self.evict = evict
        self.by_kind: tuple[dict[bytes, Connection], ...] = (
            engine.tcp, engine.udp, engine.icmp, engine.icmpv6, engine.other, engine.non_ip
        )  # fmt: skip
        self.rules = Rules()
        self.opened = 0
        self._decisions: dict[tuple[Decision, Decision], tuple[Decision, Decision]] = {}

    def __len__(self) -> int:
        return sum(len(table) for table in self.by_kind)

    def __bool__(self) -> bool:
        return any(self.by_kind)

    def __iter__(self) -> Iterator[Connection]:
        for table in self.by_kind:
            yield from table.values()

    def set_rules(self, rules: Sequence[Rule], beside: Iterable[Connection] = ()) -> None:
        """Use other rules from now on; connections, those beside the table too, are decided upon anew. Raises
        ColoproxyError for a bad rule."""
        self.rules = Rules(rules)
        self._decisions.clear()
        for c in (*self, *beside):
            if c.rule not in SETTLED:
                c.rule = None
                c.p_fast = c.s_fast = False

    def decided(self, c: Connection) -> bool:
        """Whether all frames of both sides are to be compared, as far as the rules go by connection."""
        if c.rule is None or c.kind in (Kind.ICMP, Kind.ICMPV6):
            return False
        return all(decision.action is Action.COMPARE for decision in c.rule)

    def decide(self, side: Side, packet: Packet, icmp_type: int) -> tuple[Decision, Connection | None]:
        """What is to be done with a frame, and the connection it belongs to if that is known."""
        c = self.by_kind[packet.kind].get(packet.key)
        if c is None:
            return self.rules.decide(packet, side, icmp_type), None
        if c.rule is None:
            c.rule = self._both(packet, icmp_type)
        if c.rule in SETTLED and packet.kind == Kind.TCP and packet.flags & SYN:
            self.forget(c)  # another connection begins on the key
            return self.rules.decide(packet, side, icmp_type), None
        if icmp_type < 0 or c.rule in SETTLED:
            return c.rule[side], c
        return self.rules.decide(packet, side, icmp_type), c

    def open(self, packet: Packet, icmp_type: int, now: float) -> Connection:
        """A new connection, with room made for it."""
        table = self.by_kind[packet.kind]
        if len(self) >= self._full:
            self._make_room()
        c = Connection()
        c.key, c.kind, c.since, c.last = packet.key, int(packet.kind), now, now
        c.rule = self._both(packet, icmp_type)
        table[c.key] = c
        self.opened += 1
        return c

    def clear(self) -> None:
        """Forget all, when what the replicas said went by unseen."""
        for c in list(self):
            self.forget(c)

    def forget(self, c: Connection) -> None:
        self.engine.forget(self.by_kind[c.kind], c)

    def age(self, now: float) -> None:
        """Forget connections that have been closed for long."""
        for c in self.engine.aged(now - CLOSED_LINGER):
            self.forget(c)

    def _both(self, packet: Packet, icmp_type: int) -> tuple[Decision, Decision]:
        pair = self.rules.decide(packet, Side.PRIMARY, icmp_type), self.rules.decide(packet, Side.SECONDARY, icmp_type)
        return self._decisions.setdefault(pair, pair)

    def _make_room(self) -> None:
        """Forget some connections, of the kind that has most. None is forgotten that holds a frame of the primary:
        then the table grows, within the limits of what may be held, and is searched again when it has grown by as many.
        """
        wanted = max(1, self.limit // EVICTED_AT_ONCE)
        for table in sorted(self.by_kind, key=len, reverse=True):
            if victims := self.engine.idlest(table, wanted):
                break
        for c in victims:
            self.evict(c)
            self.forget(c)
        self._full = self.limit if len(victims) == wanted else max(self.limit, len(self) + wanted)
