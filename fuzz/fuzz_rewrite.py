"""Fuzzes the rewriter: hostile bytes as frames, mutated good ones, from any side, with time, checkpoints and failover.

    python fuzz/fuzz_rewrite.py -max_total_time=120 [CORPUS]

Nothing may raise; after every step the accounts must add up and the bounds hold; a frame keeps its length and its
Ethernet header; the fast path must do what the general path does.
"""

import random
import sys
import time
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:  # the tests run this file without it
    atheris = None  # type: ignore[assignment]

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

if atheris is not None:
    with atheris.instrument_imports(include=["coloproxy.rewrite", "coloproxy.packet"]):
        from coloproxy.rewrite.config import Config
        from coloproxy.rewrite.rewriter import Rewriter
        from coloproxy.rewrite.sources import Source
else:
    from coloproxy.rewrite.config import Config
    from coloproxy.rewrite.rewriter import Rewriter
    from coloproxy.rewrite.sources import Source
from support import frames
from support.frames import ACK, FIN, RST, SYN, syn_options, timestamp
from support.kinds import FRAMES
from support.rewriting import C_ISN, CLIENT_SYN, P_ISN, P_SYN_ACK, S_ISN, S_SYN_ACK, Batch, adds_up, client, replica

V6 = {"src": "fd00::9", "dst": "fd00::2"}
V6_BACK = {"src": "fd00::2", "dst": "fd00::9"}
SACK = b"\1\5\x0a" + bytes.fromhex("000003e9000003f5") + b"\1"
MODELS: dict[Source, list[bytes]] = {
    Source.CLIENT: [
        CLIENT_SYN, client(), client(b"data", options=SACK), client(b"data", options=timestamp(1, 2)),
        client(flags=FIN | ACK), client(flags=RST), client(seq=C_ISN, flags=SYN | ACK),
        client(seq=C_ISN, ack=0, flags=SYN, options=syn_options(stamps=True), **V6), client(b"x", **V6),
        client(b"x", vlan=(3,)), client(seq=C_ISN, ack=0, flags=SYN, vlan=(3,)),
        frames.icmp(b"\0" * 4 + replica(seq=P_ISN + 1)[14:42], kind=3, code=4, src="10.0.0.1", dst="10.0.0.2"),
    ],
    Source.PRIMARY: [
        P_SYN_ACK, replica(seq=P_ISN, ack=0, flags=SYN), replica(b"data", seq=P_ISN + 1),
        replica(seq=P_ISN, flags=SYN | ACK, **V6_BACK), replica(seq=P_ISN, flags=SYN | ACK, vlan=(3,)),
    ],
    Source.SECONDARY: [
        S_SYN_ACK, replica(seq=S_ISN, ack=0, flags=SYN), replica(b"data", seq=S_ISN + 1),
        replica(b"data", seq=S_ISN + 1, options=timestamp(3, 4)), replica(seq=S_ISN + 1, flags=FIN | ACK),
        replica(seq=S_ISN + 1, flags=RST), replica(seq=S_ISN, flags=SYN | ACK, options=timestamp(9, 1), **V6_BACK),
        replica(b"x", seq=S_ISN + 1, **V6_BACK), replica(seq=S_ISN, flags=SYN | ACK, vlan=(3,)),
    ],
}  # fmt: skip
OTHERS = [frame for name, frame in FRAMES.items() if "virtio" not in name]
VIRTIO = {10: frames.tcp(b"x" * 300, vnet=10, gso=100), 12: frames.tcp(b"x" * 30, vnet=12), 20: frames.tcp(vnet=20)}
CONFIGS = [
    Config(**values)  # type: ignore[arg-type]
    for values in (
        {}, {"timestamps": "translate"}, {"timestamps": "keep", "max_connections": 2},
        {"timestamps": "translate", "max_held_frames": 2, "max_held_bytes": 300, "hold_timeout": 10},
        {"idle_timeout": 100, "transitory_timeout": 50},
    )
]  # fmt: skip
DOINGS = ["checkpoint_completed"] * 4 + ["failover_to_secondary", "primary_alone"]


