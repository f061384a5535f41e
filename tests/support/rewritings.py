"""Random doings around a rewriter, from a seed: a few connections, segments of every kind, time, checkpoints."""

import hashlib
import random
from collections.abc import Iterator

from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from support import frames
from support.frames import ACK, FIN, PSH, RST, SYN, URG, timestamp
from support.rewriting import Batch, adds_up, client, replica

CONFIGS = [
    Config(**values)  # type: ignore[arg-type]
    for values in (
        {}, {"timestamps": "translate"}, {"timestamps": "keep", "max_connections": 2},
        {"timestamps": "translate", "hold_timeout": 5, "max_held_frames": 2},
        {"idle_timeout": 4000, "transitory_timeout": 2000},
    )
]  # fmt: skip
FLAGS = (SYN, SYN | ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | FIN, RST, RST | ACK, ACK | URG, 0, FIN, 0xFF)
# Where each source's numbers begin: at the end of their range, so that they wrap.
BASE = {Source.PRIMARY: 0xFFFFFFFA, Source.SECONDARY: 0x12345678, Source.CLIENT: 0xFFFFFFFE}


def options(rng: random.Random) -> bytes:
    """Some of the options that are looked at, at any alignment, sometimes broken."""
    out = b"\1" * rng.randrange(4)
    if rng.random() < 0.5:
        out += timestamp(rng.getrandbits(32), rng.getrandbits(32))[rng.randrange(3) :]
    if rng.random() < 0.4:
        out += bytes((5, rng.choice((10, 18, 10, 6)))) + rng.randbytes(8)
    return (out + b"\1" * (-len(out) % 4))[:40]


def segment(rng: random.Random, source: Source) -> tuple[bytes, int]:
    """A segment of one of three connections, of numbers near those that count; and its virtio-net header's length."""
    flags = rng.choice(FLAGS)
    port = rng.randrange(3)
    vnet = rng.choice((0, 0, 0, 10, 12, 20))
    more: dict[str, object] = {"vnet": vnet, "gso": rng.choice((0, 20, 100)) if vnet else 0, "options": options(rng)}
    v6, tag, extended = rng.random() < 0.2, rng.random() < 0.1, rng.random() < 0.1
    if tag:
        more["vlan"] = (5,)
    if v6:
        more |= {"src": frames.CLIENT6, "dst": frames.REPLICA6} if source is Source.CLIENT else {
            "src": frames.REPLICA6, "dst": frames.CLIENT6}  # fmt: skip
        if extended:
            more["extensions"] = ((0, b"\x05\x02\0\0"),)
    size = rng.choice((0, 0, 1, 5, 60))
    near = rng.choice((0, 1, 1, 1, 2, 3, 61))
    other = BASE[rng.choice((Source.PRIMARY, Source.SECONDARY))]
    if source is Source.CLIENT:
        frame = client(
            rng.randbytes(size), seq=BASE[source] + (0 if flags & SYN else near), sport=port, flags=flags,
            ack=other + rng.choice((1, 1, near)), **more,
        )  # fmt: skip
    else:
        frame = replica(
            rng.randbytes(size), seq=BASE[source] + (0 if flags & SYN else near), dport=port, flags=flags,
            ack=BASE[Source.CLIENT] + rng.choice((1, 1, near)), **more,
        )  # fmt: skip
    if rng.random() < 0.05:
        frame = bytes(damaged(rng, frame))
    return frame, vnet


def damaged(rng: random.Random, frame: bytes) -> bytearray:
    """The frame with a byte changed, or cut."""
    out = bytearray(frame)
    out[rng.randrange(min(len(out), 90))] = rng.randrange(256)
    return out[: rng.randrange(1, len(out) + 1)] if rng.random() < 0.2 else out


def handshake(rng: random.Random) -> list[tuple[Source, bytes]]:
    """What opens a connection, sometimes with a segment missing or out of order."""
    port = rng.randrange(3)
    c, p, s = (BASE[source] for source in (Source.CLIENT, Source.PRIMARY, Source.SECONDARY))
    stamp = timestamp(rng.getrandbits(32), rng.getrandbits(32)) if rng.random() < 0.5 else b""
    steps = [
        (Source.CLIENT, client(seq=c, ack=0, flags=SYN, sport=port, options=stamp)),
        (Source.PRIMARY, replica(seq=p, ack=c + 1, flags=SYN | ACK, dport=port, options=stamp)),
        (Source.SECONDARY, replica(seq=s, ack=c + 1, flags=SYN | ACK, dport=port, options=stamp)),
        (Source.CLIENT, client(seq=c + 1, ack=p + 1, sport=port, options=stamp)),
    ]
    if rng.random() < 0.2:
        del steps[rng.randrange(4)]
    if rng.random() < 0.2:
        rng.shuffle(steps)
    return steps


def steps(rng: random.Random) -> Iterator[tuple[str, object]]:
    for _ in range(rng.randrange(5, 60)):
        kind = rng.random()
        if kind < 0.2:
            for source, frame in handshake(rng):
                yield "frames", (source, [frame], 0)
        elif kind < 0.85:
            source = rng.choice(list(Source))
            vnet, batch = 0, []
            for _ in range(rng.randrange(1, 5)):
                frame, length = segment(rng, source)
                if not batch or length == vnet:
                    batch.append(frame)
                    vnet = length
            yield "frames", (source, batch, vnet)
        elif kind < 0.9:
            yield "frames", (rng.choice(list(Source)), [rng.choice(OTHERS)], 0)
        else:
            yield rng.choice(DOINGS), None


DOINGS = ("tick",) * 6 + ("checkpoint_completed",) * 3 + ("failover_to_secondary", "primary_alone")
OTHERS = (
    frames.udp(b"datagram"), frames.udp(b"datagram", src="fd00::2", dst="fd00::9"), frames.udp(b"x", length=3),
    frames.icmp(b"ping"), frames.arp(), *frames.fragments(replica(b"x" * 50, seq=5)[34:], protocol=6, size=40),
)  # fmt: skip


def perform(seed: int, general: bool = False) -> tuple[str, str]:
    """Do what the seed says; returns a digest of all that went on, and the last accounts and states as text."""
    rng = random.Random(seed)
    rewriter, now = Rewriter(rng.choice(CONFIGS)), 0.0
    if general:
        rewriter.use_general_path()
    out = hashlib.sha256()
    for what, value in steps(rng):
        if what == "frames":
            source, batch_frames, vnet = value  # type: ignore[misc]
            batch = Batch(batch_frames, vnet)
            rewriter.translate(source, batch, now)
            out.update(b"".join(batch.frames()))
        else:
            now += rng.choice((0.0, 0.004, 1.5, 6.0)) if what == "tick" else 0.0
            getattr(rewriter, what)(now)
        for source in Source:
            out.update(b"".join(frame for frame, _ in rewriter.take_released(source)))
        accounting = rewriter.accounting()
        assert all(adds_up(account) for account in (accounting.primary, accounting.secondary, accounting.client))
        out.update(repr(rewriter.next_deadline()).encode())
    states = sorted(map(repr, rewriter.state(now)))
    return out.hexdigest(), repr((rewriter.accounting(), states, rewriter.take_events()))
