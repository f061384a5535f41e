"""The rewriter alone, in memory: nanoseconds a frame, by kind of frame and path.

    python bench/rewrite.py [--frames N] [--connections N] [--repeat N] [--json]

Every frame is one of an established connection with an offset; each figure is the best of the repeats, on batches of
1000 frames that are translated again and again, so that sequence numbers wander off and nothing else changes.
"""

import argparse
import struct
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from coloproxy.rewrite import engine
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from support.frames import ACK, SYN, tcp, timestamp

BATCH = 1000
CLIENT_ISN, PRIMARY_ISN, SECONDARY_ISN = 7, 0x10000000, 0x90000000
SACK = b"\1\1\5\x12" + struct.pack(">4I", 0x10001000, 0x10002000, 0x10003000, 0x10004000)


class Figure(msgspec.Struct, kw_only=True):
    """One measurement."""

    what: str
    path: str
    connections: int
    ns_per_frame: float


class Batch:
    """Frames in one buffer, each behind four bytes of framing."""

    def __init__(self, frames: list[bytes], vnet_len: int) -> None:
        self.buf, self.index, self.count = bytearray(), array("I"), len(frames)
        for frame in frames:
            self.buf += bytes(4) + frame
            self.index.extend((len(self.buf) - len(frame), len(self.buf), vnet_len))


def address(number: int) -> str:
    return f"10.1.{number >> 8 & 255}.{number & 255}"


def from_client(number: int, payload: bytes = b"", **more: object) -> bytes:
    more = {"seq": CLIENT_ISN + 1, "ack": PRIMARY_ISN + 1, "flags": ACK, **more}
    return tcp(payload, src=address(number), dst="10.0.0.2", sport=40000, dport=80, **more)  # type: ignore[arg-type]


def from_replica(number: int, payload: bytes = b"", **more: object) -> bytes:
    more = {"ack": CLIENT_ISN + 1, "flags": ACK, **more}
    return tcp(payload, src="10.0.0.2", dst=address(number), sport=80, dport=40000, **more)  # type: ignore[arg-type]


def from_secondary(number: int, payload: bytes = b"", **more: object) -> bytes:
    return from_replica(number, payload, seq=SECONDARY_ISN + 1, **more)


def opened(connections: int, timestamps: str, general: bool) -> Rewriter:
    """A rewriter with so many established connections."""
    rewriter = Rewriter(Config(timestamps=timestamps))  # type: ignore[arg-type]
    for number in range(connections):
        for source, frame in (
            (Source.CLIENT, from_client(number, seq=CLIENT_ISN, flags=SYN, options=timestamp(1, 0))),
            (Source.PRIMARY, from_replica(number, seq=PRIMARY_ISN, flags=SYN | ACK, options=timestamp(1, 1))),
            (Source.SECONDARY, from_replica(number, seq=SECONDARY_ISN, flags=SYN | ACK, options=timestamp(900, 1))),
            (Source.CLIENT, from_client(number, options=timestamp(2, 1))),
        ):
            rewriter.receive(source, frame, 0.0)
    assert len(rewriter) == connections
    if general:
        rewriter.use_general_path()
    return rewriter


KINDS: dict[str, tuple[Source, str, int, Callable[[int], bytes]]] = {
    "client: pure ACK": (Source.CLIENT, "strip", 0, from_client),
    "client: ACK with two SACK blocks": (Source.CLIENT, "strip", 0, lambda n: from_client(n, options=SACK)),
    "client: ACK with timestamps": (Source.CLIENT, "translate", 0, lambda n: from_client(n, options=timestamp(5, 6))),
    "client: 1460 bytes": (Source.CLIENT, "strip", 0, lambda n: from_client(n, bytes(1460))),
    "secondary: pure ACK": (Source.SECONDARY, "strip", 0, from_secondary),
    "secondary: 1460 bytes": (Source.SECONDARY, "strip", 0, lambda n: from_secondary(n, bytes(1460))),
    "secondary: 32 KiB, partial checksum": (
        Source.SECONDARY, "strip", 10, lambda n: from_secondary(n, bytes(32768), vnet=10, gso=1448)),
    "primary: 1460 bytes": (Source.PRIMARY, "strip", 0, lambda n: from_replica(n, bytes(1460), seq=PRIMARY_ISN + 1)),
}  # fmt: skip


def measure(what: str, connections: int, frames: int, repeat: int, general: bool) -> Figure:
    """Time one kind of frame."""
    source, timestamps, vnet_len, make = KINDS[what]
    rewriter = opened(connections, timestamps, general)
    size = min(BATCH, 50) if vnet_len else BATCH
    batches = [
        Batch([make((first + n) % connections) for n in range(size)], vnet_len)
        for first in range(0, max(connections, size), size)
    ]
    rounds = max(1, frames // (size * len(batches)))
    best = float("inf")
    for _ in range(repeat):
        began = time.perf_counter_ns()
        for _ in range(rounds):
            for batch in batches:
                rewriter.translate(source, batch, 1.0)
        best = min(best, (time.perf_counter_ns() - began) / (rounds * len(batches) * size))
    account = getattr(rewriter.accounting(), source.label)
    assert account.held.frames == account.dropped.frames == 0
    path = "general" if general else "fast" if engine.COMPILED else "fast, uncompiled"
    return Figure(what=what, path=path, connections=connections, ns_per_frame=round(best, 1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=200_000, help="frames a repeat on the fast path (default 200000)")
    parser.add_argument("--connections", type=int, default=1000, help="in the second shape (default 1000)")
    parser.add_argument("--repeat", type=int, default=5, help="repeats, of which the best counts (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()
    if not args.json:
        print(f"{'ns a frame':36}{'1 connection':>16}{f'{args.connections} connections':>20}{'general path':>16}")
    for what in KINDS:
        figures = [
            measure(what, 1, args.frames, args.repeat, general=False),
            measure(what, args.connections, args.frames, args.repeat, general=False),
            measure(what, 1, args.frames // 50, args.repeat, general=True),
        ]
        if args.json:
            for figure in figures:
                print(msgspec.json.encode(figure).decode())
        else:
            one, many, general = (figure.ns_per_frame for figure in figures)
            print(f"{what:36}{one:16.0f}{many:20.0f}{general:16.0f}", flush=True)


if __name__ == "__main__":
    main()
