"""Random doings of two replicas, from a seed: frames of every kind, timers, checkpoints, other rules."""

import hashlib
import random
from array import array
from collections.abc import Iterator

from coloproxy import Comparator, Config, Side
from coloproxy.compare.rules import DEFAULT_RULES, Rule
from support import frames
from support.play import adds_up
from support.recut import Habits, changed, recut

FLAGS = (frames.ACK, frames.ACK | frames.PSH, frames.ACK | frames.FIN, frames.SYN, frames.SYN | frames.ACK, frames.RST,
         frames.RST | frames.ACK, frames.ACK | frames.URG, 0, 0xFF)  # fmt: skip
SMALL = Habits(largest=120)
LARGE = Habits(smallest=1000, largest=9000)


class Batch:
    """Frames as the link hands them over: behind one another in one buffer, each behind its framing."""

    def __init__(self, batch: list[tuple[bytes, int]], headroom: int) -> None:
        self.buf, self.index, self.count, self.headroom = bytearray(), array("I"), len(batch), headroom
        self.lease = object() if headroom else None
        for frame, vnet in batch:
            self.buf += bytes(headroom) + frame
            self.index.extend((len(self.buf) - len(frame), len(self.buf), vnet))


def streams(rng: random.Random) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Both replicas' segments of one connection; sometimes different, sometimes with odd ones among them."""
    isn = rng.choice((0, 0xFFFFFF00, rng.getrandbits(32)))
    port, vnet = rng.randrange(40000, 40004), rng.choice((0, 0, 12))
    ends = {"src": frames.REPLICA6, "dst": frames.CLIENT6} if rng.random() < 0.2 else {}
    stream = rng.randbytes(rng.randrange(1, 2500))
    sides = []
    for number in range(2):
        habits, bytes_sent = rng.choice((SMALL, LARGE)), stream
        if number and rng.random() < 0.2:
            bytes_sent = changed(rng, stream)
        segments = []
        if rng.random() < 0.8:
            options = frames.syn_options(mss=rng.choice((1460,) * 9 + (1400,)))
            segments.append(frames.tcp(seq=isn, ack=1, flags=0x12, options=options, dport=port, vnet=vnet, **ends))
        ack = 1
        for piece in recut(rng, bytes_sent, habits, fin=rng.random() < 0.7):
            ack += rng.choice((0, 0, 100))
            segments.append(
                frames.tcp(
                    piece.data, seq=isn + 1 + piece.offset, ack=ack, flags=0x10 | piece.fin, dport=port, vnet=vnet,
                    window=rng.choice((65535, 500, 0)), gso=1000 if vnet and len(piece.data) > 1000 else 0, **ends,
                )
            )  # fmt: skip
            if rng.random() < 0.1:
                segments.append(
                    frames.tcp(
                        rng.choice((b"", b"odd")), seq=isn + rng.randrange(-5, 3000), ack=rng.randrange(1, 2000),
                        flags=rng.choice(FLAGS), dport=port, vnet=vnet, **ends,
                    )
                )  # fmt: skip
        sides.append([(segment, vnet) for segment in segments])
    return sides[0], sides[1]


def datagrams(rng: random.Random) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Both replicas' datagrams and the rest: permuted, lost, broken."""
    ours = []
    for _ in range(rng.randrange(1, 12)):
        payload, port = rng.randbytes(rng.choice((0, 1, 20))) * rng.choice((1, 1, 60)), rng.randrange(5000, 5003)
        kind = rng.randrange(7)
        if kind < 3:
            made = [frames.udp(payload, dport=port, vlan=rng.choice(((), (), (5,))))]
        elif kind == 3:
            made = [frames.icmp(payload, ident=port)]
        elif kind == 4:
            over_ipv6 = frames.udp(payload, src="fd00::2", dst="fd00::9")
            made = [rng.choice((frames.arp(), frames.other(payload), over_ipv6))]
        elif kind == 5:
            made = frames.fragments(frames.udp_datagram(payload * 3, dport=port), size=rng.choice((16, 64)), ident=port)
        else:
            made = [frames.udp(payload, dport=port)[: rng.randrange(1, 60)] or b"?"]
        ours += [(frame, 0) for frame in made]
        if rng.random() < 0.1:
            length = rng.choice((10, 12, 16, 20, 22, 2**32 - 1))
            ours.append((bytes(min(length, 22)) + made[0], length))
    theirs = [frame for frame in ours if rng.random() < 0.95]
    if rng.random() < 0.5:
        rng.shuffle(theirs)
    return ours, theirs


