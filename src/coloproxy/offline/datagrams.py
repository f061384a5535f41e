"""UDP, ICMP and other IP between two ends: equal datagrams of both captures are brought together, in any order.

A datagram that finds no partner among those the other side sent at that place, or not much earlier or later, is set
against one of these that has none either; where there is none it is what only one side has sent. The comparator judges
what was brought together.
"""

from collections.abc import Iterator

import msgspec

from coloproxy.compare.context import first_difference
from coloproxy.compare.events import Divergence, Reason
from coloproxy.offline.report import Compared, Difference, Verdict
from coloproxy.offline.shared import CONTEXT, FRAMES, NAMES, Origin, Shared
from coloproxy.offline.translate import ether, rename
from coloproxy.packet.parse import ICMP_ECHO, ICMPV6_ECHO, Kind, Packet

REORDERED = 64  # datagrams by which one may be overtaken
NEAR = 8  # places by which two that differ may lie apart
COST = 600  # bytes of memory counted for a datagram besides its data
ICMPS = (Kind.ICMP, Kind.ICMPV6)


class Datagram(msgspec.Struct, gc=False):
    """data[l3:end] is its IP packet, data[payload:end] what the comparator compares; `content` is what makes two equal,
    and `known` says how many bytes of it the capture has. place: which of its side's it is."""

    number: int
    place: int
    time: int
    data: bytes
    l3: int
    l4: int
    payload: int
    end: int
    content: bytes
    known: int

    @property
    def cut(self) -> bool:
        return self.known < len(self.content)

    @property
    def identifier(self) -> bytes:
        """That of an ICMP echo, which is compared but is no part of what makes two equal; otherwise nothing."""
        at = self.l4 + 4
        return self.data[at : at + 2] if self.payload == at and len(self.content) == self.end - at else b""


def datagram(number: int, place: int, time: int, packet: Packet, frame: bytes, there: int) -> Datagram:
    """A datagram from its packet, of which frame[there:] is not known.

    ICMP counts without its checksum, and its echo without the identifier, which is its name.
    """
    l4, end = packet.l4, packet.l4_end
    begin, front = l4, b""
    if packet.kind == Kind.UDP:
        begin, end = packet.payload, packet.payload_end
    elif packet.kind in ICMPS:
        echo = frame[l4] in (ICMP_ECHO if packet.kind == Kind.ICMP else ICMPV6_ECHO) and end - l4 >= 8
        begin, front = l4 + 6 if echo else l4 + 4, frame[l4 : l4 + 2]
    content = front + frame[begin:end]
    payload = l4 + 4 if packet.kind in ICMPS else begin
    known = max(len(content) - max(end - there, 0), 0)
    return Datagram(number, place, time, frame, packet.l3, l4, payload, end, content, known)


class Waiting:
    """One side's datagrams without a partner, in order, and by their content."""

    def __init__(self) -> None:
        self.order: dict[int, Datagram] = {}
        self.by_content: dict[bytes, list[Datagram]] = {}

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Datagram]:
        return iter(self.order.values())

    def first(self) -> Datagram | None:
        return next(iter(self.order.values()), None)

    def add(self, d: Datagram) -> None:
        self.order[d.place] = d
        self.by_content.setdefault(d.content, []).append(d)

    def remove(self, d: Datagram) -> None:
        del self.order[d.place]
        equal = self.by_content[d.content]
        equal.remove(d)
        if not equal:
            del self.by_content[d.content]

    def equal(self, d: Datagram, place: int, cut: bool) -> Datagram | None:
        """The nearest to a place that is equal; cut: some are, and equal as far as they are known."""
        if not cut:
            return min(self.by_content.get(d.content, ()), key=lambda other: abs(other.place - place), default=None)
        for other in self:
            known = min(d.known, other.known)
            if len(d.content) == len(other.content) and d.content[:known] == other.content[:known]:
                return other
        return None