class Choices:
    """The part of atheris.FuzzedDataProvider that is used, from plain random numbers."""

    def __init__(self, raw: bytes) -> None:
        self._rng, self._left = random.Random(raw), len(raw)

    def remaining_bytes(self) -> int:
        return max(self._left, 0)

    def ConsumeIntInRange(self, low: int, high: int) -> int:
        self._left -= 1
        return self._rng.randint(low, high)

    def PickValueInList(self, values: list[Any]) -> Any:
        self._left -= 1
        return self._rng.choice(values)

    def ConsumeBytes(self, count: int) -> bytes:
        self._left -= count
        return self._rng.randbytes(count)


def some_frame(data: Any, source: Source) -> tuple[bytes, int]:
    """Raw bytes, or a good frame with some bytes changed, cut or added."""
    kind = data.ConsumeIntInRange(0, 15)
    if kind == 0:
        return data.ConsumeBytes(data.ConsumeIntInRange(1, 80)) or b"?", data.PickValueInList([0, 3, 10, 12, 20])
    vnet = 0
    if kind == 1:
        frame = bytearray(data.PickValueInList(OTHERS))
    elif kind == 2:
        vnet = data.PickValueInList(list(VIRTIO))
        frame = bytearray(VIRTIO[vnet])
    else:
        frame = bytearray(data.PickValueInList(MODELS[source]))
    for _ in range(data.ConsumeIntInRange(0, 2)):
        frame[data.ConsumeIntInRange(0, min(len(frame), 110) - 1)] = data.ConsumeIntInRange(0, 255)
    if data.ConsumeIntInRange(0, 9) == 0:
        del frame[data.ConsumeIntInRange(1, len(frame)) :]
    return bytes(frame), vnet


def check(rewriter: Rewriter) -> None:
    accounting, config = rewriter.accounting(), rewriter.config
    for account in (accounting.primary, accounting.secondary, accounting.client):
        if not adds_up(account):
            raise AssertionError(f"the accounts do not add up: {account}")
    if len(rewriter) > config.max_connections:
        raise AssertionError("more connections than there may be")
    if accounting.client.held.bytes + accounting.secondary.held.bytes > config.max_held_bytes:
        raise AssertionError("more bytes wait than may")


def do(rewriter: Rewriter, step: tuple[str, Any], now: float) -> list[bytes]:
    """Do one step; returns what went on."""
    what, value = step
    out: list[bytes] = []
    if what == "frames":
        source, sent, vnet = value
        batch = Batch(sent, vnet)
        rewriter.translate(source, batch, now)
        out = batch.frames()
        if batch.count == len(sent):
            for before, after in zip(sent, out, strict=True):
                if len(before) != len(after) or before[:14] != after[:14]:
                    raise AssertionError("more of a frame was altered than its numbers")
        if source is Source.PRIMARY and batch.count != len(sent):
            raise AssertionError("a frame of the primary was kept back")
    else:
        getattr(rewriter, what)(now)
    for source in Source:
        out += [frame for frame, _ in rewriter.take_released(source)]
    check(rewriter)
    return out


def some_step(data: Any) -> tuple[str, Any]:
    kind = data.ConsumeIntInRange(0, 15)
    if kind < 11:
        source = data.PickValueInList(list(Source))
        sent = [some_frame(data, source) for _ in range(kind % 3 + 1)]
        vnet = sent[0][1]
        return "frames", (source, [frame for frame, length in sent if length == vnet], vnet)
    return ("tick", None) if kind < 14 else (data.PickValueInList(DOINGS), None)


def one_input(raw: bytes) -> None:
    data: Any = atheris.FuzzedDataProvider(raw) if atheris is not None else Choices(raw)
    config = data.PickValueInList(CONFIGS)
    fast, general = Rewriter(config), Rewriter(config)
    general.use_general_path()
    now = 0.0
    while data.remaining_bytes():
        step = some_step(data)
        if step[0] == "tick":
            now += data.PickValueInList([0.0, 0.02, 1.0, 6.0, 300.0])
        if do(fast, step, now) != do(general, step, now):
            raise AssertionError("the two paths made different frames")
        if fast.accounting() != general.accounting() or fast.state(now) != general.state(now):
            raise AssertionError("the two paths are in different states")
    if fast.take_events() != general.take_events():
        raise AssertionError("the two paths said different things")


def run(seconds: float, seed: int) -> int:
    """Try random inputs for some time; returns how many."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        one_input(rng.randbytes(rng.randrange(1, 400)))
        count += 1
    return count


if __name__ == "__main__":
    if atheris is None:
        sys.exit("atheris is not installed: pip install 'coloproxy[fuzz]'")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
