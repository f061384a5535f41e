"""TCP, the general path: every segment, in any order, with any flags.

A stream's places are its bytes, and one each for SYN and FIN (RFC 9293, 3.4). Both replicas' streams are compared
place by place (`Engine.match`), however they were cut. What is decided here: where a connection begins, where a
segment belongs, and when SYN and RST may leave. When acknowledgements may leave is in `acks`.
"""

import math
from typing import NamedTuple

from coloproxy.compare.acks import Acknowledgements
from coloproxy.compare.context import Context, first_difference, payload
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Reason, Side
from coloproxy.compare.incarnations import Incarnations
from coloproxy.packet.parse import Packet
from coloproxy.packet.serial import add, at_or_before, distance
from coloproxy.packet.tcpopts import SynOptions, syn_options

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Syn(NamedTuple):
    """A replica's SYN or SYN-ACK: its sequence number, and what it offers for the life of the connection."""

    isn: int
    options: SynOptions
    answers: bool  # SYN-ACK
    stale: bool = False  # the secondary's, perhaps from before the last checkpoint


class Tcp:
    """The general path of TCP."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.engine = context.engine
        self.acks = Acknowledgements(context)
        self.incarnations = Incarnations(context, self.refresh)
        self.relative = context.config.isn == "relative"

    def receive(self, side: Side, connection: Connection, packet: Packet, frame: Frame) -> None:
        """Take a segment of a connection that is compared."""
        c = self.incarnations.find(connection, side, packet)
        if c is None:
            self.context.drop(side, frame)
            return
        if c.rule is None:
            c.rule = connection.rule
        c.last = self.context.now
        progress = False
        if side == Side.PRIMARY:
            self._primary(c, packet, frame)
        else:
            progress = self._secondary(c, packet, frame)
        self.engine.match(c)
        if progress and c.owes:
            self.acks.owed(c)
        self.refresh(c)

    # The primary's segments

    def _primary(self, c: Connection, packet: Packet, frame: Frame) -> None:
        if frame.flags & RST:
            c.p_rst = True
            if c.s_rst:
                c.closed = True
                self._release(frame)
            else:
                self._hold_control(c, frame)
            return
        if frame.flags & SYN:
            self._primary_syn(c, packet, frame)
            return
        if not c.started and c.p_syn is None and frame.size + frame.fin:
            self._start(c, frame.seq)  # its beginning was not seen
        if frame.flags & ACK:
            self.engine.see_primary(c, frame.ack, self.acks.edge(frame.ack, frame.window, c.p_scale))
        if not frame.size + frame.fin:
            self.acks.pure(c, frame)
        elif c.started and at_or_before(end_of(frame), c.verified):
            self._waits_for_client(c)
            self.acks.verified(c, frame)
        else:
            self._insert_primary(c, frame)

    def _waits_for_client(self, c: Connection) -> None:
        """A replica repeats what is verified: what left of it was lost, or the answer to it. It is the client that both
        wait for, then, and the replica may be unable to send more."""
        c.moved = self.context.now

    def _primary_syn(self, c: Connection, packet: Packet, frame: Frame) -> None:
        first = c.p_syn is None
        if first:
            c.p_syn = self._syn(packet, frame)
            c.p_scale = scale(c.p_syn)
        if frame.flags & ACK:
            self.engine.see_primary(c, frame.ack, self.acks.edge(frame.ack, frame.window, 0))
        if frame.size:
            self._insert_primary(c, frame)  # data on a SYN (RFC 7413) waits for its bytes
        elif c.started and not first:
            self._release(frame)
        else:
            self._hold_control(c, frame)
        if first:
            self._both_syns(c)

    def _insert_primary(self, c: Connection, frame: Frame) -> None:
        """Queue a segment by its place, behind what begins there already. One that contradicts what is held diverges;
        one that repeats it leaves as it came, like any of the primary's: it may acknowledge more."""
        base = c.verified if c.started else frame.seq
        low, high = distance(base, frame.seq), distance(base, end_of(frame))
        covered = max(low, 0) if c.started else low  # so far all places are verified, or held and the same
        held = self.engine.overlapping(c, frame.seq)
        while held is not None and covered < high and distance(base, held.seq) < high:
            if not self._agree(c, Side.PRIMARY, frame, held, base, low, high):
                break
            if distance(base, held.seq) <= covered:
                covered = max(covered, distance(base, end_of(held)))
            held = held.next
        self._link_primary(c, self.engine.beginning(c, frame.seq), frame)
        if c.started and 0 < -low <= c.verified_bytes:  # what came before the first that was seen is not verified
            self._waits_for_client(c)
            self._part(c, frame, -low)

    def _link_primary(self, c: Connection, previous: Frame | None, frame: Frame) -> None:
        if previous is None:
            frame.next, c.p_head = c.p_head, frame
        else:
            frame.next, previous.next = previous.next, frame
        if frame.next is None:
            c.p_tail = frame
        self.engine.hold(c, Side.PRIMARY, frame)

    def _agree(self, c: Connection, side: Side, frame: Frame, held: Frame, base: int, low: int, high: int) -> bool:
        """Whether two frames of one side say the same where they overlap within low..high (places from base)."""
        at = contradiction(frame, held, base, low, high)
        if at is None:
            return True
        self.context.diverge(
            c, Reason.TCP_OVERLAP, f"the {side.label} sent other bytes for a place it had sent before",
            frame, held, add(base, at), at - distance(base, frame.seq), at - distance(base, held.seq),
        )  # fmt: skip
        return False

    # The secondary's segments

    def _secondary(self, c: Connection, packet: Packet, frame: Frame) -> bool:
        """Take a segment of the secondary; whether it acknowledged more, or opened its window further.

        A SYN or a RST that may be of the old epoch confirms the primary's, but nobody waits for it to be confirmed; the
        next SYN takes its place, and whatever else a secondary says shows that it has not reset.
        """
        frame.stale = self.context.now < self.context.stale_until
        if frame.flags & RST:
            if not c.s_rst:
                c.s_rst, c.s_rst_time = True, math.inf if frame.stale else self.context.now
            self._release_control(c, RST)
            self.context.drop(Side.SECONDARY, frame)
            return False
        if c.s_rst and c.s_rst_time == math.inf and not frame.stale:
            c.s_rst = False
        first_syn = bool(frame.flags & SYN) and (c.s_syn is None or (c.s_syn.stale and c.s_syn.isn != packet.seq))
        if first_syn:
            c.s_syn = self._syn(packet, frame)._replace(stale=frame.stale)
            c.s_syn_time = math.inf if frame.stale else self.context.now
            c.s_scale = scale(c.s_syn)
        progress = False
        repeats = c.s_acked and frame.ack == c.s_ack and frame.flags & (SYN | ACK) == ACK
        if frame.flags & ACK:
            shift = 0 if frame.flags & SYN else c.s_scale  # a SYN's window is not scaled (RFC 7323, 2.2)
            progress = self.engine.see_secondary(c, frame.ack, self.acks.edge(frame.ack, frame.window, shift))
        frame.seq = add(frame.seq, -c.shift)
        self._store(c, frame)
        if first_syn:
            self._both_syns(c)
        if repeats and not frame.size + frame.fin:
            self.acks.lacking(c, packet, frame, progress)
        return progress

    def _store(self, c: Connection, frame: Frame) -> None:
        """Keep what is new of a segment: the pieces of it that lie between and behind those that are here."""
        if not frame.size + frame.fin or (c.started and at_or_before(end_of(frame), c.verified)):
            if frame.size:
                self._waits_for_client(c)
                self.context.tracing.compared_before(Side.SECONDARY)
            self.context.drop(Side.SECONDARY, frame)
            return
        base = c.verified if c.started else frame.seq
        low = distance(base, frame.seq)
        high = low + frame.size
        gaps = self._gaps(c, frame, base, low, high)
        fin = frame.fin
        pieces: list[tuple[Frame | None, Frame]] = []
        for previous, start, stop in gaps:
            piece = part_of(frame)
            piece.seq, piece.data, piece.size = add(base, start), frame.data + start - low, stop - start
            piece.fin = fin and stop == high
            pieces.append((previous, piece))
        if fin and not (gaps and gaps[-1][2] == high):
            self._store_fin(c, frame, base, high, pieces)
        for previous, piece in pieces:
            piece.more = piece is not pieces[-1][1]
            self._link_secondary(c, previous, piece)
        if not pieces:
            self.context.drop(Side.SECONDARY, frame)

    def _gaps(
        self, c: Connection, frame: Frame, base: int, low: int, high: int
    ) -> list[tuple[Frame | None, int, int]]:  # fmt: skip
        """The places of low..high that are neither verified nor stored: (stored frame in front, from, to)."""
        gaps: list[tuple[Frame | None, int, int]] = []
        place = max(low, 0) if c.started else low
        previous: Frame | None = self.engine.in_front(c, add(base, place))
        held = c.s_head if previous is None else previous.next
        while held is not None and distance(base, held.seq) < high:
            if held.stale and not (frame.stale and contradiction(frame, held, base, place, high) is None):
                following = held.next
                self.engine.take_out(c, held)  # the secondary has been made another one since
                held = following
                continue
            start = distance(base, held.seq)
            if place < start:
                gaps.append((previous, place, start))
            if not self._agree(c, Side.SECONDARY, frame, held, base, place, high):
                return []
            place = max(place, start + held.size)
            previous, held = held, held.next
        if place < high:
            gaps.append((previous, place, high))
        return gaps

    def _store_fin(
        self, c: Connection, frame: Frame, base: int, place: int, pieces: list[tuple[Frame | None, Frame]]
    ) -> None:
        """A FIN whose segment's bytes are all known already: new on the stored frame that ends there, or alone."""
        previous: Frame | None = None
        held = c.s_head
        while held is not None and distance(base, held.seq) + held.size <= place:
            previous, held = held, held.next
        if previous is not None and distance(base, previous.seq) + previous.size == place:
            previous.fin = True
        elif held is None or distance(base, held.seq) >= place:
            piece = part_of(frame)
            piece.seq, piece.size, piece.fin = add(base, place), 0, True
            pieces.append((previous, piece))

    def _link_secondary(self, c: Connection, previous: Frame | None, piece: Frame) -> None:
        if previous is None:
            piece.next, c.s_head = c.s_head, piece
        else:
            piece.next, previous.next = previous.next, piece
        if piece.next is None:
            c.s_tail = piece
        self.engine.hold(c, Side.SECONDARY, piece)

    # SYN, RST: where connections begin and end

    def _syn(self, packet: Packet, frame: Frame) -> Syn:
        """What a SYN says. Its own place is left behind: the frame then begins with the first byte of data."""
        options = syn_options(frame.buf, packet.l4 + 20, packet.payload)
        return Syn(packet.seq, options, bool(frame.flags & ACK))

    def _both_syns(self, c: Connection) -> None:
        """Start the connection once both replicas' SYNs are here and offer the same."""
        p, s = c.p_syn, c.s_syn
        if p is None or s is None or c.started or c.diverged is not None:
            return
        if (p.options != s.options or p.answers != s.answers) and not self._ignored(c, Reason.TCP_SYN_OPTIONS):
            if s.stale:
                c.s_syn, c.s_acked, c.s_scale = None, False, -1
                return
            held = c.control[0] if c.control else None
            detail = f"the primary offers {describe(p)}, the secondary {describe(s)}"
            self.context.diverge(c, Reason.TCP_SYN_OPTIONS, detail, held, None, p.isn)
            return
        c.shift = distance(p.isn, s.isn) & 0xFFFFFFFF if self.relative else 0
        self._start(c, add(p.isn, 1))
        self._release_control(c, SYN)

    def _ignored(self, c: Connection, reason: Reason) -> bool:
        return c.rule is not None and reason in c.rule[Side.PRIMARY].ignore

    def _start(self, c: Connection, place: int) -> None:
        """Begin to compare at this place; what the secondary sent before it is of no use."""
        c.started = True
        c.verified = c.first = place
        held = c.s_head
        while held is not None:
            held.seq = add(held.seq, -c.shift)
            held = held.next
        while c.s_head is not None and at_or_before(end_of(c.s_head), place):
            self.engine.use_up(c)

    def _hold_control(self, c: Connection, frame: Frame) -> None:
        c.control = [*(c.control or ()), frame]
        self.engine.hold(c, Side.PRIMARY, frame)

    def _release(self, frame: Frame) -> None:
        self.context.tracing.released(frame)
        self.context.release(frame)

    def _release_control(self, c: Connection, flag: int) -> None:
        """Let the primary's SYNs, or RSTs, leave that waited for the secondary's."""
        waiting, c.control = c.control or (), None
        stay = []
        for frame in waiting:
            if frame.flags & flag:
                self.engine.unhold(c, Side.PRIMARY, frame)
                self._release(frame)
                if frame.flags & ACK and flag == SYN:
                    self.engine.saw_client(c, frame.ack, add(frame.ack, frame.window))
            else:
                stay.append(frame)
        c.control = stay or None
        c.closed = c.closed or (flag == RST and c.p_rst)

    # What the engine asks

    def differs(self, c: Connection, place: int, p: Frame, s: Frame) -> bool:
        """The streams differ at or after `place`, within the two frames. True: it is as if `s` had not come."""
        if s.stale:  # perhaps the old epoch's last word; the new one's secondary says its own, again if need be
            self.engine.use_up(c)
            return True
        p_at, s_at = (place - p.seq) & 0xFFFFFFFF, (place - s.seq) & 0xFFFFFFFF
        if p_at < p.size and s_at < s.size:
            self.context.tracing.differing(c, p, s)
            same = first_difference(payload(p)[p_at:], payload(s)[s_at:])
            c.verified = add(place, same)
            c.verified_bytes += same
            self.engine.verified_bytes += same
            self.context.diverge(
                c, Reason.TCP_PAYLOAD, "the bytes differ", p, s, c.verified, p_at + same, s_at + same
            )  # fmt: skip
            return False
        early, late = ("primary", "secondary") if p_at >= p.size else ("secondary", "primary")
        self.context.diverge(
            c, Reason.TCP_FIN, f"the {early} ends its stream here, the {late} goes on", p, s, place, p_at, s_at
        )  # fmt: skip
        return False

    def resume(self, c: Connection) -> None:
        """Go on behind what was released without being compared: the primary's place is the connection's."""
        if not c.started and c.p_syn is not None:
            self._start(c, add(c.p_syn.isn, 1))
        if c.owes:
            self.acks.owed(c)
        self.refresh(c)

    def release_parts(self) -> None:
        """Prefix release: the verified beginning of a large frame leaves as a frame of its own.

        The secondary may be unable to send the rest before the client has acknowledged this part.
        """
        waiting, self.engine.partials = self.engine.partials, []
        for c in waiting:
            c.partial = False
            if c.p_head is not None:
                self._part(c, c.p_head, distance(c.p_head.seq, c.verified))

    def _part(self, c: Connection, p: Frame, ready: int) -> None:
        """Let what is verified of a frame of the primary, its first `ready` bytes, leave in front of the rest."""
        whole = p.parts is None and c.diverged is None and self.context.config.prefix_release
        if whole and p.done < ready < p.size:
            self.acks.part(c, p, ready)

    def refresh(self, c: Connection) -> None:
        """Say whether the engine may take this connection's ordinary segments itself."""
        ordinary = (
            c.started
            and c.diverged is None
            and c.control is None
            and not (c.p_rst or c.s_rst or c.closed)
            and self.context.decided(c)
        )
        self.engine.refresh(c)
        c.p_fast = c.p_fast and ordinary and not c.p_moved
        c.s_fast = c.s_fast and ordinary and not c.s_moved and self.context.now >= self.context.stale_until


