"""A TCP connection as QEMU keeps it and, beside that, what a comparator ought to know of it."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from reasons import Reason
from said import Segment

HALF, MASK = 0x80000000, 0xFFFFFFFF


def after(a: int, b: int) -> bool:
    """Whether place a lies behind place b (RFC 1982)."""
    return 0 < (a - b) & MASK < HALF


def later(a: int | None, b: int) -> int:
    """The later of two places; a may be unknown."""
    return b if a is None or after(b, a) else a


class Held(NamedTuple):
    """A segment in a queue of QEMU, `done` bytes of which have been compared. `life` that it belongs to; `order` of
    arrival; `new`: it brought bytes that were not verified."""

    said: Segment
    done: int
    life: int
    order: int
    new: bool

    @property
    def next(self) -> int:
        """The place of the first byte that has not been compared."""
        return (self.said.first + self.done) & MASK

    @property
    def left(self) -> bytes:
        return self.said.payload[self.done :]


@dataclass
class Life:
    """What ought to be known of a connection from one SYN to the next. Places and acknowledgements are None while
    unknown: the next place to verify, the largest acknowledgement of each side, where each side's FIN is."""

    verified: int | None = None
    p_isn: int | None = None
    s_isn: int | None = None
    p_options: bytes = b""
    s_options: bytes = b""
    p_ack: int | None = None
    s_ack: int | None = None
    p_end: int | None = None
    s_end: int | None = None
    p_fin: int | None = None
    s_fin: int | None = None
    p_rst: bool = False
    s_rst: bool = False
    diverged: bool = False

    def ends_with(self, side: str, syn: Segment) -> bool:
        """Whether this SYN begins another."""
        isn, ack, rst = (self.p_isn, self.p_ack, self.p_rst) if side == "p" else (self.s_isn, self.s_ack, self.s_rst)
        if isn is not None:
            return isn != syn.seq
        return ack is not None or rst or (side == "p" and self.verified is not None)

    def misplaces(self, side: str, said: Segment) -> bool:
        """Whether a side ends its stream at two places, before its beginning, or goes on behind its end."""
        isn, fin, end = (self.p_isn, self.p_fin, self.p_end) if side == "p" else (self.s_isn, self.s_fin, self.s_end)
        if said.fin:
            early = (isn is not None and not after(said.end, isn)) or (end is not None and after(end, said.end))
            return early or fin not in (None, said.end)
        return bool(said.payload) and fin is not None and after(said.end, fin)

    def reached(self, place: int) -> bool:
        """Whether all before this place is verified."""
        return self.verified is not None and not after(place, self.verified)

    def hears_primary(self, said: Segment) -> None:
        if said.syn and self.p_isn is None:
            self.p_isn, self.p_options = said.seq, said.options
        elif self.verified is None and self.p_isn is None and not said.rst and (said.payload or said.fin):
            self.verified = said.first
        self.p_rst |= said.rst
        if said.flags & 0x10 and not said.rst:
            self.p_ack = later(self.p_ack, said.ack)
        if said.payload or said.fin:
            self.p_end = later(self.p_end, said.end)
        if said.fin:
            self.p_fin = said.end
        self._begin()

    def hears_secondary(self, said: Segment) -> None:
        if said.syn and self.s_isn is None:
            self.s_isn, self.s_options = said.seq, said.options
        self.s_rst |= said.rst
        if said.flags & 0x10 and not said.rst:
            self.s_ack = later(self.s_ack, said.ack)
        if said.payload or said.fin:
            self.s_end = later(self.s_end, said.end)
        if said.fin:
            self.s_fin = said.end
        self._begin()

    def _begin(self) -> None:
        if self.verified is None and self.p_isn is not None and self.s_isn is not None:
            self.verified = (self.p_isn + 1) & MASK

    def may_leave(self, said: Segment) -> Reason | None:
        """Why one of the primary's segments may not leave now; None: it may."""
        if said.rst:
            return None if self.s_rst else Reason.CONTROL_FLAGS
        if said.syn and not said.payload:
            return None if self.verified is not None and self.s_isn is not None else Reason.CONTROL_FLAGS
        if said.fin and self.s_fin != said.end:
            return Reason.CONTROL_FLAGS
        if (said.fin or said.payload) and not self.reached(said.end):
            return Reason.STREAM_POSITION
        if said.flags & 0x10 and (self.s_ack is None or after(said.ack, self.s_ack)):
            return Reason.ACK_RULE
        return None

    def checkpoint(self, held: list[Segment]) -> None:
        """The secondary is a copy of the primary, whose held segments leave."""
        ends = [said.end for said in held if said.payload or said.fin]
        for end in ends:
            self.verified = later(self.verified, end)
        if self.p_isn is not None and self.verified is None:
            self.verified = (self.p_isn + 1) & MASK
        self.s_isn, self.s_options, self.s_ack = self.p_isn, self.p_options, self.p_ack
        self.diverged = False
        self.s_end, self.s_fin, self.s_rst = self.p_end, self.p_fin, self.p_rst


