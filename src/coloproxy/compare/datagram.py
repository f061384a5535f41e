"""UDP, ICMP, other IP and everything else that comes in units: equal units match one to one, in the primary's order.

With `tcp_match = "packet"` TCP segments are taken as such units too, strictly in order, as was done before 2018.
"""

from collections import deque

from coloproxy.compare.context import Context, first_difference, payload
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Reason, Side
from coloproxy.packet.parse import Kind

Digest = tuple[int, bytes]  # flags (ICMP: type and code) and payload

# For each kind: its name on the trace, and the reasons for a difference in content and in length.
REASONS: dict[int, tuple[str, Reason, Reason]] = {
    Kind.TCP: ("tcp", Reason.TCP_PACKET, Reason.TCP_PACKET),
    Kind.UDP: ("udp", Reason.UDP_PAYLOAD, Reason.UDP_LENGTH),
    Kind.ICMP: ("icmp", Reason.ICMP_PAYLOAD, Reason.ICMP_LENGTH),
    Kind.ICMPV6: ("icmp", Reason.ICMP_PAYLOAD, Reason.ICMP_LENGTH),
    Kind.OTHER: ("other", Reason.OTHER_PAYLOAD, Reason.OTHER_LENGTH),
    Kind.NON_IP: ("other", Reason.OTHER_PAYLOAD, Reason.OTHER_LENGTH),
}


class Datagrams:
    """The general path of datagrams. `waiting` maps connections whose oldest primary datagram lacks a partner, while
    the secondary has sent others, to the time at which that is a divergence."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.engine = context.engine
        self.grace = context.config.reorder_grace / 1000
        self.waiting: dict[Connection, float] = {}

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min(self.waiting.values(), default=None)

    def receive(self, side: Side, c: Connection, frame: Frame) -> None:
        """Take a datagram of a connection that is compared."""
        c.last = self.context.now
        c.started = True
        if side == Side.SECONDARY:
            frame.stale = self.context.now < self.context.stale_until
            if c.index is not None:
                c.index.setdefault(digest(frame), deque()).append(frame)
        self.engine.append(c, side, frame)
        if c.diverged is None:
            self._match(c)
        self.refresh(c)

    def tick(self, now: float) -> None:
        """Report those whose grace is over."""
        for c in [c for c, until in self.waiting.items() if until <= now]:
            del self.waiting[c]
            if c.diverged is None:
                self._report(c)
                self.refresh(c)

    def forget(self, c: Connection) -> None:
        """The connection starts afresh, or is gone."""
        self.waiting.pop(c, None)

    def refresh(self, c: Connection) -> None:
        """Say whether the engine may take this connection's datagrams itself."""
        if c.s_head is None:
            c.index = None
        ordinary = (
            c.kind == Kind.UDP and c.diverged is None and c.index is None and self.context.decided(c)
            and not (c.s_head is not None and c.s_head.stale) and self.context.now >= self.context.stale_until
        )  # fmt: skip
        c.p_fast = c.s_fast = ordinary

    def drop_stale(self, c: Connection) -> None:
        """What the secondary sent before the checkpoint, and nobody asked for, is of no use."""
        while c.s_head is not None and c.s_head.stale:
            self._take_secondary(c, c.s_head)
        self.refresh(c)

    def give_up_one(self, c: Connection) -> None:
        """Go on in spite of a divergence: the primary's oldest leaves, and the secondary's in its place is dropped."""
        c.diverged = None
        rival = self._rival(c)
        if c.p_head is not None:
            self.context.release(self.engine.take_primary(c))
        if rival is not None:
            self._take_secondary(c, rival)
        self._match(c)
        self.refresh(c)

    def _match(self, c: Connection) -> None:
        """Release from the primary's oldest on all that have a partner."""
        while c.p_head is not None and (partner := self._partner(c, c.p_head)) is not None:
            self._take_secondary(c, partner)
            p = self.engine.take_primary(c)
            c.verified_bytes += p.size
            self.engine.verified_bytes += p.size
            self.context.tracing.released(p)
            self.context.release(p)
        self._wait(c)

    def _partner(self, c: Connection, p: Frame) -> Frame | None:
        s: Frame | None = c.s_head
        if s is None:
            return None
        if self.engine.tracer is not None:
            self._trace_search(c, p)
        if self.context.config.tcp_match == "packet":
            while s is not None and s.stale and not equal(p, s):
                self.engine.use_up(c)
                s = c.s_head
            return s if s is not None and equal(p, s) else None
        if c.index is None and equal(p, s):
            return s
        if c.index is None:
            if s.next is None:
                return None
            c.index = {}
            while s is not None:
                c.index.setdefault(digest(s), deque()).append(s)
                s = s.next
        found = c.index.get(digest(p))
        return found[0] if found else None

    def _trace_search(self, c: Connection, p: Frame) -> None:
        """Say what QEMU says of its search: it looks at one after the other."""
        s: Frame | None = c.s_head
        found = False
        while s is not None and not found:
            found = equal(p, s)
            self.context.tracing.datagrams(c, REASONS[c.kind][0], p, s, found)
            s = s.next

    def _take_secondary(self, c: Connection, s: Frame) -> None:
        """Use up a datagram of the secondary, wherever it stands in the queue."""
        if c.index is not None:
            found = c.index[digest(s)]
            found.remove(s)
            if not found:
                del c.index[digest(s)]
        self.engine.take_out(c, s)

    def _wait(self, c: Connection) -> None:
        """The primary's oldest lacks a partner: while the secondary has others, the grace runs."""
        s = self._rival(c)
        if c.p_head is None or s is None:
            self.waiting.pop(c, None)
            return
        until = max(c.p_head.time, s.time) + self.grace
        if self.context.config.tcp_match == "packet" or self.grace == 0:
            self.waiting.pop(c, None)
            self._report(c)
        else:
            self.waiting[c] = until

    def _rival(self, c: Connection) -> Frame | None:
        """The secondary's oldest unmatched datagram of this epoch."""
        s: Frame | None = c.s_head
        while s is not None and s.stale:
            s = s.next
        return s

    def _report(self, c: Connection) -> None:
        p, s = c.p_head, self._rival(c)
        if p is None or s is None:
            return
        self.context.tracing.no_partner()
        _, content, length = REASONS[c.kind]
        ours, theirs = payload(p), payload(s)
        at = first_difference(ours, theirs)
        if len(ours) != len(theirs):
            reason, detail = length, f"the primary's has {len(ours)} bytes, the secondary's {len(theirs)}"
        elif p.flags != s.flags:
            reason, detail = content, f"the primary's is of kind 0x{p.flags:04x}, the secondary's of 0x{s.flags:04x}"
        else:
            reason, detail = content, f"the bytes differ from byte {at} on"
        self.context.diverge(c, reason, detail, p, s, None, at, at)


def equal(p: Frame, s: Frame) -> bool:
    """Whether two datagrams match."""
    return p.size == s.size and p.flags == s.flags and payload(p) == payload(s)


def digest(frame: Frame) -> Digest:
    """What must be equal in two datagrams for them to match."""
    return frame.flags, payload(frame)
