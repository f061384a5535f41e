"""Two replicas' ends of one connection: what they may say next, as servers that run the same do, or nearly."""

import random
from dataclasses import dataclass, field, replace
from typing import Protocol

from said import GRE, ICMP, PASSING, SCTP, UDP, Datagram, Passing, Said, Segment

from support.frames import ACK, FIN, PSH, RST, SYN, URG, syn_options, timestamp

WRAPS = (0, 1, 0xFFFFFFFF, 0xFFFFFC00, 0x7FFFFFFF, 0x80000000)
VNET = (0, 10, 12, 20)
SIZES = ((1, 8), (1, 200), (100, 1460), (1460, 1460))  # smallest and largest payload of a habit
LARGE = (1461, 62000)


class Pair(Protocol):
    """Both replicas' ends of one connection."""

    def think(self, rng: random.Random, side: str) -> Said:
        """Something that one of them may say next."""

    def say(self, side: str, said: Said) -> None:
        """It has said it."""

    def checkpoint(self, rng: random.Random) -> None:
        """The secondary is a copy of the primary now."""


def random_isn(rng: random.Random) -> int:
    """Initial numbers: half of them so that the stream runs over 2**32 or 2**31."""
    return (rng.choice(WRAPS) - rng.randrange(600)) & 0xFFFFFFFF if rng.random() < 0.5 else rng.getrandbits(32)


def letters(rng: random.Random, size: int, kinds: int) -> bytes:
    """So many random letters of so many kinds: easy to read, and with few kinds easily mistaken for one another."""
    return rng.randbytes(size).translate(bytes(97 + byte % kinds for byte in range(256)))


# TCP


@dataclass
class End:
    """A replica's end of a stream: what it will send, from the first byte on; how far it is; what it has skipped."""

    stream: bytes
    isn: int
    vnet: int
    smallest: int
    largest: int
    at: int = 0
    ack: int = 0
    syn_sent: bool = False
    skipped: list[tuple[int, int]] = field(default_factory=list)

    def place(self, offset: int) -> int:
        return (self.isn + 1 + offset) & 0xFFFFFFFF