def end_of(frame: Frame) -> int:
    """The place behind a frame's last, FIN included."""
    place: int = frame.seq + frame.size + frame.fin
    return place & 0xFFFFFFFF


def contradiction(a: Frame, b: Frame, base: int, low: int, high: int) -> int | None:
    """The first place of low..high (from base) for which two frames have different bytes."""
    a_low, b_low = distance(base, a.seq), distance(base, b.seq)
    low, high = max(low, a_low, b_low), min(high, a_low + a.size, b_low + b.size)
    ours = bytes(a.buf[a.data + low - a_low : a.data + high - a_low]) if low < high else b""
    theirs = bytes(b.buf[b.data + low - b_low : b.data + high - b_low]) if low < high else b""
    return None if ours == theirs else low + first_difference(ours, theirs)


def part_of(frame: Frame) -> Frame:
    """A piece that stands for some of a frame's bytes. Only the last piece counts in the accounts."""
    piece = Frame()
    piece.lease, piece.buf, piece.start, piece.end, piece.data = (
        frame.lease, frame.buf, frame.start, frame.end, frame.data
    )  # fmt: skip
    piece.headroom, piece.vnet_len, piece.flags, piece.ack, piece.window = (
        frame.headroom, frame.vnet_len, frame.flags, frame.ack, frame.window
    )  # fmt: skip
    piece.time, piece.parts, piece.stale = frame.time, frame.parts, frame.stale
    return piece


def scale(syn: Syn) -> int:
    """The window scale that a SYN-ACK puts into force (RFC 7323, 2.2); -1, unknown, for a SYN: its answer is unseen."""
    if not syn.answers:
        return -1
    return min(syn.options.window_scale or 0, 14)


def describe(syn: Syn) -> str:
    """A SYN's offer in words."""
    o = syn.options
    return (
        f"{'SYN-ACK' if syn.answers else 'SYN'} mss {o.mss}, window scale {o.window_scale}, "
        f"sack {'yes' if o.sack_permitted else 'no'}, timestamps {'yes' if o.timestamps else 'no'}"
    )
