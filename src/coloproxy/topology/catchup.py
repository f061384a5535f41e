"""A secondary that no checkpoint makes a copy of the primary, but that says the same: it is treated as one that was.

With a real checkpoint the secondary goes on from where the primary is. An ordinary process goes on from where itself
is, which may be before that or behind. So the comparator is shown of the secondary, after a checkpoint, what comes
behind the primary's place, and nothing from before: what the secondary had said already waits here until the primary
says it too, and what it is late with is left out. The client has acknowledged that to the primary; the secondary has
it acknowledged as it sends it, no earlier, for a stack takes no acknowledgement of what it has not sent (RFC 9293,
3.10.7.4).

All numbers here are the primary's.
"""

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from coloproxy.compare.comparator import Batch, Output
from coloproxy.link.flow import frames_of
from coloproxy.packet.edit import amend_checksum, tcp_part, tcp_pure_ack
from coloproxy.packet.parse import IPV4, PROTO_TCP, Kind, Malformed, Packet, parse
from coloproxy.packet.serial import MASK, add, after, at_or_before, before, distance, smax, smin

FIN, SYN, ACK = 0x01, 0x02, 0x10
MOST = 4096  # connections known at a time

# From the ethertype to TCP's flags, where the IPv4 header has no options: ethertype, version and header length, total
# length, fragment, protocol, addresses and ports, sequence number, acknowledgement, data offset, flags.
ORDINARY = struct.Struct(">HBxHxxHxBxx12sIIBB")
HEADERS = 14 + 20 + 20  # bytes of a frame that these are in


class Segment(NamedTuple):
    """What a segment says. key: its addresses and ports. end: the place behind its last byte, or its FIN."""

    key: bytes
    seq: int
    ack: int
    flags: int
    end: int


class Said(NamedTuple):
    """Something that the secondary said."""

    segment: Segment
    output: Output


class Stream:
    """One connection.

    primary, secondary: the places that each has come to; base: where both were when the last checkpoint was made; each
    None until known. waiting: what the secondary has said ahead of the primary. shown: what of it was shown last.
    owed: the client's last acknowledgement that says more than the secondary has sent, and its parse; told: as much of
    it as the secondary has been told.
    """

    __slots__ = ("base", "owed", "primary", "secondary", "shown", "told", "waiting")

    def __init__(self) -> None:
        self.primary: int | None = None
        self.secondary: int | None = None
        self.base: int | None = None
        self.waiting: deque[Said] = deque()
        self.shown: Said | None = None
        self.owed: tuple[bytes, Packet] | None = None
        self.told = 0

    def in_time(self, segment: Segment) -> bool:
        """Whether the primary has said something of this, or it says nothing itself."""
        if segment.seq == segment.end:
            return True
        if self.primary is None:
            return False
        begin = segment.seq if self.base is None else smax(segment.seq, self.base)
        return before(begin, self.primary) or at_or_before(segment.end, begin)


class CatchUp:
    """Sees all frames of a client and of both replicas, in the numbers of the primary."""

    def __init__(self) -> None:
        self._streams: dict[bytes, Stream] = {}  # by what a replica's frames call them

    def checkpoint(self) -> None:
        """What the primary has said until now, the secondary need not say; what it said beyond, it will say again."""
        for stream in self._streams.values():
            if stream.primary is None:
                continue
            stream.base = stream.primary
            if stream.shown is not None and after(stream.shown.segment.end, stream.base):
                stream.waiting.appendleft(stream.shown)
            stream.shown = None

    def client(self, batch: Batch) -> None:
        """Lower acknowledgements, in place, to what the secondary has sent."""
        for frame in frames_of(batch):
            segment = read(batch.buf, *frame)
            if segment is None:
                continue
            stream = self._streams.get(backward(segment.key))
            if stream is None or stream.secondary is None or not segment.flags & ACK:
                continue
            stream.owed = None
            if after(segment.ack, stream.secondary):
                lower(stream, batch.buf, *frame)

    def primary(self, batch: Batch) -> list[Output]:
        """Note how far the primary has come; what the comparator is to see of the secondary behind these frames."""
        shown: list[Output] = []
        for frame in frames_of(batch):
            segment = read(batch.buf, *frame)
            if segment is None:
                continue
            stream = self._stream(segment)
            stream.primary = segment.end if stream.primary is None else smax(stream.primary, segment.end)
            while stream.waiting and stream.in_time(stream.waiting[0].segment):
                shown += show(stream, stream.waiting.popleft())
        return shown

    def secondary(self, batch: Batch) -> tuple[list[Output] | None, list[Output]]:
        """What the comparator is to see of these frames of the secondary's, None standing for all as they are; and
        acknowledgements for the secondary, as the client would send them."""
        shown: list[Output] = []
        acks: list[Output] = []
        whole = True
        for start, end, vnet_len in frames_of(batch):
            output = batch.buf, start, end, vnet_len, batch.lease
            segment = read(batch.buf, start, end, vnet_len)
            if segment is None or segment.flags & SYN:
                shown.append(output)
                continue
            stream = self._stream(segment)
            known = stream.secondary
            stream.secondary = segment.end if known is None else smax(known, segment.end)
            said = Said(segment, output)
            if stream.waiting or not stream.in_time(segment):
                stream.waiting.append(said)
                whole = False
            else:
                visible = list(show(stream, said))
                shown += visible
                whole = whole and visible == [output]
            if stream.owed is not None:
                acks += acknowledged(stream)
        return (None if whole else shown), acks

    def _stream(self, segment: Segment) -> Stream:
        stream = self._streams.get(segment.key)
        if stream is None or segment.flags & SYN:
            if stream is None and len(self._streams) >= MOST:
                del self._streams[next(iter(self._streams))]
            stream = self._streams[segment.key] = Stream()
        return stream


