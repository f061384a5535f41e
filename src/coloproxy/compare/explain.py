"""What a divergence is told with: the connection in words, and the bytes of both sides around the difference."""

import ipaddress

from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Endpoints
from coloproxy.packet.parse import Kind

AROUND = 64  # bytes shown of each side
BEFORE = 16  # of these, at most so many in front of the difference

# Bytes of a key without tags, IPv4 and IPv6.
_ADDRESS_BYTES = {
    Kind.TCP: (12, 36),
    Kind.UDP: (12, 36),
    Kind.ICMP: (12, 36),
    Kind.ICMPV6: (12, 36),
    Kind.OTHER: (9, 33),
}


def endpoints_of(c: Connection) -> Endpoints:
    """The connection's ends, read from its key once."""
    if c.endpoints is None:
        c.endpoints = describe(Kind(c.kind), c.key)
    return c.endpoints  # type: ignore[no-any-return]


def describe(kind: Kind, key: bytes) -> Endpoints:
    """A connection's ends, from its key as `packet.parse` makes it."""
    if kind == Kind.NON_IP:
        return Endpoints(f"ethertype 0x{key[:2].hex()}", "", "", vlan=_vlan(key[2:]))
    short, long = _ADDRESS_BYTES[kind]
    # The two lengths differ by 24 bytes, three tags by 12 at most: no key fits both.
    size = 16 if len(key) >= long else 4
    source = str(ipaddress.ip_address(key[:size]))
    destination = str(ipaddress.ip_address(key[size : 2 * size]))
    rest = key[2 * size :]
    vlan = _vlan(key[long if size == 16 else short :])
    if kind == Kind.OTHER:
        return Endpoints(f"ip protocol {rest[0]}", source, destination, vlan=vlan)
    first, second = int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])
    if kind in (Kind.ICMP, Kind.ICMPV6):
        return Endpoints(kind.name.lower(), source, destination, identifier=first, vlan=vlan)
    return Endpoints(kind.name.lower(), source, destination, first, second, vlan=vlan)


def _vlan(tags: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(tags[at + 2 : at + 4]) for at in range(0, len(tags), 4))


def around(frame: Frame | None, at: int, before: int) -> bytes:
    """Up to 64 bytes of a frame's payload, beginning `before` bytes in front of index `at`."""
    if frame is None:
        return b""
    begin = frame.data + at - before
    return bytes(frame.buf[begin : min(begin + AROUND, frame.data + frame.size)])


def in_front(primary: Frame | None, primary_at: int, secondary: Frame | None, secondary_at: int) -> int:
    """How many bytes in front of the difference both sides can show."""
    places = [at for frame, at in ((primary, primary_at), (secondary, secondary_at)) if frame is not None]
    return min([BEFORE, *places]) if places else 0
