"""Which connection of the secondary is which of the primary: by addresses and ports, or by order of appearance."""

from collections import Counter
from collections.abc import Hashable
from typing import Literal, Protocol

from coloproxy.offline.segment import ACK, SYN
from coloproxy.packet.parse import Kind, Packet

Match = Literal["five-tuple", "order"]
WELL_KNOWN = 1024  # ports below it are services'


class Pairing(Protocol):
    """Names connections so that those which belong together have the same name on both sides."""

    def name(self, side: int, packet: Packet, turn: int) -> Hashable:
        """A new connection's name, from its first packet. turn: how many this side had with the same ends before."""


class FiveTuple:
    """The same client address and the same ports, in turn. The replicas' own addresses may differ."""

    def name(self, side: int, packet: Packet, turn: int) -> Hashable:
        del side
        return packet.kind, packet.key[len(packet.src) :], turn


class Order:
    """The n-th connection of a service, whatever the client's address and port."""

    def __init__(self) -> None:
        self._counts: tuple[Counter[Hashable], Counter[Hashable]] = (Counter(), Counter())

    def name(self, side: int, packet: Packet, turn: int) -> Hashable:
        del turn
        which = packet.kind, packet.version, service(packet)
        self._counts[side][which] += 1
        return *which, self._counts[side][which]


def service(packet: Packet) -> Hashable:
    """What a connection is to: a port of the replica, or a port of its partner's; for what has no ports, the protocol.

    It is the only port that is well known; or that of the end which was called; or the lower one.
    """
    if packet.kind not in (Kind.TCP, Kind.UDP):
        return packet.protocol
    ours, theirs = packet.sport, packet.dport
    if (ours < WELL_KNOWN) != (theirs < WELL_KNOWN):
        here = ours < WELL_KNOWN
    elif packet.kind == Kind.TCP and packet.flags & SYN:
        here = bool(packet.flags & ACK)
    else:
        here = ours <= theirs
    return here, ours if here else theirs