def show(stream: Stream, said: Said) -> Iterator[Output]:
    """What the comparator sees of something that the secondary said: all of it, its end, or nothing."""
    segment, output = said
    stream.shown = said
    if stream.base is None or segment.seq == segment.end or at_or_before(stream.base, segment.seq):
        yield output
    elif after(segment.end, stream.base):
        buf, start, end, vnet_len, _ = output
        frame = bytes(buf[start:end])
        packet = parse(frame, 0, len(frame), vnet_len)
        size = packet.payload_end - packet.payload
        part = tcp_part(frame, packet, min(distance(segment.seq, stream.base), size), size)
        yield part, 0, len(part), vnet_len, None


def lower(stream: Stream, buf: bytearray, start: int, end: int, vnet_len: int) -> None:
    """The secondary has not yet sent what this frame of the client's acknowledges: lower that, and owe the rest."""
    assert stream.secondary is not None
    owed = bytes(buf[start:end])
    stream.owed = owed, parse(owed, 0, len(owed), vnet_len)
    stream.told = stream.secondary
    packet = parse(buf, start, end, vnet_len)
    header = bytes(buf[packet.l4 : packet.payload])
    struct.pack_into(">I", buf, packet.l4 + 8, stream.told)
    amend_checksum(buf, packet, header)


def acknowledged(stream: Stream) -> Iterator[Output]:
    """What is owed, as far as the secondary has come by now."""
    assert stream.owed is not None
    assert stream.secondary is not None
    model, packet = stream.owed
    told = smin(packet.ack, stream.secondary)
    if after(told, stream.told):
        stream.told = told
        seq = add(packet.seq, packet.payload_end - packet.payload + (packet.flags & FIN))
        frame = tcp_pure_ack(model, packet, seq, told, packet.window)
        yield frame, 0, len(frame), packet.vnet_len, None
    if told == packet.ack:
        stream.owed = None


def read(buf: bytearray, start: int, end: int, vnet_len: int) -> Segment | None:
    """The TCP segment in a frame, if there is a whole one."""
    at = start + vnet_len
    if end - at >= HEADERS:
        kind, version, total, fragment, protocol, key, seq, ack, offset, flags = ORDINARY.unpack_from(buf, at + 12)
        if kind == IPV4 and version == 0x45 and protocol == PROTO_TCP and not fragment & 0x3FFF:
            size = total - 20 - (offset >> 4) * 4
            return Segment(key, seq, ack, flags, seq + size + (flags & FIN) + (flags >> 1 & 1) & MASK)
    try:
        packet = parse(buf, start, end, vnet_len)
    except Malformed:
        return None
    if packet.kind != Kind.TCP:
        return None
    size = packet.payload_end - packet.payload + (packet.flags & FIN) + (packet.flags >> 1 & 1)
    key = packet.src + packet.dst + bytes(buf[packet.l4 : packet.l4 + 4])
    return Segment(key, packet.seq, packet.ack, packet.flags, add(packet.seq, size))


def backward(key: bytes) -> bytes:
    """The key of the other direction: source and destination, then their ports."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]