class TcpPair:
    """A server's side of a connection, on two replicas that cut differently."""

    def __init__(self, rng: random.Random, connection: int, vnet_hdr: bool) -> None:
        self.connection = connection
        self.vnet_hdr = vnet_hdr
        self.vlan = (7, 5) if rng.random() < 0.1 else ()
        self.stamps = rng.random() < 0.3
        self.large = rng.random() < 0.1
        self.client = random_isn(rng)  # how far the client's own stream is
        self._begin(rng, random_isn(rng), rng.random() < 0.7)

    def _begin(self, rng: random.Random, isn: int, syn: bool) -> None:
        size = rng.choice((0, 20, 300, 3000, 20000)) if not self.large else 150_000
        stream = letters(rng, size, rng.choice((1, 2, 26)))
        self.options = rng.choice((b"", syn_options(), syn_options(stamps=True, sack=False)))
        self.ends = {side: self._end(rng, stream, isn, syn) for side in "ps"}
        self.ended = rng.random() < 0.6  # a FIN is where the stream ends
        self._part(rng)

    def _end(self, rng: random.Random, stream: bytes, isn: int, syn: bool) -> End:
        smallest, largest = LARGE if self.large else rng.choice(SIZES)
        vnet = rng.choice(VNET) if self.vnet_hdr else 0
        return End(stream, isn, vnet, smallest, largest, ack=self.client, syn_sent=not syn)

    def _part(self, rng: random.Random) -> None:
        """Now and then the two are not the same."""
        p, s = self.ends["p"], self.ends["s"]
        if rng.random() < 0.2 and len(p.stream) > s.at:
            at = rng.randrange(s.at, len(p.stream))
            s.stream = p.stream[:at] + b"X" + p.stream[at + 1 :]

    def think(self, rng: random.Random, side: str) -> Segment:
        end = self.ends[side]
        if not end.syn_sent and rng.random() < 0.9:
            return self._syn(rng, side, end.isn)
        chance = rng.random()
        if chance < 0.6 and (end.skipped or end.at < len(end.stream)):
            return self._data(rng, side)
        if chance < 0.7:
            return self._again(rng, side)
        if chance < 0.85:
            return self._segment(rng, side, end.at, 0, ACK)
        if chance < 0.9 and self.ended and (end.at >= len(end.stream) or rng.random() < 0.1):
            return self._segment(rng, side, len(end.stream), 0, ACK | FIN)
        return self._ahead(rng, side) if chance < 0.93 else self._odd(rng, side)

    def _syn(self, rng: random.Random, side: str, isn: int) -> Segment:
        options = self.options if rng.random() < 0.95 else syn_options(mss=1400)
        syn = self._segment(rng, side, -1, 0, SYN | ACK)
        return replace(syn, seq=isn, options=options, payload=b"")

    def _data(self, rng: random.Random, side: str) -> Segment:
        """The next bytes, or some that were skipped; now and then others are skipped instead."""
        end = self.ends[side]
        if end.skipped and rng.random() < 0.7:
            at, size = rng.choice(end.skipped)
            return self._segment(rng, side, at, size, ACK | PSH)
        size = rng.randint(end.smallest, end.largest)
        chance = rng.random()
        if chance < 0.1:
            other = self.ends["s" if side == "p" else "p"]
            size = max(other.at - end.at, 1)  # end where the other one has
        elif chance < 0.2 and 0 < (left := -end.place(end.at) % 2**32) < 2 * end.largest:
            size = left  # end where the numbers do
        return self._segment(rng, side, end.at, size, ACK | PSH)

    def _again(self, rng: random.Random, side: str) -> Segment:
        end = self.ends[side]
        at = max(0, end.at - rng.randint(1, 2 * end.largest))
        return self._segment(rng, side, at, rng.randint(1, end.largest), ACK)

    def _ahead(self, rng: random.Random, side: str) -> Segment:
        end = self.ends[side]
        at = end.at + rng.randint(1, end.largest)
        return self._segment(rng, side, at, rng.randint(1, end.largest), ACK)

    def _odd(self, rng: random.Random, side: str) -> Segment:
        end = self.ends[side]
        odd = self._segment(rng, side, end.at, rng.choice((0, 0, 1, 30)), ACK)
        chance = rng.randrange(8)
        if chance == 0:
            return replace(odd, flags=RST | ACK, payload=b"")
        if chance == 1:
            return replace(odd, flags=ACK | URG)
        if chance == 2:
            return replace(odd, seq=(odd.seq - 1) & 0xFFFFFFFF, payload=b"")  # keep-alive (RFC 9293, 3.8.4)
        if chance == 3:
            return replace(odd, payload=letters(rng, 10, 2))
        if chance == 4:
            return replace(odd, pad=max(0, 6 - len(odd.payload)))
        if chance == 5:
            return self._syn(rng, side, end.isn)
        other = self.ends["s" if side == "p" else "p"]
        forward = rng.choice((len(end.stream) + 1000, rng.getrandbits(32)))
        return self._syn(rng, side, other.isn if other.isn != end.isn else (end.isn + forward) & 0xFFFFFFFF)

    def _segment(self, rng: random.Random, side: str, at: int, size: int, flags: int) -> Segment:
        end = self.ends[side]
        size = min(size, LARGE[1])
        payload = end.stream[at : at + size] if at >= 0 else b""
        if self.ended and payload and at + size >= len(end.stream) and rng.random() < 0.5:
            flags |= FIN
        ack = self._ack(rng, side)
        return Segment(
            connection=self.connection, vnet=end.vnet, seq=end.place(at), ack=ack, flags=flags, payload=payload,
            window=rng.choice((65535, 1000, 0)), ident=rng.randrange(100), ttl=rng.choice((63, 64)), vlan=self.vlan,
            options=timestamp(rng.randrange(1000), 1) if self.stamps else b"",
            gso=1448 if end.vnet and len(payload) > 1460 else 0,
        )  # fmt: skip

    def _ack(self, rng: random.Random, side: str) -> int:
        """The primary mostly acknowledges what the secondary has, and the secondary all that there is."""
        if rng.random() < 0.1:
            self.client = (self.client + rng.choice((1, 100, 1460))) & 0xFFFFFFFF
        if side == "s":
            return self.client if rng.random() < 0.9 else self.ends["s"].ack
        return self.ends[rng.choice("sssp")].ack if rng.random() < 0.8 else self.client

    def say(self, side: str, said: Said) -> None:
        assert isinstance(said, Segment)
        end = self.ends[side]
        end.ack = said.ack
        if said.syn:
            if said.seq != end.isn:
                self._renew(side, said.seq)
            self.ends[side].syn_sent = True
            return
        at = (said.first - end.place(0)) & 0xFFFFFFFF
        if not said.payload or at >= 0x80000000:
            return
        end.skipped = [(a, n) for a, n in end.skipped if not at <= a < a + n <= at + len(said.payload)]
        if at > end.at:
            end.skipped.append((end.at, at - end.at))
        end.at = max(end.at, at + len(said.payload))

    def _renew(self, side: str, isn: int) -> None:
        """This side has begun a new connection. What it will say in it is a matter of its number."""
        rng = random.Random(isn)
        end = self.ends[side]
        stream = letters(rng, rng.choice((20, 300, 3000)), 2)
        self.ends[side] = replace(end, stream=stream, isn=isn, at=0, syn_sent=True, skipped=[])

    def checkpoint(self, rng: random.Random) -> None:
        p, s = self.ends["p"], self.ends["s"]
        p.skipped = []
        self.ends["s"] = replace(s, stream=p.stream, isn=p.isn, at=p.at, ack=p.ack, syn_sent=p.syn_sent, skipped=[])
        if rng.random() < 0.2:  # late words of the old epoch
            self.ends["s"] = replace(self.ends["s"], stream=s.stream, isn=s.isn, at=min(s.at, p.at))
        self._part(rng)