def contradicts(a: Segment, b: Segment) -> bool:
    """Whether two segments say different things for one place."""
    at = (a.first - b.first) & MASK
    low = at if at < HALF else at - MASK - 1
    ours, theirs = a.payload[max(-low, 0) :], b.payload[max(low, 0) :]
    size = min(len(ours), len(theirs))
    return ours[:size] != theirs[:size]


@dataclass
class Stream:
    """A TCP connection: QEMU's queues, its mark (what ends before it has been compared; 0 says that nothing has), and
    the acknowledgements it heard last. `lives`: from SYN to SYN; `p_life`, `s_life`: in which each side is."""

    lives: list[Life] = field(default_factory=lambda: [Life()])
    p_life: int = 0
    s_life: int = 0
    p: list[Held] = field(default_factory=list)
    s: list[Held] = field(default_factory=list)
    mark: int = 0
    marked: bool = False
    p_ack: int = 0
    s_ack: int = 0
    arrivals: int = 0
    logged: bool = False
    epoch_began: int | None = None

    @property
    def diverged(self) -> bool:
        return any(life.diverged for life in self.lives)

    def copy(self) -> "Stream":
        """As if what follows had not happened."""
        return replace(self, lives=[replace(life) for life in self.lives], p=list(self.p), s=list(self.s))

    def take(self, side: str, said: Segment) -> Reason | None:
        """A segment arrives; the reason that leads out of the domain, if one does."""
        if said.pad:
            return Reason.PADDING
        queue = self.p if side == "p" else self.s
        number = self._life(side, said)
        life = self.lives[number]
        if self.logged and said.payload and self._said_again(side, life, said):
            return Reason.LOG_LINES
        if life.misplaces(side, said) or any(contradicts(said, held.said) for held in queue if held.life == number):
            return Reason.CONTRADICTION
        if side == "p":
            new = bool(said.payload or said.fin) and not life.reached(said.end + said.fin)
            life.hears_primary(said)
            self.p_ack = said.ack
        else:
            new = True
            life.hears_secondary(said)
            self.s_ack = said.ack
        if reason := self._one_sided(life):
            return reason
        if any(held.life < min(self.p_life, self.s_life) for held in self.p):
            return Reason.NEW_CONNECTION
        at = len(queue)
        while at and after(queue[at - 1].said.seq, said.seq):
            at -= 1
        self.arrivals += 1
        queue.insert(at, Held(said, 0, number, self.arrivals, new))
        waiting = list(self.p)
        return self._compare() or self._waits() or self._out_of_order(waiting)

    # A new connection on a known key

    def _life(self, side: str, said: Segment) -> int:
        """The life that a segment belongs to: a SYN with another number than the one before begins the next."""
        own = self.p_life if side == "p" else self.s_life
        if said.syn and self.lives[own].ends_with(side, said):
            own += 1
            if own == len(self.lives):
                self.lives.append(Life())
        if side == "p":
            self.p_life = own
        else:
            self.s_life = own
        return own

    # What the law knows and QEMU does not

    def _said_again(self, side: str, life: Life, said: Segment) -> bool:
        """Whether a side says some bytes again, and others, a FIN, or more than is behind QEMU's mark."""
        furthest = life.p_end if side == "p" else life.s_end
        known = later(furthest, life.verified) if life.verified is not None else furthest
        old = self.marked and not after(said.end, self.mark) and not said.fin
        return known is not None and after(known, said.first) and not old

    @staticmethod
    def _one_sided(life: Life) -> Reason | None:
        if life.p_isn is not None and life.s_isn is not None and life.p_options != life.s_options:
            return Reason.SYN_OPTIONS
        for fin, end in ((life.s_fin, life.p_end), (life.p_fin, life.s_end)):
            if fin is not None and end is not None and after(end, fin):
                return Reason.CONTROL_FLAGS
        return None

    # What QEMU does

    def _compare(self) -> Reason | None:
        """Look at the lowest of both queues until one is empty or the two differ."""
        while self.p and self.s:
            p, s = self.p[0], self.s[0]
            if self.marked and self.mark == 0 and any(x.said.payload and not after(x.said.end, 0) for x in (p, s)):
                return Reason.ZERO_MARK
            p_old, s_old = (self.mark != 0 and not after(x.said.end, self.mark) for x in (p, s))
            leaves = p_old or not p.said.payload
            if leaves:
                del self.p[0]
                reason = self.lives[p.life].may_leave(p.said)
                if reason is not None:
                    return Reason.NEW_CONNECTION if reason is Reason.STREAM_POSITION else reason
            if s_old or not s.said.payload:
                del self.s[0]
                if s.said.payload and not self.lives[s.life].reached(s.said.end):
                    return Reason.NEW_CONNECTION
            elif not leaves:
                reason = self._judge(p, s)
                if reason or self.diverged:
                    return reason
        return None

    def _judge(self, p: Held, s: Held) -> Reason | None:
        """Compare two segments."""
        if p.life != s.life:
            return Reason.NEW_CONNECTION
        life = self.lives[p.life]
        whole = (p.said.seq, p.said.end, p.said.payload) == (s.said.seq, s.said.end, s.said.payload)
        position = p.said.first if whole else p.next
        aligned = whole or p.next == s.next
        if life.diverged and aligned:
            return None
        if not aligned or life.verified is None or after(position, life.verified):
            stale = self.epoch_began is not None and after(self.epoch_began, s.said.first)
            return Reason.STALE_SECONDARY if stale else Reason.STREAM_POSITION
        if whole:
            del self.p[0], self.s[0]
            return self._verify(life, p.said.end, p)
        size = min(len(p.left), len(s.left))
        if p.left[:size] != s.left[:size]:
            if position != life.verified:
                return Reason.BEGINNING if life.p_isn is None else Reason.CONTRADICTION
            same = next(at for at in range(size) if p.left[at] != s.left[at])
            life.verified, life.diverged = (position + same) & MASK, True
            return None
        if after(p.said.end, s.said.end):
            self.p[0] = p._replace(done=p.done + size)
            del self.s[0]
            return self._verify(life, s.said.end, None)
        if after(p.said.ack, self.s_ack) or after(p.said.ack, self.p_ack):
            return Reason.ACK_RULE
        self.s[0] = s._replace(done=s.done + size)
        del self.p[0]
        return self._verify(life, p.said.end, p)

    def _verify(self, life: Life, place: int, leaving: Held | None) -> Reason | None:
        """All before this place is equal."""
        self.mark, self.marked = place, True
        life.verified = later(life.verified, place)
        return life.may_leave(leaving.said) if leaving else None

    def _waits(self) -> Reason | None:
        """QEMU holds what may leave."""
        if any(self.lives[held.life].may_leave(held.said) is None for held in self.p):
            return Reason.PURE_ACK
        return None

    def _out_of_order(self, waiting: list[Held]) -> Reason | None:
        """By number they leave in another order than they came in."""
        still = {held.order for held in self.p}
        left = [held for held in waiting if held.order not in still]
        if any(b.order < a.order and not (a.new and b.new) for at, a in enumerate(left) for b in left[at:]):
            return Reason.RELEASE_ORDER
        return None

    def checkpoint(self) -> None:
        """All that is held leaves, or is dropped; QEMU's mark stays."""
        life = self.lives[self.p_life]
        life.checkpoint([held.said for held in self.p if held.life == self.p_life])
        self.lives, self.p_life, self.s_life = [life], 0, 0
        self.p, self.s = [], []
        self.epoch_began = life.verified
