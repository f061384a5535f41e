"""Which end of a capture's connections is the replica: as told, or guessed from who answers."""

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from coloproxy.capture import Record, to_ethernet
from coloproxy.errors import ColoproxyError
from coloproxy.packet.parse import Kind, Malformed, Packet, parse

SYN, ACK = 0x02, 0x10
WELL_KNOWN = 1024  # ports below it are servers'
ECHO_REPLY = {Kind.ICMP: 0, Kind.ICMPV6: 129}


class Replica(NamedTuple):
    """The address whose frames are compared and, if only one of its ports is meant, that."""

    address: bytes
    port: int | None = None

    def __str__(self) -> str:
        address = str(ipaddress.ip_address(self.address))
        if self.port is None:
            return address
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


def parse_replica(text: str) -> Replica:
    """ADDR, ADDR:PORT, or for IPv6 ADDR, [ADDR], [ADDR]:PORT. Raises ColoproxyError."""
    address, port = text, ""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _bad(text, "an address in brackets is followed by nothing or by :PORT")
        port = rest[1:]
        if rest and not port:
            raise _bad(text, "the port is missing")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
        if not port:
            raise _bad(text, "the port is missing")
    try:
        packed = ipaddress.ip_address(address).packed
    except ValueError:
        raise _bad(text, f"{address!r} is no IP address") from None
    if not port:
        return Replica(packed)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _bad(text, "a port is a number from 1 to 65535")
    return Replica(packed, int(port))


def _bad(text: str, why: str) -> ColoproxyError:
    return ColoproxyError(f"side {text!r}: {why}; give ADDR, ADDR:PORT or [ADDR]:PORT, such as 10.0.0.2:80.")


class Guess:
    """Looks at frames and says whose address is the replica's: the one that answers."""

    def __init__(self) -> None:
        self.answers: Counter[bytes] = Counter()  # SYN-ACKs and echo replies
        self.servers: Counter[bytes] = Counter()  # frames from the port that looks more like a server's
        self.senders: Counter[bytes] = Counter()  # frames
        self.partners: dict[bytes, set[bytes]] = {}

    def look(self, records: Iterable[Record]) -> None:
        """Take these records into account."""
        for record in records:
            frame = to_ethernet(record)
            if frame is None:
                continue
            try:
                packet = parse(frame + bytes(min(record.original_length - len(record.data), 65536)), 0, len(frame))
            except Malformed:
                continue
            if packet.version:
                self._packet(packet, frame)

    def _packet(self, packet: Packet, frame: bytes) -> None:
        source = packet.src
        self.senders[source] += 1
        self.partners.setdefault(source, set()).add(packet.dst)
        self.answers[source] += _answers(packet, frame)
        if packet.kind in (Kind.TCP, Kind.UDP) and packet.sport < packet.dport:
            self.servers[source] += 2 if packet.sport < WELL_KNOWN else 1

    def best(self) -> tuple[Replica, str] | None:
        """The likeliest address, and why; None when there was no IP packet."""
        for votes, why in (
            (self.answers, "it answered most connections"),
            (self.servers, "it has the lower ports, as servers do"),
        ):
            if any(votes.values()):
                return Replica(self._most(votes)), why
        if not self.senders:
            return None
        return Replica(self._most(Counter({a: len(p) for a, p in self.partners.items()}))), "it has most partners"

    def _most(self, votes: Counter[bytes]) -> bytes:
        return max(votes, key=lambda address: (votes[address], self.senders[address], address))


def _answers(packet: Packet, frame: bytes) -> bool:
    """Whether a packet is an answer by what it is: a SYN-ACK, an echo reply."""
    if packet.kind == Kind.TCP:
        return packet.flags & (SYN | ACK) == SYN | ACK
    return packet.kind in ECHO_REPLY and frame[packet.l4] == ECHO_REPLY[packet.kind]
