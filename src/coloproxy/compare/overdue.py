"""Frames that have waited longer than `compare_timeout`: what is wrong is read from what is missing."""

from coloproxy.compare.context import Context
from coloproxy.compare.datagram import Datagrams
from coloproxy.compare.engine import Connection
from coloproxy.compare.events import Reason
from coloproxy.compare.tcp import RST, Tcp, end_of
from coloproxy.packet.parse import Kind
from coloproxy.packet.serial import at_or_before

AT_ONCE = 1000  # connections looked at in one scan


class Overdue:
    """Looks through the connections for what is overdue."""

    def __init__(self, context: Context, tcp: Tcp, datagrams: Datagrams) -> None:
        self.context = context
        self.tcp = tcp
        self.datagrams = datagrams
        self.timeout = context.config.compare_timeout / 1000
        self.streams = context.config.tcp_match == "sequence"

    def scan(self) -> None:
        """Report what has waited too long; forget what the old epoch left behind."""
        now = self.context.now
        before = now - self.timeout
        found = self.context.engine.overdue(list(self.tcp.incarnations.beside), before, AT_ONCE)
        for c in found:
            stream = c.kind == Kind.TCP and self.streams
            if self._only_stale(c):
                self._drop_stale(c, stream)
                continue
            self.context.tracing.overdue(_since(c))
            if stream:
                self._stream(c)
            else:
                self._datagram(c)

    @staticmethod
    def _only_stale(c: Connection) -> bool:
        """Whether all that waits is what the secondary sent in the old epoch."""
        return c.p_count == 0 and c.s_head is not None and c.s_head.stale

    def _drop_stale(self, c: Connection, stream: bool) -> None:
        if not stream:
            self.datagrams.drop_stale(c)
            return
        while c.s_head is not None and c.s_head.stale:
            self.context.engine.use_up(c)
        self.tcp.refresh(c)

    def _stream(self, c: Connection) -> None:
        p, s = c.p_head, c.s_head
        before = self.context.now - self.timeout
        if c.control and c.control[0].flags & RST:
            self._report(c, Reason.TCP_RST, "only the primary has reset the connection")
        elif c.s_rst and not c.p_rst and c.s_rst_time <= before:
            self._report(c, Reason.TCP_RST, "only the secondary has reset the connection")
        elif c.control:
            self._report(c, Reason.TIMEOUT_PRIMARY_ONLY, "only the primary has sent a SYN")
        elif c.s_syn is not None and not c.started and c.s_syn_time <= before:
            self._report(c, Reason.TIMEOUT_SECONDARY_ONLY, "only the secondary has sent a SYN")
        elif (p is not None and c.started and at_or_before(end_of(p), c.verified)) or (p is None and c.a_head):
            self._report(c, Reason.TCP_ACK_TIMEOUT, "the secondary has not acknowledged what the primary has")
        elif p is not None and p.fin and c.verified == (p.seq + p.size) & 0xFFFFFFFF and c.started:
            self._report(c, Reason.TCP_FIN, "only the primary has ended its stream")
        elif p is None and s is not None and s.fin and c.started and c.verified == (s.seq + s.size) & 0xFFFFFFFF:
            self._report(c, Reason.TCP_FIN, "only the secondary has ended its stream")
        elif p is not None:
            self._report(c, Reason.TIMEOUT_PRIMARY_ONLY, "the secondary has not sent these bytes")
        else:
            self._report(c, Reason.TIMEOUT_SECONDARY_ONLY, "the primary has not sent these bytes")

    def _datagram(self, c: Connection) -> None:
        if c.p_head is not None:
            self._report(c, Reason.TIMEOUT_PRIMARY_ONLY, "the secondary has not sent this")
        else:
            self._report(c, Reason.TIMEOUT_SECONDARY_ONLY, "the primary has not sent this")

    def _report(self, c: Connection, reason: Reason, what: str) -> None:
        p, s = c.p_head, c.s_head
        place = c.verified if c.kind == Kind.TCP and c.started else None
        p_at = s_at = 0
        if place is not None:
            p_at = min((place - p.seq) & 0xFFFFFFFF, p.size) if p is not None and at_or_before(p.seq, place) else 0
            s_at = min((place - s.seq) & 0xFFFFFFFF, s.size) if s is not None and at_or_before(s.seq, place) else 0
        self.context.diverge(c, reason, f"{what} within {self.timeout:g} s", p, s, place, p_at, s_at)


def _since(c: Connection) -> float:
    """When the oldest came of what waits."""
    frames = [frame for frame in (c.p_head, c.s_head, c.a_head, *(c.control or ())) if frame is not None]
    times: list[float] = [frame.time for frame in frames]
    if c.s_rst and not c.p_rst:
        times.append(c.s_rst_time)
    if c.s_syn is not None and not c.started:
        times.append(c.s_syn_time)
    return min(times)