def doings(rng: random.Random, rounds: int) -> Iterator[tuple[str, object]]:
    """What happens, in order: ("frames", (side, batch of (frame, vnet_len))), ("pass", seconds), and so on."""
    for _ in range(rounds):
        ours, theirs = streams(rng) if rng.random() < 0.6 else datagrams(rng)
        sides = [ours, theirs]
        while any(sides):
            side = rng.randrange(2)
            size = rng.choice((1, 2, 10))
            batch, sides[side] = sides[side][:size], sides[side][size:]
            if batch:
                yield "frames", (Side(side), batch)
            if rng.random() < 0.1:
                yield "pass", rng.choice((0.0005, 0.002, 0.02, 0.5))
        event = rng.random()
        if event < 0.2:
            yield "pass", rng.choice((0.1, 3.5, 6.0))
        elif event < 0.4:
            yield "checkpoint", None
        elif event < 0.45:
            yield "failed", None
        elif event < 0.5:
            yield "compact", None
        elif event < 0.55:
            yield "rules", [Rule(protocol="udp", destination_port="5000-5001", action=rng.choice(("pass", "refuse")))]
        elif event < 0.6:
            yield "rules", list(DEFAULT_RULES)
        elif event < 0.63:
            yield rng.choice(("alone", "failover")), None


def config(rng: random.Random) -> Config:
    return Config(
        tcp_match=rng.choice(("sequence",) * 7 + ("packet",)),
        isn=rng.choice(("shared", "shared", "relative")),
        ack_rule=rng.choice(("clamp", "hold")),
        on_divergence=rng.choice(("hold", "hold", "release", "alarm", "cut")),
        max_connections=rng.choice((3, 1000)),
        max_queue_size=rng.choice((5, 1024)),
        malformed=rng.choice(("pass", "refuse")),
    )


def perform(seed: int, *, general: bool = False, rounds: int = 10) -> tuple[str, list[object]]:
    """Do all that a seed says; a digest of all frames that left, and everything that was said."""
    rng = random.Random(seed)
    c = Comparator(config(rng), now=0.0)
    if general:
        c.use_general_path()
    digest, said, now = hashlib.sha256(), [], 0.0
    for what, value in doings(rng, rounds):
        headroom = rng.choice((0, 4))
        if what == "frames":
            side, batch = value  # type: ignore[misc]
            c.receive_batch(side, Batch(batch, headroom), now)  # type: ignore[arg-type]
        elif what == "pass":
            until = now + value  # type: ignore[operator]
            while (due := c.next_deadline()) is not None and due <= until:
                now = max(now, due)
                c.tick(now)
            now = until
        elif what == "rules":
            c.set_rules(value)  # type: ignore[arg-type]
        else:
            act = {"checkpoint": c.checkpoint_completed, "failed": c.checkpoint_failed, "alone": c.primary_alone,
                   "failover": c.failover_to_secondary, "compact": lambda _now: c.compact()}  # fmt: skip
            act[what](now)
        for buf, start, end, vnet, _ in c.take_output():
            if vnet == -1:
                assert len(memoryview(buf)[start:end]) == end - start
            digest.update((b"" if vnet == -1 else bytes(headroom)) + bytes(buf[start:end]))
        said += c.take_events()
        account = c.accounting()
        assert adds_up(account.primary), (seed, account.primary)
        assert adds_up(account.secondary), (seed, account.secondary)
    return digest.hexdigest(), [*said, c.accounting(), c.state(now)]
