"""What replicas say, in their own terms: each can be made a frame, and prints itself as the Python that makes it."""

import socket
import struct
from dataclasses import dataclass, fields
from typing import NamedTuple

from support import frames
from support.frames import ACK, FIN, MACS, RST, SYN, ethernet

UDP, ICMP, GRE, SCTP = 17, 1, 47, 132
PORT = 1000  # of connection 0 at the client's end


class Unit(NamedTuple):
    """A frame as it goes over a socket: `vnet` bytes of virtio-net header first."""

    data: bytes
    vnet: int = 0

    @property
    def bare(self) -> bytes:
        """The Ethernet frame."""
        return self.data[self.vnet :]


def client(host: int) -> str:
    """The address of a client; two connections share one."""
    return socket.inet_ntoa(struct.pack(">I", 0x0A400000 + host))


@dataclass(frozen=True)
class Said:
    """`connection` counts within a play; the play's first client is `host`."""

    connection: int = 0
    vnet: int = 0

    def frame(self, host: int) -> bytes:
        """The frame, without a virtio-net header."""
        raise NotImplementedError

    def unit(self, host: int) -> Unit:
        return Unit(frames.virtio(b"", self.vnet) + self.frame(host), self.vnet)

    def __repr__(self) -> str:
        told = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class Segment(Said):
    """A TCP segment. Its places run from `seq` to `end`; a SYN takes the one in front of the first byte."""

    seq: int = 0
    ack: int = 0
    flags: int = ACK
    payload: bytes = b""
    window: int = 65535
    options: bytes = b""
    ident: int = 1
    ttl: int = 64
    vlan: tuple[int, ...] = ()
    gso: int = 0
    pad: int = 0

    def unit(self, host: int) -> Unit:
        return Unit(self._frame(host, self.vnet, self.gso if self.vnet else 0), self.vnet)

    def frame(self, host: int) -> bytes:
        return self._frame(host, 0, 0)

    def _frame(self, host: int, vnet: int, gso: int) -> bytes:
        return frames.tcp(
            self.payload, seq=self.seq, ack=self.ack, flags=self.flags, window=self.window, options=self.options,
            ident=self.ident, ttl=self.ttl, vlan=self.vlan, pad=self.pad, vnet=vnet, gso=gso,
            dport=PORT + self.connection, dst=client(host + self.connection // 2),
        )  # fmt: skip

    @property
    def syn(self) -> bool:
        return bool(self.flags & SYN)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)

    @property
    def rst(self) -> bool:
        return bool(self.flags & RST)

    @property
    def first(self) -> int:
        """The place of the first byte."""
        return (self.seq + self.syn) & 0xFFFFFFFF

    @property
    def end(self) -> int:
        """The place behind the last byte; FIN, if there is one, has this place."""
        return (self.first + len(self.payload)) & 0xFFFFFFFF


@dataclass(frozen=True, repr=False)
class Datagram(Said):
    """A datagram of UDP, ICMP (an echo reply) or another protocol of IP."""

    protocol: int = UDP
    payload: bytes = b""
    ident: int = 1
    ttl: int = 64
    echo: int = 7  # ICMP's identifier
    options: bytes = b""
    checksum: bool = True
    vlan: tuple[int, ...] = ()
    pad: int = 0

    def frame(self, host: int) -> bytes:
        destination = client(host + self.connection // 2)
        packet = frames.ipv4(
            self.protocol, self._content(destination), dst=destination, ident=self.ident, ttl=self.ttl,
            options=self.options,
        )  # fmt: skip
        return ethernet(0x0800, packet, self.vlan) + bytes(self.pad)

    def _content(self, destination: str) -> bytes:
        if self.protocol == UDP:
            made = frames.udp_datagram(self.payload, 53, PORT + self.connection, dst=destination)
            return made if self.checksum else made[:6] + b"\0\0" + made[8:]
        if self.protocol == ICMP:
            body = struct.pack(">BBHHH", 0, 0, 0, self.echo, 1) + self.payload
            return body[:2] + struct.pack(">H", ~frames.ones(body) & 0xFFFF) + body[4:]
        if self.protocol == SCTP:
            return struct.pack(">HHII", 53, PORT + self.connection, 1, 0) + self.payload
        return bytes(4) + self.payload


PASSING: dict[str, bytes] = {
    "arp": frames.arp(),
    "lldp": ethernet(0x88CC, b"\x02\x07"),
    "802.3": ethernet(38, b"\x42\x42\x03" + bytes(35)),
    "tagged arp": ethernet(0x0806, bytes(46), vlan=(5,)),
    "twice tagged arp": ethernet(0x0806, bytes(46), vlan=(7, 5)),
    "router solicitation": frames.icmp(b"", kind=133, src="fe80::1", dst="ff02::2"),
    "neighbour solicitation": frames.icmp(bytes(16), kind=135, src="fe80::1", dst="ff02::1"),
    "multicast listener report": frames.icmp(bytes(20), kind=143, src="fe80::1", dst="ff02::16"),
    "one byte": MACS[:1],
    "half an ethernet header": MACS[:8],
    "ethernet header": ethernet(0x0800, b""),
    "three bytes of ip": ethernet(0x0800, b"\x45\0\0"),
    "ip header cut short": ethernet(0x0800, frames.ipv4(17, b"")[:15]),
    "ip options cut short": ethernet(0x0800, b"\x4f" + frames.ipv4(17, bytes(20))[1:]),
}


@dataclass(frozen=True, repr=False)
class Passing(Said):
    """A frame that is compared by nobody: the primary's leaves at once, the secondary's is dropped."""

    kind: str = "arp"
    trailer: bytes = b""

    def frame(self, host: int) -> bytes:
        return PASSING[self.kind] + self.trailer
