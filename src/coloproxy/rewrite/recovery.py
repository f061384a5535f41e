"""What a replica that lost something is told in the client's stead, so that it need not wait for a time-out.

While bytes of one replica are missing, those of the other are held: the client sees none of what lies behind them, and
so asks for nothing. The rewriter sees what lies behind, and answers as a client would (RFC 5681, 3.2; RFC 2018, 4): the
client's acknowledgement again, with what came out of order. It does so once the client has all that lies in front of
the gap, for the first byte that is not acknowledged is the one a duplicate acknowledgement asks for. And a secondary
that repeats what the client has acknowledged to the primary is told so: its copy of that was lost, and the client, whom
nothing of the secondary's reaches, will not send another. That may be the acknowledgement of its SYN, without which it
says nothing at all; the primary's repetitions show it sooner than its own.

All numbers here are the primary's.
"""

from coloproxy.packet.edit import tcp_pure_ack
from coloproxy.packet.parse import parse
from coloproxy.packet.serial import at_or_before, before, distance, smax, smin
from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.translate import to_secondary

MOST_RANGES = 16  # remembered of one replica's stream
BLOCKS = 3  # SACK blocks in one segment (RFC 2018, 3)
DUPLICATES = 3  # acknowledgements that ask for a segment where SACK cannot (RFC 5681, 3.2)

Range = tuple[int, int]


class Recovery:
    """Makes acknowledgements: `answers` collects them for each replica, (frame, virtio-net header's length)."""

    def __init__(self) -> None:
        self.answers: dict[Source, list[tuple[bytes, int]]] = {Source.PRIMARY: [], Source.SECONDARY: []}
        self.count = 0

    def disorder(self, c: Connection, side: int, seq: int, end: int) -> None:
        """Bytes seq..end of a replica came out of order, or fill a gap, or come once more."""
        place = next_of(c, side)
        if at_or_before(end, place):
            if side == Source.PRIMARY and before(c.s_next, end):
                self.behind(c)
            return
        if before(place, seq):
            c.gaps[side] = merged(c.gaps[side], seq, end)
            come(c, side, place)
        else:
            come(c, side, end)
        if c.gaps[side]:
            self.ask(c, side)

    def ask(self, c: Connection, side: int) -> None:
        """Have a replica send what is missing, if the client has all that lies in front of it, and no more."""
        if not c.heard:
            return
        place = next_of(c, side)
        if before(place, c.client_ack):  # what the client has cannot be missing; it went by unseen
            come(c, side, c.client_ack)
        elif place != c.client_ack:
            return
        if not c.gaps[side]:
            return
        blocks = c.gaps[side][-BLOCKS:][::-1] if c.sack else []
        for _ in range(1 if c.sack else DUPLICATES):
            self._answer(c, side, c.client_ack, blocks)

    def behind(self, c: Connection) -> None:
        """The primary repeats what the secondary has not said yet: that may lack the acknowledgement it waits for."""
        if c.heard and c.s_said:
            self.repeated(c)

    def repeated(self, c: Connection) -> None:
        """The secondary says what the client has acknowledged: it is told so, as far as it has come."""
        self._answer(c, Source.SECONDARY, smin(c.client_ack, c.s_next), [])

    @property
    def ready(self) -> bool:
        """Whether there are answers to be taken."""
        return bool(self.answers[Source.PRIMARY] or self.answers[Source.SECONDARY])

    def take(self, source: Source) -> list[tuple[bytes, int]]:
        """The answers for a replica since the last call."""
        taken, self.answers[source] = self.answers[source], []
        return taken

    def _answer(self, c: Connection, side: int, ack: int, blocks: list[Range]) -> None:
        if c.model is None:
            return
        model, vnet_len = c.model
        packet = parse(model, 0, len(model), vnet_len)
        frame = bytearray(tcp_pure_ack(model, packet, c.client_next, ack, c.client_window, sack=blocks))
        if side == Source.SECONDARY:
            to_secondary(c, parse(frame, 0, len(frame), vnet_len), frame)
        self.answers[Source(side)].append((bytes(frame), vnet_len))
        self.count += 1


def next_of(c: Connection, side: int) -> int:
    """The place up to which nothing of a replica's stream is missing."""
    place: int = c.s_next if side == Source.SECONDARY else c.p_next
    return place


def come(c: Connection, side: int, place: int) -> None:
    """A replica's stream has come to this place at least."""
    ranges = c.gaps[side]
    while ranges and at_or_before(ranges[0][0], place):
        place = smax(place, ranges.pop(0)[1])
    if side == Source.SECONDARY:
        c.s_next, c.s_gap = place, bool(ranges)
    else:
        c.p_next, c.p_gap = place, bool(ranges)


def merged(ranges: list[Range], seq: int, end: int) -> list[Range]:
    """Ranges in order, with another one; those that touch are one. Of too many the last are forgotten."""
    found: list[Range] = []
    for low, high in ranges:
        if before(high, seq) or before(end, low):
            found.append((low, high))
        else:
            seq, end = smin(low, seq), smax(high, end)
    found.append((seq, end))
    base = found[0][0]
    return sorted(found, key=lambda each: distance(base, each[0]))[:MOST_RANGES]