# Datagrams, and the rest


class DatagramPair:
    """Two replicas that send the same datagrams, or nearly."""

    def __init__(self, rng: random.Random, connection: int, vnet_hdr: bool) -> None:
        self.connection = connection
        self.protocol = rng.choice((UDP, UDP, UDP, ICMP, ICMP, GRE, SCTP))
        self.vnet = rng.choice(VNET) if vnet_hdr else 0
        self.vnet_hdr = vnet_hdr
        self.vlan = (7, 5) if rng.random() < 0.1 else ()
        self.unsaid: dict[str, list[Datagram]] = {"p": [], "s": []}

    def think(self, rng: random.Random, side: str) -> Datagram:
        if not self.unsaid[side] or rng.random() < 0.2:
            new = self._new(rng)
            for each in "ps":
                self.unsaid[each] += [new] * rng.choice((1, 1, 1, 2))
        said = rng.choice(self.unsaid[side]) if rng.random() < 0.3 else self.unsaid[side][0]
        return self._altered(rng, said) if rng.random() < 0.2 else said

    def _new(self, rng: random.Random) -> Datagram:
        size = rng.choice((0, 1, 18, 100, 1400))
        return Datagram(
            connection=self.connection, vnet=self.vnet, protocol=self.protocol, vlan=self.vlan,
            payload=letters(rng, size, rng.choice((1, 8))), echo=rng.choice((7, 7, 8)),
            options=rng.choice((b"", b"", b"", b"\x94\x04\0\0")), ident=rng.randrange(3),
        )  # fmt: skip

    def _altered(self, rng: random.Random, said: Datagram) -> Datagram:
        chance = rng.randrange(8)
        if chance == 0:
            return replace(said, payload=said.payload + b"!")
        if chance == 1:
            return replace(said, checksum=False)
        if chance == 2:
            return replace(said, pad=18)
        if chance == 3:
            return replace(said, options=b"\x94\x04\0\0")
        if chance == 4:
            return replace(said, vlan=(7, 6))
        if chance == 5 and self.vnet_hdr:
            return replace(said, vnet=rng.choice(VNET))
        if chance == 6:
            return replace(said, payload=said.payload[:-1] + b"?" if said.payload else b"")
        return replace(said, ident=said.ident + 1, ttl=63)

    def say(self, side: str, said: Said) -> None:
        assert isinstance(said, Datagram)
        alike = [i for i, unsaid in enumerate(self.unsaid[side]) if unsaid.payload == said.payload]
        del self.unsaid[side][alike[0] if alike else 0]

    def checkpoint(self, _rng: random.Random) -> None:
        self.unsaid["s"] = list(self.unsaid["p"])


class PassingPair:
    """Frames that nobody compares."""

    def __init__(self, _rng: random.Random, connection: int, vnet_hdr: bool) -> None:
        self.connection = connection
        self.vnet_hdr = vnet_hdr

    def think(self, rng: random.Random, _side: str) -> Passing:
        kind = rng.choice(sorted(PASSING))
        trailer = rng.randbytes(rng.choice((0, 5, 100))) if kind in ("arp", "lldp") else b""
        vnet = rng.choice((*VNET, 24)) if self.vnet_hdr else 0
        return Passing(connection=self.connection, vnet=vnet, kind=kind, trailer=trailer)

    def say(self, side: str, said: Said) -> None:
        pass

    def checkpoint(self, rng: random.Random) -> None:
        pass
