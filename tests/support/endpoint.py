"""A TCP endpoint that complains of everything that was not meant for it (RFC 9293; RFC 2018; RFC 2883; RFC 7323).

It sends one stream, receives another, retransmits, and acknowledges with SACK. No congestion control. What a real
stack would drop or answer with a reset is written down in `complaints`.
"""

import random
import struct

from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import parse
from coloproxy.packet.serial import add, distance
from coloproxy.packet.tcpopts import SACK, options, timestamps
from support import frames
from support.frames import ACK, FIN, SYN, timestamp

RTO = 0.2
WINDOW = 4000  # places in flight


class Endpoint:
    """One end. Places of its stream: 0 is the SYN, 1 the first byte, the one behind the last byte the FIN.

    `clock` is where its timestamps' clock begins (1000 ticks a second); `ends` are the keywords of `frames.tcp` that
    say who it is; `opens`: it sends the first SYN.
    """

    def __init__(
        self, rng: random.Random, isn: int, clock: int, stream: bytes, ends: dict[str, object], *, opens: bool, mss: int
    ) -> None:
        self.rng, self.isn, self.clock, self.stream, self.ends = rng, isn, clock, stream, ends
        self.opens, self.mss = opens, mss
        self.acked = self.next = self.sent = 0  # places: acknowledged, to be sent next, behind the last ever sent
        self.due = 0.0
        self.peer_isn: int | None = None
        self.got = 0  # places of the peer's stream received in order
        self.early: dict[int, int] = {}  # its places received out of order, byte or -1 for FIN
        self.received = bytearray()
        self.duplicate: tuple[int, int] | None = None
        self.owes_ack = self.peer_done = False
        self.stamps: list[int] | None = None  # what was sent; None: no timestamps on this connection
        self.syn_stamps: list[int] = []
        self.peer_stamp = 0
        self.complaints: list[str] = []

    @property
    def done(self) -> bool:
        """Whether both streams are over, and known to be."""
        return self.acked == len(self.stream) + 2 and self.peer_done

    # Out

    def output(self, now: float) -> list[bytes]:
        """What it sends at this moment."""
        out: list[bytes] = []
        if self.acked == 0:
            if now >= self.due and (self.opens or self.peer_isn is not None):
                self.due = now + RTO
                self.next = self.sent = 1
                self.syn_stamps.append(self._tick(now))
                flags = SYN | (ACK if self.peer_isn is not None else 0)
                head = b"\2\4\5\xb4\4\2\1\1" + (self._stamp(now) if self.opens or self.stamps is not None else b"")
                out.append(self._segment(0, b"", flags, head))
            return out
        if now >= self.due and self.acked < self.sent:
            self.next, self.due = self.acked, now + RTO
        end = len(self.stream) + 1
        while self.next <= end and self.next < self.acked + WINDOW:
            size = min(self.rng.randint(1, self.mss), end - self.next)
            fin = self.next + size == end
            payload, flags = self.stream[self.next - 1 :][:size], ACK | (FIN if fin else 0)
            out.append(self._segment(self.next, payload, flags, self._head(now)))
            if self.acked == self.sent:
                self.due = now + RTO
            self.next += size + fin
            self.sent = max(self.sent, self.next)
        if self.owes_ack and not out:
            out.append(self._segment(self.next, b"", ACK, self._head(now)))
        self.owes_ack, self.duplicate = False, None
        return out

    def _segment(self, place: int, payload: bytes, flags: int, head: bytes) -> bytes:
        ack = add(self.peer_isn, self.got) if self.peer_isn is not None and flags & ACK else 0
        return frames.tcp(
            payload, seq=add(self.isn, place), ack=ack, flags=flags, options=head, **self.ends  # type: ignore[arg-type]
        )  # fmt: skip

    def _tick(self, now: float) -> int:
        return add(self.clock, int(now * 1000))

    def _stamp(self, now: float) -> bytes:
        if self.stamps is None:
            self.stamps = []
        self.stamps.append(self._tick(now))
        return timestamp(self.stamps[-1], self.peer_stamp)

    def _head(self, now: float) -> bytes:
        """Options of an ordinary segment: timestamps if agreed on, SACK blocks at whatever alignment comes about."""
        head = b"\1" * self.rng.randrange(3) + (self._stamp(now)[2:] if self.stamps is not None else b"")
        blocks = [self.duplicate] if self.duplicate else []
        for place in sorted(self.early):
            if blocks and blocks[-1] is not self.duplicate and blocks[-1][1] == place:
                blocks[-1] = (blocks[-1][0], place + 1)
            else:
                blocks.append((place, place + 1))
        assert self.peer_isn is not None or not blocks
        edges = [add(self.peer_isn or 0, edge) for block in blocks[:2] for edge in block]
        if edges:
            head += bytes((5, 2 + 4 * len(edges))) + struct.pack(f">{len(edges)}I", *edges)
        return head + b"\1" * (-len(head) % 4)

    # In

    def input(self, frame: bytes, now: float) -> None:
        """What it receives."""
        p = parse(frame, 0, len(frame))
        if not tcp_checksum_is_right(frame, p):
            self._complain("a wrong checksum")
        if p.flags & SYN:
            self._syn(frame, p.l4 + 20, p.payload, p.seq)
        if self.peer_isn is None:
            self._complain("a segment before any SYN")
            return
        if p.flags & ACK:
            self._numbers(frame, p.l4 + 20, p.payload, now)
            self._acknowledged(distance(self.isn, p.ack), now)
        place = distance(self.peer_isn, p.seq) + (p.flags >> 1 & 1)
        self._data(place, frame[p.payload : p.payload_end], bool(p.flags & FIN))
        if p.flags & SYN:
            self.owes_ack = self.owes_ack or self.opens

    def _syn(self, frame: bytes, start: int, end: int, seq: int) -> None:
        if self.peer_isn is None:
            self.peer_isn, self.got = seq, 1
            stamps = timestamps(frame, start, end)
            if stamps is None:
                self.stamps = None
            else:
                self.stamps, self.peer_stamp = self.stamps or [], stamps[0]
        elif seq != self.peer_isn:
            self._complain(f"another SYN, {seq} rather than {self.peer_isn}")
        else:
            self.owes_ack = True

    def _numbers(self, frame: bytes, start: int, end: int, now: float) -> None:
        for kind, first, last in options(frame, start, end):
            if kind == SACK:
                numbers = struct.unpack(f">{(last - first) // 4}I", frame[first:last])
                edges = [distance(self.isn, number) for number in numbers]
                if any(not 0 < edge <= self.sent for edge in edges) or edges != sorted(edges[:2]) + sorted(edges[2:]):
                    self._complain(f"SACK of {edges}, sent were {self.sent}")
        stamps = timestamps(frame, start, end)
        if (stamps is None) != (self.stamps is None):
            self._complain("timestamps that were not agreed on, or none that were")
        if stamps is None or not self.syn_stamps:
            return
        self.peer_stamp = stamps[0]
        low, high = self.syn_stamps[0], self.syn_stamps[-1]
        if self.acked:  # the two replicas' clocks may have been compared late by a few retransmissions
            high = add(self._tick(now), int(RTO * 5000))
        if distance(low, stamps[1]) < 0 or distance(stamps[1], high) < 0:
            self._complain(f"an echo of {stamps[1]}, sent were {low} .. {high}")

    def _acknowledged(self, place: int, now: float) -> None:
        if not 0 <= place <= self.sent:
            self._complain(f"an acknowledgement of {place}, sent were {self.sent}")
        elif place > self.acked:
            self.acked, self.next, self.due = place, max(self.next, place), now + RTO

    def _data(self, place: int, payload: bytes, fin: bool) -> None:
        if not payload and not fin:
            return
        self.owes_ack = True
        if place + len(payload) + fin <= self.got:
            self.duplicate = (place, place + len(payload) + fin)
        if not -(2**20) < place - self.got < 2**20:
            self._complain(f"data at {place}, expected at {self.got}")
            return
        for at, byte in enumerate([*payload, -1] if fin else payload, place):
            if at >= self.got:
                self.early[at] = byte
        while (byte := self.early.pop(self.got, None)) is not None:  # type: ignore[assignment]
            self.got += 1
            if byte < 0:
                self.peer_done = True
            else:
                self.received.append(byte)

    def _complain(self, what: str) -> None:
        self.complaints.append(what)