class Flow:
    """The datagrams of both sides between two ends. turn: how many flows there were with these ends before. sent: how
    many of each side have come. skew: by how many places the secondary is ahead, having added some; or, negative, lost.
    """

    def __init__(self, shared: Shared, turn: int) -> None:
        self.shared = shared
        self.turn = turn
        self.names: list[Origin | None] = [None, None]
        self.waiting = (Waiting(), Waiting())
        self.sent = [0, 0]
        self.skew = 0
        self.number = shared.judge.admit(self)
        self.ether = b""
        self.translated = False
        self.cut = False
        self.matched = self.verified = self.unseen = self.before = self.differences = 0
        self.lone: tuple[list[Datagram], list[Datagram]] = ([], [])
        self.lone_count, self.lone_bytes = [0, 0], [0, 0]
        self.offsets: dict[int, int] = {}
        self.last = 0

    def enter(self, side: int, name: Origin) -> None:
        """This side has the flow, too."""
        self.names[side] = name
        p, s = self.names
        self.translated = p is not None and s is not None and p.key != s.key
        self.ether = ether(p or name, self.turn)

    def receive(self, side: int, number: int, packet: Packet, frame: bytes, there: int) -> None:
        """Take a datagram. frame[there:], if the capture cut it, is not known."""
        self.last = time = self.shared.times[side]
        d = datagram(number, self.sent[side], time, packet, frame, there)
        self.sent[side] += 1
        self.cut |= d.cut
        partner = self.waiting[1 - side].equal(d, self._place(side, d), self.cut)
        if partner is not None:
            self._drop(1 - side, partner)
            self._match(*((partner, d) if side else (d, partner)))
        else:
            self.waiting[side].add(d)
            self.shared.waiting[side] += len(frame) + COST
        if self.waiting[0] or self.waiting[1]:
            self._give_up()

    # Bringing together

    def _match(self, p: Datagram, s: Datagram) -> None:
        self.matched += 1
        self.skew = s.place - p.place
        if not (p.cut or s.cut):
            self.verified += p.end - p.payload
            self._hand_on(p, s)
            return
        known = min(p.known, s.known)
        self.verified += known
        self.unseen += len(p.content) - known

    def _hand_on(self, p: Datagram, s: Datagram) -> None:
        judge = self.shared.judge
        judge.put(0, self.number, p.number, self.ether, p.data, p.l3, 0)
        at = judge.put(1, self.number, s.number, self.ether, s.data, s.l3, 0)
        name = self.names[0]
        if self.translated and name is not None:
            l4 = at + s.l4 - s.l3
            rename(judge.batches[1].buf, at, l4 - at, name)
            if p.identifier and s.identifier:
                judge.batches[1].buf[l4 + 4 : l4 + 6] = p.identifier

    def _give_up(self, all_of_it: bool = False) -> None:
        """Let go of what will find no partner any more, or of all that has none."""
        for side in (0, 1):
            while (d := self.waiting[side].first()) is not None and (all_of_it or self._late(side, d)):
                rival = self._rival(side, d, all_of_it)
                if rival is None:
                    self._leave_alone(side, d)
                elif all_of_it or self._late(1 - side, rival):
                    self._set_against(*((rival, d) if side else (d, rival)))
                else:
                    break

    def _late(self, side: int, d: Datagram) -> bool:
        """Whether the other side has gone far past the place of this one, or is over."""
        return self.shared.over[1 - side] or self.sent[1 - side] - self._place(side, d) >= REORDERED

    def _place(self, side: int, d: Datagram) -> int:
        """Which of the other side's a datagram should be equal to."""
        return d.place - self.skew if side else d.place + self.skew

    def _rival(self, side: int, d: Datagram, all_of_it: bool) -> Datagram | None:
        """One of the other side's without a partner that lies near: of the same length if there is one, or the next.

        What was sent before the other capture begins has none.
        """
        if self.shared.began_later(side, d.time):
            return None
        place = self._place(side, d)
        reach = REORDERED if all_of_it else NEAR
        near = [other for other in self.waiting[1 - side] if abs(other.place - place) <= reach]
        return min(near, key=lambda o: (len(o.content) != len(d.content), abs(o.place - place)), default=None)

    def _set_against(self, p: Datagram, s: Datagram) -> None:
        """Two that differ: the comparator tells how. What a capture does not have of one is zeros in both."""
        self._drop(0, p)
        self._drop(1, s)
        if p.cut or s.cut:
            known = min(d.known for d in (p, s) if d.cut)
            p, s = (msgspec.structs.replace(d, data=_blanked(d, known)) for d in (p, s))
        theirs = s.data[s.payload : s.end]
        if self.translated and p.identifier and s.identifier:
            theirs = p.identifier + theirs[2:]
        self.offsets[p.number] = first_difference(p.data[p.payload : p.end], theirs)
        self._hand_on(p, s)

    def _drop(self, side: int, d: Datagram) -> None:
        self.waiting[side].remove(d)
        self.shared.waiting[side] -= len(d.data) + COST

    def _leave_alone(self, side: int, d: Datagram) -> None:
        """It is what only this side has."""
        self._drop(side, d)
        if self.shared.began_later(side, d.time):
            self.before += len(d.content)
            if not self.matched:
                self.skew += 1 if side else -1
            return
        self.lone_count[side] += 1
        self.lone_bytes[side] += len(d.content)
        if len(self.lone[side]) < FRAMES:
            self.lone[side].append(d)

    # Judging

    def differs(self, divergence: Divergence, frames: tuple[list[int], list[int]]) -> None:
        """The comparator found two datagrams to differ."""
        p, s = self.names
        assert p is not None
        self.differences += 1
        self.shared.findings.differs(
            Difference(
                reason=divergence.reason, detail=divergence.detail, connection=p.endpoints, rule=divergence.rule,
                secondary_connection=s.endpoints if s is not None and s.key != p.key else None,
                offset=self.offsets.pop(frames[0][0], None), primary=divergence.primary, secondary=divergence.secondary,
                context_offset=divergence.context_offset, primary_frames=frames[0][:1], secondary_frames=frames[1][:1],
            )
        )  # fmt: skip

    def quiet(self) -> bool:
        """Whether nothing waits."""
        return not (self.waiting[0] or self.waiting[1])

    def weight(self) -> int:
        """How many bytes of it wait."""
        return sum(len(d.data) for waiting in self.waiting for d in waiting)

    def end(self) -> None:
        """Nothing more will come."""
        self._give_up(all_of_it=True)

    def finish(self) -> Compared:
        """Judge what only one side has."""
        self.shared.judge.dismiss(self.number)
        note = "" if self.matched or self.differences else "nothing of it is in both captures"
        for side in (0, 1):
            if self.lone_count[side] and self.shared.broken[1 - side]:
                note = f"the {NAMES[1 - side]}'s capture could not be read to the end of it"
            elif self.lone_count[side]:
                self._only(side)
        name, other = self.names if self.names[0] is not None else (self.names[1], None)
        assert name is not None
        verdict: Verdict = "differs" if self.differences else "same" if self.matched else "not compared"
        return Compared(
            connection=name.endpoints, verdict=verdict, verified=self.verified, differences=self.differences,
            unseen=self.unseen, before=self.before, note=note, frames=(self.sent[0], self.sent[1]),
            secondary_connection=other.endpoints if other is not None and other.key != name.key else None,
        )  # fmt: skip

    def _only(self, side: int) -> None:
        count, length, lone = self.lone_count[side], self.lone_bytes[side], self.lone[side]
        name = self.names[side]
        assert name is not None
        sample = lone[0].content[:CONTEXT].hex()
        numbers = [d.number for d in lone]
        what = f"this datagram of {length:,} bytes" if count == 1 else f"these {count:,} datagrams, {length:,} bytes"
        self.differences += 1
        self.shared.findings.differs(
            Difference(
                reason=Reason.TIMEOUT_SECONDARY_ONLY if side else Reason.TIMEOUT_PRIMARY_ONLY,
                detail=f"only the {NAMES[side]} has sent {what}",
                connection=(self.names[0] or name).endpoints, rule=name.rule, length=length,
                primary="" if side else sample, secondary=sample if side else "",
                primary_frames=[] if side else numbers, secondary_frames=numbers if side else [],
            )
        )  # fmt: skip


def _blanked(d: Datagram, known: int) -> bytes:
    """A datagram's data with zeros behind the first `known` bytes of its content."""
    begin = d.end - max(len(d.content) - known, 0)
    return d.data[:begin] + bytes(len(d.data) - begin)
