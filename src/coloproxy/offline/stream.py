"""One replica's half of a TCP connection, as its capture has it, made ready to be compared with the other's.

A place is the distance from the first byte behind the SYN; without a SYN, from where the halves were joined. A segment
is handed on to the comparator once the other half is known up to its end, so that what the other's capture does not
have there can be left out on both sides. Every place is handed on once, in order, as it was seen first.
"""

import struct
import sys
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from coloproxy.offline.places import Places, Ranges
from coloproxy.offline.segment import FIN, MASK, RST, SYN, Segment, fillers, part, template_of, whole
from coloproxy.offline.shared import CONTEXT, FRAMES, Origin, Shared
from coloproxy.offline.translate import rename
from coloproxy.packet.parse import ETHERNET, Packet
from coloproxy.packet.serial import distance

if TYPE_CHECKING:
    from coloproxy.offline.connection import Connection

UNEXPECTED = -1  # no sequence number
REORDERED = 16 << 20  # bytes seen behind a hole, after which nothing is expected to fill it
NEAR = 1 << 28  # bytes that a segment may lie ahead of or behind another, and yet not be told by 4 GiB
LARGEST_FILLED = 1 << 20  # bytes in a gap that are made up; a larger one is leapt over
TURN = 64  # segments handed on before it is the other half's turn
COST = 250  # bytes of memory counted for a segment besides its data

_SEQ = struct.Struct(">I")


