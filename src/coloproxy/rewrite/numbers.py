"""How both replicas' numbers are learned: from their SYNs, or from what the client acknowledges of the primary's.

Where the primary's frames go by, its SYN or SYN-ACK says its number. Where they do not (the rewriter runs beside the
secondary, and gets copies of the client's frames alone) the client's answer to it does: that acknowledges the number
behind it, and echoes its timestamp.
"""

from coloproxy.packet.parse import Packet
from coloproxy.packet.serial import add, at_or_before, distance
from coloproxy.packet.tcpopts import timestamps
from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.states import State

SYN, RST = 0x02, 0x04
FIRST_FLIGHT = 65535  # bytes: the window of a SYN-ACK, which is never scaled (RFC 7323, 2.2)


def learn_primary(c: Connection, isn: int, stamp: int | None) -> None:
    """The primary's SYN has this number and this timestamp."""
    c.p_stamp = stamp
    if c.p_isn != isn:
        c.p_isn = isn
        _settle(c)


def learn_secondary(c: Connection, isn: int, stamp: int | None) -> None:
    """The secondary's SYN has this number and this timestamp. What it has the first time it goes by says whether its
    number is translated: that does not change from one transmission to the next."""
    c.s_stamp = stamp
    if c.s_isn != isn:
        c.s_isn = isn
        _settle(c)
        c.raw_syn = not c.known


def learn_from_client(c: Connection, packet: Packet) -> None:
    """The client answers the primary's SYN, be it with a refusal, unless this is a segment of an earlier connection."""
    answers = packet.flags & (SYN | RST) if c.state == State.SYN_SENT else _follows_syn(c, packet)
    if c.p_isn is not None or not answers:
        return
    c.p_isn = add(packet.ack, -1)
    if c.known:  # a checkpoint has made the secondary a copy of the primary since it began
        c.s_isn = c.p_isn
    else:
        _settle(c)


def learn_stamps(c: Connection, packet: Packet, buf: bytearray) -> None:
    """The client echoes the timestamp of the primary's SYN: the secondary is to be echoed that of its own last one, the
    only echo that is valid in every stack."""
    stamps = timestamps(buf, packet.l4 + 20, packet.payload)
    if c.s_stamp is not None and stamps is not None:
        c.ts_offset = add(c.s_stamp, -stamps[1])
        c.stamped = True


def acknowledges_syn(c: Connection, packet: Packet) -> bool:
    """Whether the primary's SYN is acknowledged."""
    return c.p_isn is not None and at_or_before(add(c.p_isn, 1), packet.ack)


def _follows_syn(c: Connection, packet: Packet) -> bool:
    return c.client_isn is not None and 0 <= distance(add(c.client_isn, 1), packet.seq) <= FIRST_FLIGHT


def _settle(c: Connection) -> None:
    c.known = c.p_isn is not None and c.s_isn is not None
    c.offset = add(c.s_isn, -c.p_isn) if c.known else 0
    if c.known:
        c.p_next = c.s_next = add(c.p_isn, 1)
        c.p_said = c.s_said = True
