"""One connection, looked into: both streams as spans along the sequence axis, and what they wait for in words."""

from collections.abc import Iterator, Mapping

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.cut import CUT
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Side
from coloproxy.compare.explain import endpoints_of
from coloproxy.compare.state import connection_states
from coloproxy.compare.table import UNPROTECTED
from coloproxy.packet.parse import Kind
from coloproxy.packet.serial import distance
from coloproxy.watch.messages import Span, Streams

SPANS = 200  # of each side
RST = 0x04


class Looker:
    """Finds connections by what they are called, and looks into them."""

    def __init__(self, comparators: Mapping[str, Comparator]) -> None:
        self._comparators = comparators
        self._known: dict[str, Connection] = {}

    def look(self, key: str, now: float, wall: float) -> Streams:
        """The connection of this key, as a list of connections gives it; `gone` if there is none."""
        name, _, text = key.partition(" ")
        comparator = self._comparators.get(name)
        c = self._find(comparator, key, text) if comparator is not None else None
        if comparator is None or c is None:
            return Streams(key=key, wall=wall, gone=True)
        (state,) = connection_states([c], now, 1)
        rule = c.rule[Side.PRIMARY].rule if c.rule else ""
        sequence = c.kind == Kind.TCP and comparator.config.tcp_match == "sequence"
        primary, more = spans(c.p_head, c if sequence else None, now)
        secondary, yet_more = spans(c.s_head, c if sequence else None, now)
        common = {
            "key": key, "wall": wall, "state": state, "rule": rule, "ordered": sequence, "primary": primary,
            "secondary": secondary, "more": more + yet_more,
        }  # fmt: skip
        if not sequence:
            return Streams(**common, why=of_datagrams(c))  # type: ignore[arg-type]
        return Streams(
            **common,  # type: ignore[arg-type]
            seq=c.verified if c.started else None,
            offset=(c.verified - c.first) & 0xFFFFFFFF if c.started else None,
            released=released(c),
            fins=(end(c.p_head, c), end(c.s_head, c)),
            acknowledged=distance(c.s_ack, c.p_ack) if c.p_acked and c.s_acked else None,
            why=of_stream(c),
        )

    def _find(self, comparator: Comparator, key: str, text: str) -> Connection | None:
        known = self._known.get(key)
        if known is not None and comparator.knows(known):
            return known
        found = next((c for c in comparator.survey(1 << 20).found if str(endpoints_of(c)) == text), None)
        self._known.pop(key, None)
        if found is not None:
            self._known[key] = found
            while len(self._known) > 64:
                del self._known[next(iter(self._known))]
        return found


def frames(head: Frame | None) -> Iterator[Frame]:
    """A queue's frames."""
    while head is not None:
        yield head
        head = head.next


def spans(head: Frame | None, c: Connection | None, now: float) -> tuple[list[Span], int]:
    """What is held as spans, and how many there are besides. c: the stream that its places belong to; None: datagrams,
    each a span of its own."""
    found: list[Span] = []
    more = at = 0
    base = head.seq if head is not None else 0
    for frame in frames(head):
        begin = at if c is None else distance(c.verified if c.started else base, frame.seq)
        at = stop = begin + frame.size
        age = max(0.0, now - frame.time)
        if c is not None and found and found[-1].end == begin:
            last = found[-1]
            found[-1] = Span(begin=last.begin, end=stop, frames=last.frames + 1, age=max(last.age, age))
        elif len(found) < SPANS:
            found.append(Span(begin=begin, end=stop, frames=1, age=age))
        else:
            more += 1
    return found, more


def released(c: Connection) -> int:
    """Up to which place, counted from `verified`, the primary's stream has left."""
    if c.p_head is None or not c.started:
        return 0
    return min(0, int(distance(c.verified, c.p_head.seq) + c.p_head.done))


def end(head: Frame | None, c: Connection) -> int | None:
    """Where a stream ends, if its end is held."""
    for frame in frames(head):
        if frame.fin:
            return int(distance(c.verified, frame.seq) + frame.size)
    return None


def of_stream(c: Connection) -> str:
    """What a TCP connection waits for."""
    return _settled(c) or _beginning(c) or _middle(c)


def _settled(c: Connection) -> str:
    if c.rule is UNPROTECTED:
        return "It has diverged, and its frames pass uncompared since."
    if c.rule is CUT:
        return "It has diverged, and was reset."
    if c.diverged is not None:
        return f"The replicas differ ({c.diverged}): it waits for a checkpoint."
    return ""


def _beginning(c: Connection) -> str:
    if c.control and c.control[0].flags & RST:
        return "The primary has reset the connection; the secondary has not done so yet."
    if c.control:
        return "The primary has sent a SYN; the secondary has not sent its own yet."
    if c.s_rst and not c.p_rst:
        return "The secondary has reset the connection; the primary has not done so yet."
    if not c.started and c.s_syn is not None:
        return "The secondary has sent a SYN; the primary has not sent its own yet."
    return ""


def _middle(c: Connection) -> str:
    p, s = c.p_head, c.s_head
    if p is None and s is None:
        if c.a_head is not None or c.owes:
            return "The secondary has not acknowledged yet what the primary has acknowledged to the client."
        return "Nothing waits: all that the primary has sent has left."
    if p is None:
        return "The secondary is ahead: the primary has not sent these bytes yet."
    if not c.started:
        return "The secondary has sent nothing on this connection yet."
    begin = distance(c.verified, p.seq)
    if begin > 0:
        return f"{begin} bytes of the primary's are missing in front of what is held: they will be sent again."
    if begin + p.size + p.fin <= 0:
        return "The bytes are equal, but the secondary has not acknowledged yet what the primary has."
    if p.fin and begin + p.size == 0:
        return "The primary has ended its stream; the secondary has not ended its own yet."
    if s is None:
        return "The secondary has not sent these bytes yet."
    return f"{distance(c.verified, s.seq)} bytes of the secondary's are missing: they will be sent again."


def of_datagrams(c: Connection) -> str:
    """What datagrams wait for."""
    if c.diverged is not None or c.rule in (UNPROTECTED, CUT):
        return _settled(c)
    if c.p_head is not None and c.s_head is not None:
        return "Both have sent datagrams without an equal among the other's."
    if c.p_head is not None:
        return "The secondary has not sent these datagrams yet."
    if c.s_head is not None:
        return "The primary has not sent these datagrams yet."
    return "Nothing waits: all that the primary has sent has left."