class Stream(Places):
    """One half.

    origin: the sequence number of place 0. expected: the number with which an ordinary segment goes on, UNEXPECTED
    while none is ordinary. gaps: places that this side's capture lacks and that were not counted yet; leaps: large
    ones, until a connection takes these over. plain: neither half lacks anything. queue: segments that wait for the
    other half; fed: where the last that was handed on ends. fin: the place of the FIN. rest: the place from which on
    the other half, which has ended, has nothing; sample, sample_frames: what this half has there.

    What is handed on has the sequence number `renumber` at place 0, and the addresses and ports of `rename`, unless
    these are None.
    """

    __slots__ = (
        "blind", "connection", "ended", "ether", "expected", "fed", "fin", "first", "frames", "gaps", "judge", "last",
        "latest", "leaps", "name", "origin", "other", "plain", "queue", "rename", "renumber", "reset", "rest", "sample",
        "sample_frames", "shared", "side", "subject", "syn", "template",
    )  # fmt: skip

    def __init__(self, side: int, name: Origin, shared: Shared, packet: Packet, frame: bytes) -> None:
        self.side = side
        self.name = name
        self.shared = shared
        self.judge = shared.judge
        self.syn = bool(packet.flags & SYN)
        super().__init__(-self.syn)
        self.origin = (packet.seq + self.syn) & MASK
        self.expected = UNEXPECTED
        self.first = self.latest = self.fed = self.next
        self.template = template_of(packet, frame)
        self.queue: deque[Segment] = deque()
        self.gaps, self.leaps = Ranges(), Ranges()
        self.plain = True
        self.other: Stream | None = None
        self.connection: Connection | None = None
        self.subject, self.ether = 0, b""
        self.renumber: int | None = None
        self.rename: Origin | None = None
        self.fin: int | None = None
        self.reset: Segment | None = None
        self.rest: int | None = None
        self.sample = b""
        self.sample_frames: list[int] = []
        self.ended = False
        self.blind = ""
        self.frames = self.last = 0

    # Segments in

    def ordinary(self, number: int, data: bytes, l4: int, payload: int, size: int) -> None:
        """Take the segment that goes on where the last one ended: its `size` bytes, and neither SYN, FIN nor RST.

        data: an Ethernet frame without VLAN tags.
        """
        self.frames += 1
        if not size:
            return
        low = self.next
        self.next = high = low + size
        self.expected = (self.expected + size) & MASK
        other = self.other
        if other is None:
            self.last = self.shared.times[self.side]
            self._wait(Segment(number, low, low, size, high, data, ETHERNET, l4, payload))
            return
        if high <= other.next and self.plain and not self.queue:
            self.hand_on(number, low, high, data, ETHERNET, l4, 0)
        else:
            self._wait(Segment(number, low, low, size, high, data, ETHERNET, l4, payload))
            if high <= other.next:
                self.shared.let_go.add(self)
        if other.queue:
            self.shared.let_go.add(other)

    def receive(self, number: int, packet: Packet, frame: bytes, there: int) -> None:
        """Take any segment. frame[there:], if the capture cut it, is not known."""
        self.frames += 1
        self.last = self.shared.times[self.side]
        if self.blind or self.ended:
            return
        s = whole(number, self.place(packet.seq), packet, frame)
        if packet.flags & RST:
            self.reset = self.reset or s
        elif s.high > s.low:
            if packet.flags & FIN and self.fin is None:
                self.fin = s.high - 1
            self._take(s, s.high if there >= packet.payload_end else s.begin + max(there - packet.payload, 0))
            self.latest = s.high
        self.settle()

    def place(self, seq: int) -> int:
        """The place of a sequence number: near the last segment's, near the first that is missing, or far ahead."""
        for near in (self.latest, self.next) if self.ahead else (self.next,):
            step = distance(self.origin + near & MASK, seq)
            if abs(step) <= NEAR and (near + step >= -1 or not self.syn):
                return near + step
        far = self.ahead.ranges[-1][1] if self.ahead else self.next
        return far + (seq - self.origin - far & MASK)

    def _take(self, s: Segment, known: int) -> None:
        """Keep what is new of a segment whose bytes are known up to a place."""
        end = s.begin + s.size
        for low, high in self.see(s.low, s.high):
            if low < known:
                self._keep(part(s, low, min(high, known), self.origin))
            if known < high:
                self._lack(max(low, known), min(high, end))
                if high > end:
                    self._keep(part(s, end, high, self.origin))

    def _keep(self, s: Segment) -> None:
        """A segment waits for the other half; of what lies behind the other's end a sample is enough."""
        if self.rest is None or s.high <= self.rest:
            self._wait(s)
            return
        if s.low < self.rest:
            self._wait(part(s, s.low, self.rest, self.origin))
            s = part(s, self.rest, s.high, self.origin)
        if len(self.sample_frames) < FRAMES:
            self.sample_frames.append(s.number)
        if s.low == self.rest + len(self.sample) and len(self.sample) < CONTEXT:
            self.sample += s.bytes_at(s.begin, CONTEXT - len(self.sample))

    def _wait(self, s: Segment) -> None:
        """Queue a segment, by its place."""
        if self.queue and s.low < self.queue[-1].low:
            self.queue.insert(bisect_left(self.queue, s.low, key=_low), s)
        else:
            self.queue.append(s)
        self.shared.waiting[self.side] += len(s.data) + COST

    def _unqueue(self) -> list[Segment]:
        """Take all out of the queue."""
        segments = list(self.queue)
        self.queue.clear()
        self.shared.waiting[self.side] -= sum(len(s.data) + COST for s in segments)
        return segments

    # What the capture lacks

    def fill_hole(self) -> None:
        """Nothing is expected any more to fill the first hole."""
        low, high = self.next, self.ahead.ranges[0][0]
        self.see(low, high)
        self._lack(low, high)

    def _lack(self, low: int, high: int) -> None:
        """These places count as seen; zeros stand for them, on both sides, or they are leapt over."""
        if low == high:
            return
        self.gaps.add(low, high)
        self.plain = False
        if self.other is not None:
            self.other.plain = False
        if high - low > LARGEST_FILLED:
            (self.leaps if self.connection is None else self.connection.leaps).add(low, high)
            return
        header, l4 = self.template
        for s in fillers(header, l4, low, high, self.origin):
            self._keep(s)

    # Together with the other half

    def settle(self) -> None:
        """After a change: hand on what can be, of both halves."""
        if self.ahead and self.ahead.total > REORDERED:
            self.fill_hole()
        while self.other is not None and self.flush(TURN) + self.other.flush(TURN):
            pass
        irregular = self.ahead or self.ended or self.blind or self.fin is not None or self.rest is not None
        leaps = self.connection is not None and self.connection.leaps
        self.expected = UNEXPECTED if irregular or leaps else self.origin + self.next & MASK

    def flush(self, most: int = sys.maxsize) -> int:
        """Hand on the segments, or the first of them, up to whose end both halves are known; returns how many."""
        assert self.other is not None
        queue, place = self.queue, min(self.next, self.other.next)
        freed = count = 0
        while queue and queue[0].high <= place and count < most:
            s = queue.popleft()
            count += 1
            freed += len(s.data) + COST
            if self.plain:
                self.hand_on(s.number, s.low, s.high, s.data, s.l3, s.l4, s.zeros)
            else:
                self._hand_on_known(s)
        self.shared.waiting[self.side] -= freed
        if not self.plain and not queue and not self.other.queue and self.connection is not None:
            self.connection.count_gaps()
        return count

    def hand_on(self, number: int, low: int, high: int, data: bytes, l3: int, l4: int, zeros: int) -> int:
        """Give a segment to the comparator; returns where its IP header lies in the batch."""
        at = self.judge.put(self.side, self.subject, number, self.ether, data, l3, zeros)
        if high > self.fed:
            self.fed = high
        if self.renumber is not None:
            buf = self.judge.batches[self.side].buf
            _SEQ.pack_into(buf, at + l4 - l3 + 4, self.renumber + low & MASK)
            if self.rename is not None:
                rename(buf, at, l4 - l3, self.rename)
        return at

    def _hand_on_known(self, s: Segment) -> None:
        """Hand on what of a segment both captures have."""
        assert self.connection is not None
        assert self.other is not None
        for low, high in self.connection.leaps.outside(s.low, s.high):
            p = part(s, low, high, self.origin)
            self.ether = self.connection.ether(low)
            at = self.hand_on(p.number, low, high, p.data, p.l3, p.l4, p.zeros) + p.payload - p.l3 - p.begin
            buf = self.judge.batches[self.side].buf
            for first, last in self.other.gaps.within(p.begin, p.begin + p.size):
                buf[at + first : at + last] = bytes(last - first)

    def end(self) -> None:
        """Nothing more will come of this half: what is lacking stays so, and the other is compared up to here."""
        if self.ended:
            return
        self.ended = True
        while self.ahead:
            self.fill_hole()
        self.settle()
        if self.other is not None:
            self.other.reach(self.next)

    def reach(self, place: int) -> None:
        """The other half ends here: what lies behind can only be counted."""
        if self.rest is not None:
            return
        self.rest = place
        for s in self._unqueue():
            self._keep(s)
        self.settle()

    def stay_alone(self) -> None:
        """There is no other half."""
        self.reach(max(self.first, 0))

    def start_at(self, place: int) -> None:
        """Begin here: what was seen before has nothing to be compared with."""
        self.see(self.next, place)
        for s in self._unqueue():
            if s.high > place:
                self._keep(part(s, max(s.low, place), s.high, self.origin))

    def move(self, places: int) -> None:
        """Count places from another one."""
        self.next += places
        self.first += places
        self.latest += places
        self.fed += places
        self.origin = self.origin - places & MASK
        self.fin = None if self.fin is None else self.fin + places
        for ranges in (self.ahead, self.gaps, self.leaps):
            ranges.move(places)
        for s in (*self.queue, *([self.reset] if self.reset else ())):
            s.low, s.begin, s.high = s.low + places, s.begin + places, s.high + places

    def forget(self, why: str) -> None:
        """Drop what waits, and take no more."""
        self._unqueue()
        self.blind = why
        self.expected = UNEXPECTED

    @property
    def data_end(self) -> int:
        """The place behind the last byte of data seen in a row."""
        return self.fin if self.fin is not None and self.fin < self.next else self.next


def _low(s: Segment) -> int:
    return s.low
