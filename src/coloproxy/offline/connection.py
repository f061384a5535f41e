"""A TCP connection of both replicas: its two halves joined, handed on to the comparator, and judged at the end."""

from coloproxy.compare.events import Divergence, Reason
from coloproxy.offline.places import Ranges
from coloproxy.offline.report import Compared, Difference, Verdict
from coloproxy.offline.segment import MASK
from coloproxy.offline.shared import NAMES, Shared
from coloproxy.offline.stream import Stream
from coloproxy.offline.translate import ether
from coloproxy.packet.serial import distance

UNRELATED = 1 << 30  # bytes between the beginnings of two captures of one connection, at most
FAR_APART = "the captures are too far apart: what one has of it waits for what the other does not have"


class Connection:
    """Both halves of one connection; until they are joined, or for ever, only one.

    start: the place at which both begin. leaps: places of which one of the captures lacks so many at once that they are
    passed over.
    """

    def __init__(self, shared: Shared, stream: Stream) -> None:
        self.shared = shared
        self.halves: list[Stream | None] = [None, None]
        self.halves[stream.side] = stream
        self.number = 0
        self.start = 0
        self.unseen = self.skipped = self.differences = 0
        self.ended_apart = False
        self.leaps = Ranges()
        self.ethers: list[bytes] = []
        self.blind = ""

    # Joining

    def join(self, stream: Stream) -> None:
        """The other half is found."""
        self.halves[stream.side] = stream
        p, s = self._both()
        p.other, s.other = s, p
        p.connection = s.connection = self
        self.number = self.shared.judge.admit(self)
        self.ethers = [ether(p.name, self.shared.turn(p.name))]
        self.leaps = p.leaps
        for half in (p, s):
            half.subject, half.ether = self.number, self.ethers[0]
        if not (p.syn and s.syn):
            gap = distance(p.origin, s.origin)
            if abs(gap) > UNRELATED:
                self.go_blind("the captures begin within it, and number its bytes differently")
                return
            s.move(gap)
            self.start = max(p.first, s.first, 0) if p.syn or s.syn else max(p.first, s.first)
            p.start_at(self.start)
            s.start_at(self.start)
        for low, high in s.leaps.ranges:
            self.leaps.add(low, high)
        p.plain = s.plain = p.plain and s.plain
        if p.name.key != s.name.key:
            s.rename = p.name
        if s.rename is not None or p.origin != s.origin:
            s.renumber = p.origin
        for half, other in ((p, s), (s, p)):
            if half.blind:
                self.go_blind(half.blind)
                return
            half.settle()
            if half.ended:
                other.reach(half.next)

    def _both(self) -> tuple[Stream, Stream]:
        p, s = self.halves
        assert p is not None
        assert s is not None
        return p, s

    # What is lacking

    def ether(self, place: int) -> bytes:
        """The ethertype of a frame at this place. Behind a leap the comparator is to see another connection begin."""
        leaps = self.leaps.before(place) if self.leaps else 0
        while leaps >= len(self.ethers):
            name = self._both()[0].name
            self.ethers.append(ether(name, self.shared.turn(name)))
        return self.ethers[leaps]

    def count_gaps(self) -> None:
        """Count what one of the halves lacks, as far as both have come, and forget about it."""
        p, s = self._both()
        place = min(p.next, s.next)
        lacking = Ranges()
        for low, high in p.gaps.within(self.start, place) + s.gaps.within(self.start, place):
            lacking.add(low, high)
        self.unseen += sum(high - low for low, high in lacking.ranges)
        p.gaps.drop(place)
        s.gaps.drop(place)
        p.plain = s.plain = not (p.gaps or s.gaps or self.leaps)

    def go_blind(self, why: str) -> None:
        """Compare it no further."""
        self.blind = why
        for half in self.halves:
            if half is not None:
                half.forget(why)

    def fill_holes(self) -> None:
        """Take what either half lacks for lost."""
        for half in self.halves:
            while half is not None and half.ahead and not half.blind:
                half.fill_hole()
                half.settle()

    def give_up(self, why: str) -> None:
        """Compare it no further, which is a difference."""
        p, s = self.halves
        name = (p or s).name  # type: ignore[union-attr]
        self.differences += 1
        self.shared.findings.differs(
            Difference(reason=Reason.MEMORY_LIMIT, detail=why, connection=name.endpoints, rule=name.rule)
        )
        self.go_blind(why)

    def weight(self) -> int:
        """How many bytes of it wait."""
        return sum(len(s.data) for half in self.halves if half is not None for s in half.queue)

    # Judging

    def differs(self, divergence: Divergence, frames: tuple[list[int], list[int]]) -> None:
        """The comparator found the halves to differ, and goes on behind what it has of the primary."""
        p, s = self._both()
        self.differences += 1
        place = None
        if divergence.reason != Reason.TCP_SYN_OPTIONS and divergence.seq is not None:
            place = p.fed - (p.origin + p.fed - divergence.seq & MASK)
            end = next((low for low, _ in self.leaps.ranges if low > place), p.data_end)
            self.skipped += max(min(p.fed, end) - place, 0)
        self.ended_apart |= divergence.reason == Reason.TCP_FIN
        self.shared.findings.differs(
            Difference(
                reason=divergence.reason, detail=divergence.detail, connection=p.name.endpoints, rule=divergence.rule,
                secondary_connection=s.name.endpoints if s.name.key != p.name.key else None,
                offset=None if place is None else place - self.start, seq=divergence.seq,
                secondary_seq=None if place is None else s.origin + place & MASK,
                primary=divergence.primary, secondary=divergence.secondary, context_offset=divergence.context_offset,
                primary_frames=list(filter(None, frames[0])), secondary_frames=list(filter(None, frames[1])),
            )
        )  # fmt: skip

    def quiet(self) -> bool:
        """Whether both halves have ended alike and nothing waits."""
        p, s = self.halves
        if p is None or s is None:
            return False
        if self.blind:
            return True
        closed = (p.fin is not None and s.fin is not None and p.next == s.next) or (
            p.reset is not None and s.reset is not None
        )
        return closed and not (p.queue or s.queue or p.ahead or s.ahead)

    def end(self) -> None:
        """Nothing more will come: hand on the last of it."""
        for half in self.halves:
            if half is not None:
                half.end()
        p, s = self.halves
        if p is not None and s is not None and not self.blind:
            self.count_gaps()
            if p.reset is not None and s.reset is not None:
                for half, r in ((p, p.reset), (s, s.reset)):
                    half.hand_on(r.number, r.low, r.low, r.data, r.l3, r.l4, 0)

    def finish(self) -> Compared:
        """Judge what only one half has. The comparator has been given, and has judged, the rest."""
        self.shared.judge.dismiss(self.number)
        p, s = self.halves
        if p is None or s is None:
            return self._alone(p or s)
        compared_to = min(p.fed, s.fed) if self.blind else min(p.data_end, s.data_end)
        verified = compared_to - self.start - self.unseen - self.skipped
        note = self.blind
        if not self.blind:
            if not (p.syn and s.syn) and min(p.data_end, s.data_end) <= self.start and p.data_end != s.data_end:
                note = "the captures have no part of it in common, or number its bytes differently"
            else:
                note = self._rests(p, s)
        before = sum(max(self.start - max(half.first, 0), 0) for half in (p, s))
        return self._compared(p, s, note, verified=max(verified, 0), before=before)

    def _rests(self, p: Stream, s: Stream) -> str:
        """What only one half has, as differences; where that is no fault of the replica, as a note."""
        note = ""
        for half, other in ((p, s), (s, p)):
            side = half.side
            length = self._length(half, max(other.next, self.start))
            ends = half.fin is not None and other.fin is None
            resets = half.reset is not None and other.reset is None
            if self.shared.broken[1 - side]:
                if length or ends or resets:
                    note = f"the {NAMES[1 - side]}'s capture could not be read to the end of it"
                continue
            if length and not self.ended_apart:
                self._only(half, Reason.TIMEOUT_PRIMARY_ONLY, f"sent these {length:,} bytes", length)
            elif ends and not self.ended_apart:
                self._only(half, Reason.TCP_FIN, "ended its stream")
            if resets:
                self._only(half, Reason.TCP_RST, "reset the connection")
        return note

    def _length(self, half: Stream, place: int) -> int:
        """How many bytes a half has from a place on."""
        end = half.data_end
        return max(end - place - sum(high - low for low, high in half.gaps.within(place, end)), 0)

    def _only(self, half: Stream, reason: Reason, what: str, length: int | None = None) -> None:
        side = half.side
        if side and reason == Reason.TIMEOUT_PRIMARY_ONLY:
            reason = Reason.TIMEOUT_SECONDARY_ONLY
        place = half.rest if half.rest is not None else max(half.first, 0)
        p, s = self.halves
        ends = (p or half).name
        frames = half.sample_frames if length else []
        if reason == Reason.TCP_RST and half.reset is not None:
            frames = [half.reset.number]
        self.differences += 1
        self.shared.findings.differs(
            Difference(
                reason=reason, detail=f"only the {NAMES[side]} has {what}", connection=ends.endpoints, rule=ends.rule,
                secondary_connection=s.name.endpoints if s is not None and s.name.key != ends.key else None,
                offset=place - self.start, length=length,
                seq=p.origin + place & MASK if p is not None else None,
                secondary_seq=s.origin + place & MASK if s is not None else None,
                primary="" if side else half.sample.hex(), secondary=half.sample.hex() if side else "",
                primary_frames=[] if side else list(filter(None, frames)),
                secondary_frames=list(filter(None, frames)) if side else [],
            )
        )  # fmt: skip

    def _alone(self, half: Stream | None) -> Compared:
        """Only one capture has this connection."""
        assert half is not None
        other = 1 - half.side
        note = f"only in the {NAMES[half.side]}'s capture"
        if half.blind:
            note = half.blind
        elif self.shared.broken[other]:
            note += f"; the {NAMES[other]}'s capture could not be read to its end"
        elif not half.syn and self.shared.began_later(half.side, half.last):
            note += f"; it was there before the {NAMES[other]}'s capture begins"
        else:
            half.stay_alone()
            length = self._length(half, max(half.first, 0))
            only, what = Reason.TIMEOUT_PRIMARY_ONLY, "this connection"
            if length:
                self._only(half, only, f"{what}, and sent these {length:,} bytes", length)
            elif half.reset is not None:
                self._only(half, Reason.TCP_RST, f"{what}, and reset it")
            else:
                self._only(half, only, what)
        half.forget(half.blind)
        return self._compared(half if not half.side else None, half if half.side else None, note)

    def _compared(
        self, p: Stream | None, s: Stream | None, note: str, verified: int = 0, before: int = 0
    ) -> Compared:  # fmt: skip
        name = p or s
        assert name is not None
        verdict: Verdict = "differs" if self.differences else "same"
        if verdict == "same" and note and not verified:
            verdict = "not compared"
        both = p is not None and s is not None and p.name.key != s.name.key
        return Compared(
            connection=name.name.endpoints, verdict=verdict, verified=verified, differences=self.differences,
            unseen=self.unseen, before=before, skipped=self.skipped, note=note,
            frames=(p.frames if p else 0, s.frames if s else 0),
            secondary_connection=s.name.endpoints if both and s is not None else None,
        )  # fmt: skip
