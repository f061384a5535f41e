"""TCP, the general path: what a segment means for its connection, and its translation."""

from collections.abc import Callable

from coloproxy.packet.edit import tcp_pure_ack
from coloproxy.packet.parse import Packet
from coloproxy.packet.serial import add, at_or_before
from coloproxy.packet.tcpopts import syn_options, timestamps
from coloproxy.rewrite import numbers, tracing
from coloproxy.rewrite.engine import Connection, Engine
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.states import OPENING, OVER, QUIET, Event, State, following
from coloproxy.rewrite.table import Table
from coloproxy.rewrite.translate import from_secondary, strip_timestamps, to_secondary

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Segments:
    """Follows connections, learns their numbers and translates their segments.

    `tracking`: whether new connections are taken up; `over(c)` is called when what waits of one will not be needed.
    """

    def __init__(
        self, table: Table, engine: Engine, timestamps: str, over: Callable[[Connection], None]
    ) -> None:  # fmt: skip
        self.table = table
        self.engine = engine
        self.tracking = True
        self.stripped = 0
        self._strip = timestamps == "strip"
        self._stamps = timestamps == "translate"
        self._over = over

    # Where connections begin

    def open(self, source: Source, packet: Packet, buf: bytearray, now: float) -> Connection | None:
        """The connection that a segment belongs to; one that it begins, if it does; None: it is not tracked."""
        c = self.table.find(source, packet)
        if c is not None:
            c.last = now
        if not is_syn(packet):
            return c
        sack = syn_options(buf, packet.l4 + 20, packet.payload).sack_permitted
        if not packet.flags & ACK:
            if source is Source.CLIENT:
                c = self._client_syn(c, packet, now)
                if c is not None:
                    c.sack = sack
                return c
            return self._replica_syn(c, source, packet, buf, now)
        if c is not None and source is not Source.CLIENT:
            return self._replica_answers(c, source, packet, buf)
        if c is not None:
            c.sack = sack
        return c

    def _client_syn(self, c: Connection | None, packet: Packet, now: float) -> Connection | None:
        """A SYN that an established connection ignores must not end it: it counts when a replica answers it."""
        if c is None or (c.state in OVER and c.client_isn != packet.seq):
            c = self._begin(c, Source.CLIENT, packet, packet.seq, now)
        elif c.state == State.SYN_SENT:
            c.client_isn = packet.seq
        elif c.client_isn != packet.seq:
            c.next_isn = packet.seq
            return c
        if c is not None:
            self._advance(c, Event.SYN_RECEIVED)
        return c

    def _replica_syn(
        self, c: Connection | None, source: Source, packet: Packet, buf: bytearray, now: float
    ) -> Connection | None:  # fmt: skip
        """A replica opens a connection: its own stack knows that the one before it is over."""
        known = None if c is None else c.p_isn if source is Source.PRIMARY else c.s_isn
        if c is None or (known != packet.seq if known is not None else c.state not in OPENING):
            c = self._begin(c, source, packet, None, now)
        if c is not None:
            self._advance(c, Event.SYN_SENT)
            self._learn(c, source, packet, buf)
        return c

    def _replica_answers(
        self, c: Connection, source: Source, packet: Packet, buf: bytearray
    ) -> Connection | None:  # fmt: skip
        """A SYN-ACK. It may say that the client's SYN on a connection that lived has begun another."""
        if c.next_isn is not None and packet.ack == add(c.next_isn, 1):
            begun = self._begin(c, source, packet, c.next_isn, c.last)
            if begun is None:
                return None
            self._advance(c, Event.SYN_RECEIVED)
        if c.state in OPENING and c.client_isn is not None and packet.ack == add(c.client_isn, 1):
            self._learn(c, source, packet, buf)
        return c

    def _begin(
        self, c: Connection | None, source: Source, packet: Packet, client_isn: int | None, now: float
    ) -> Connection | None:  # fmt: skip
        """A new connection, on a key that may have had one before; None if no new ones are taken up."""
        if not self.tracking:
            if c is not None:
                self.table.forget(c)
            return None
        if c is None:
            c = self.table.open(source, packet, now)
        else:
            self._over(c)
        c.begin(client_isn)
        c.since = now
        tracing.tracked(c, source)
        return c

    def _learn(self, c: Connection, source: Source, packet: Packet, buf: bytearray) -> None:
        known = c.known
        stamps = timestamps(buf, packet.l4 + 20, packet.payload)
        learn = numbers.learn_primary if source is Source.PRIMARY else numbers.learn_secondary
        learn(c, packet.seq, stamps[0] if stamps else None)
        if c.known and not known:
            tracing.learned(c)

    # What goes through

    def syn(self, packet: Packet, buf: bytearray) -> None:
        """Make of a SYN what its receiver is to see of it."""
        if self._strip and strip_syn(packet, buf):
            self.stripped += 1

    def from_client(self, c: Connection, packet: Packet, buf: bytearray) -> bool:
        """Translate a segment of the client's, in place. False: it has to wait for the numbers."""
        if packet.flags & ACK:
            if c.state in OPENING:
                self._opening_ack(c, packet, buf)
                if not c.known and not packet.flags & RST:
                    return False
            self._acknowledged(c, packet)
            self._heard(c, packet, buf)
        if packet.flags & RST:
            self._advance(c, Event.RST)
        elif packet.flags & FIN:
            self._advance(c, Event.FIN_RECEIVED)
        to_secondary(c, packet, buf)
        return True

    def _opening_ack(self, c: Connection, packet: Packet, buf: bytearray) -> None:
        """An acknowledgement while the numbers are being learned: maybe the first that the client sends."""
        known = c.known
        numbers.learn_from_client(c, packet)
        if c.known and numbers.acknowledges_syn(c, packet):
            if self._stamps:
                numbers.learn_stamps(c, packet, buf)
            if not known or c.stamped:
                tracing.learned(c)

    def _acknowledged(self, c: Connection, packet: Packet) -> None:
        if packet.flags & RST:
            return
        if c.state in OPENING and numbers.acknowledges_syn(c, packet):
            self._advance(c, Event.SYN_ACK_RECEIVED if packet.flags & SYN else Event.SYN_ACKED)
        if c.s_fin is not None and at_or_before(c.s_fin, packet.ack):
            self._advance(c, Event.FIN_ACKED)

    def _heard(self, c: Connection, packet: Packet, buf: bytearray) -> None:
        """Remember what the client acknowledges, and how such a segment of its looks."""
        if packet.flags & RST or not c.known:
            return
        if c.model is None:
            # Without timestamps, which would be too old by the time it is used.
            model = tcp_pure_ack(buf, packet, 0, 0, 0, stamped=False)
            c.model = model, packet.vnet_len
        size = packet.payload_end - packet.payload + (packet.flags & FIN) + (packet.flags >> 1 & 1)
        self.engine.client_says(c, packet.seq, size, packet.ack, packet.window)

    def from_primary(self, packet: Packet) -> None:
        """Note how far the primary has come."""
        c = self.table.find(Source.PRIMARY, packet)
        if c is not None and not packet.flags & RST:
            self.engine.primary_says(c, packet.seq, packet.payload_end - packet.payload + (packet.flags & FIN))

    def from_secondary(self, c: Connection, packet: Packet, buf: bytearray) -> bool:
        """Translate a segment of the secondary's, in place. False: it has to wait for the numbers."""
        if is_syn(packet):
            if c.known and not c.raw_syn and packet.seq == c.s_isn:
                from_secondary(c, packet, buf)
                if c.heard and packet.flags & ACK and c.state not in OPENING:
                    self.engine.recovery.repeated(c)
            return True
        if not c.known and c.s_isn is not None and c.state in OPENING:
            return False
        if packet.flags & RST:
            self._advance(c, Event.RST)
        elif packet.flags & FIN:
            c.s_fin = add(packet.seq, packet.payload_end - packet.payload + 1 - c.offset)
            self._advance(c, Event.FIN_SENT)
        if not packet.flags & RST:
            size = packet.payload_end - packet.payload + (packet.flags & FIN)
            self.engine.secondary_says(c, add(packet.seq, -c.offset), size)
        from_secondary(c, packet, buf)
        return True

    def _advance(self, c: Connection, event: Event) -> None:
        c.state = following(c.state, event)
        if c.state == State.CLOSED and c.waiting:
            self._over(c)

    def refresh(self, c: Connection) -> None:
        """Say whether the engine may take this connection's ordinary segments itself: it makes no models."""
        c.fast = c.known and c.model is not None and c.waiting is None and c.state in QUIET


def is_syn(packet: Packet) -> bool:
    """Whether it is a SYN or a SYN-ACK; with RST it is a reset (RFC 9293, 3.10.7)."""
    return packet.flags & (SYN | RST) == SYN


def strip_syn(packet: Packet, buf: bytearray) -> bool:
    """Take the timestamps out of a SYN, no SYN-ACK; whether it had some."""
    return is_syn(packet) and not packet.flags & ACK and strip_timestamps(packet, buf)
