"""Datagrams as QEMU keeps them: one pair of queues for what it takes for a connection."""

from dataclasses import dataclass, field
from functools import lru_cache

from reasons import Reason
from said import GRE, ICMP, SCTP, UDP, Datagram


@dataclass
class Talk:
    """Datagrams that QEMU keeps in one pair of queues."""

    p: list[Datagram] = field(default_factory=list)
    s: list[Datagram] = field(default_factory=list)
    logged: bool = False

    def take(self, side: str, said: Datagram) -> Reason | None:
        diverged = bool(self.p and self.s)
        others = self.s if side == "p" else self.p
        for other in others:
            if said.vnet != other.vnet:
                return Reason.VNET_LENGTH
            if (theirs(said) == theirs(other)) != (ours(said) == ours(other)):
                return Reason.OTHER_HEADERS if said.protocol in (GRE, SCTP) else Reason.DATAGRAM_BYTES
        partners = [at for at, other in enumerate(others) if theirs(said) == theirs(other)]
        if diverged and partners:
            return Reason.HEALING
        if self.logged and side == "s" and len(self.p) > 1:
            return Reason.NEWEST_FIRST
        if not partners:
            (self.p if side == "p" else self.s).append(said)
        elif side == "p":
            del self.s[partners[0]]
        elif any(p.unit(0) != self.p[0].unit(0) for p in self.p):
            return Reason.NEWEST_FIRST
        else:
            del self.p[-1]
        return None


@lru_cache(4096)
def theirs(said: Datagram) -> tuple[int, bytes]:
    """What QEMU compares: the length, and of UDP and ICMP all behind the IP header, of others all."""
    frame = said.frame(0)
    at = 14 + 4 * (frame[14 + 4 * len(said.vlan)] & 15) if said.protocol in (UDP, ICMP) else 0
    return len(frame), frame[at:]


def ours(said: Datagram) -> tuple[object, ...]:
    """What is to be equal."""
    return said.protocol, said.payload, said.echo if said.protocol == ICMP else 0


def their_key(said: Datagram) -> tuple[object, ...]:
    """QEMU's connections: both addresses, the protocol, and for those protocols that have them the ports."""
    ports = said.connection if said.protocol in (UDP, SCTP) else None
    return said.protocol, said.connection // 2, ports


def our_key(said: Datagram) -> tuple[object, ...]:
    """Ours: ports of UDP only, the identifier of an ICMP echo, and VLAN tags."""
    ports = said.connection if said.protocol == UDP else said.echo if said.protocol == ICMP else None
    return said.protocol, said.connection // 2, ports, said.vlan
