"""Memory of the comparator library: many connections open at once, and ten times as many attempted.

    python bench/memory.py [--open N] [--attempted N] [--json]

Each connection is opened on both sides (SYN-ACK) and verifies one segment of 100 bytes. Figures are growth of this
process's resident memory over what it was when the comparator was made.
"""

import argparse
import os
import struct
import time
from array import array
from pathlib import Path

import msgspec

from coloproxy import Comparator, Config, Side

AT_ONCE = 500  # connections whose frames are handed over together
PAYLOAD = bytes(range(100))
ETHERNET = bytes.fromhex("525400aabbcc525400123456" + "0800")
SYN_ACK, PSH_ACK = 0x12, 0x18


class Batch:
    """Frames one after another in one buffer, as the comparator takes them."""

    def __init__(self) -> None:
        self.buf = bytearray()
        self.index = array("I", bytes(AT_ONCE * 2 * 3 * 4))
        self.count = 0
        self.lease: object = None
        self.headroom = 4

    def add(self, frame: bytes) -> None:
        """Append one frame with its framing."""
        self.buf += len(frame).to_bytes(4, "big")
        at = len(self.buf)
        self.buf += frame
        self.index[self.count * 3], self.index[self.count * 3 + 1] = at, at + len(frame)
        self.count += 1


class Memory(msgspec.Struct, kw_only=True):
    """What was measured. Bytes are growth of resident memory."""

    opened: int
    attempted: int
    opened_bytes: int
    attempted_bytes: int
    connections: int
    seconds: float
    adds_up: bool


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def frames(number: int) -> tuple[bytes, bytes]:
    """SYN-ACK and first segment of connection `number`; checksums are left out, the comparator does not look."""
    addresses = bytes((10, 0, 0, 2, 10, number >> 14 & 255, number >> 22, 9))
    ports = struct.pack("!HH", 80, 1024 + (number & 0x3FFF))

    def frame(seq: int, flags: int, options: bytes, payload: bytes) -> bytes:
        tcp = ports + struct.pack("!IIBBHHH", seq, 1, (20 + len(options)) << 2, flags, 64240, 0, 0) + options + payload
        return ETHERNET + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + addresses + tcp

    return frame(number, SYN_ACK, b"\x02\x04\x05\xb4", b""), frame(number + 1, PSH_ACK, b"", PAYLOAD)


def open_connections(comparator: Comparator, first: int, end: int, began: float) -> None:
    """Open connections and verify their first segment."""
    for start in range(first, end, AT_ONCE):
        sides = []
        for _ in Side:
            batch = Batch()
            for number in range(start, min(start + AT_ONCE, end)):
                for frame in frames(number):
                    batch.add(frame)
            sides.append(batch)
        for side, batch in zip(Side, sides, strict=True):
            comparator.receive_batch(side, batch, time.monotonic() - began)
        comparator.take_output()
        comparator.take_events()


def measure(opened: int, attempted: int) -> Memory:
    """Open `opened` connections and look, go on to `attempted` and look again."""
    frames(0)
    began = time.monotonic()
    comparator = Comparator(Config(), now=0.0)
    before = resident()
    open_connections(comparator, 0, opened, began)
    at_opened = resident() - before
    open_connections(comparator, opened, attempted, began)
    at_attempted = resident() - before
    return Memory(
        opened=opened,
        attempted=attempted,
        opened_bytes=at_opened,
        attempted_bytes=at_attempted,
        connections=comparator.state(time.monotonic() - began).connection_count,
        seconds=time.monotonic() - began,
        adds_up=adds_up(comparator),
    )


def adds_up(comparator: Comparator) -> bool:
    """Whether every frame is in exactly one counted state."""
    for side in Side:
        counted = getattr(comparator.accounting(), side.name.lower())
        states = (counted.released, counted.passed, counted.held, counted.dropped, counted.refused)
        if counted.received.frames != sum(state.frames for state in states):
            return False
    return True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--open", type=int, default=100_000, help="connections open at once (default 100000)")
    parser.add_argument("--attempted", type=int, default=1_000_000, help="connections in all (default 1000000)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    memory = measure(args.open, max(args.open, args.attempted))
    if args.json:
        print(msgspec.json.encode(memory).decode())
        return
    print(f"{memory.opened:,} connections open: {memory.opened_bytes / 2**20:.1f} MiB")
    print(f"{memory.attempted:,} attempted: {memory.attempted_bytes / 2**20:.1f} MiB, {memory.connections:,} kept")
    print(f"accounting adds up: {'yes' if memory.adds_up else 'NO'}; {memory.seconds:.1f} s")


if __name__ == "__main__":
    main()
