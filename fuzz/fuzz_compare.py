"""Fuzzes the comparator: hostile bytes as frames, mutated good ones, in any order, with time, checkpoints and rules.

    python fuzz/fuzz_compare.py -max_total_time=120 [CORPUS]

After every step the accounts must add up; the fast path must do what the general path does.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

with atheris.instrument_imports(include=["coloproxy.compare", "coloproxy.packet"]):
    from coloproxy import Comparator, Config, Side
    from coloproxy.compare.rules import DEFAULT_RULES, Rule
from support import frames
from support.anything import Batch
from support.play import adds_up

MODELS = [
    frames.tcp(seq=999, ack=1, flags=0x12, options=frames.syn_options(stamps=True)),
    frames.tcp(b"abcdefgh", seq=1000, ack=1),
    frames.tcp(b"abcd", seq=1000, ack=50, vlan=(3,)),
    frames.tcp(b"x" * 3000, seq=1000, ack=1, src="fd00::2", dst="fd00::9"),
    frames.tcp(seq=1008, ack=9, flags=0x11),
    frames.tcp(seq=1000, flags=0x04),
    frames.tcp(b"y" * 5000, seq=0xFFFFFFF0, ack=1, vnet=12, gso=1448),
    frames.udp(b"datagram"),
    frames.udp(b"", src="fd00::2", dst="fd00::9", extensions=((0, b"\1\4\0\0\0\0"),)),
    frames.icmp(b"ping"),
    frames.icmp(b"ping", kind=129, src="fd00::2", dst="fd00::9"),
    frames.other(b"gre"),
    frames.arp(),
    *frames.fragments(frames.udp_datagram(b"z" * 90), size=40),
    *frames.fragments(
        frames.udp_datagram(b"z" * 90, src="fd00::2", dst="fd00::9"), size=40, src="fd00::2", dst="fd00::9"
    ),
]
VNET = {id(MODELS[6]): 12}
CONFIGS = [
    Config(**values)
    for values in (
        {}, {"tcp_match": "packet"}, {"isn": "relative"}, {"ack_rule": "hold", "max_queue_size": 3},
        {"on_divergence": "release"}, {"on_divergence": "alarm", "max_connections": 2}, {"malformed": "refuse"},
    )
]  # fmt: skip


def some_frame(data: atheris.FuzzedDataProvider) -> tuple[bytes, int]:
    """Raw bytes, or a good frame with some bytes changed, cut or added."""
    if data.ConsumeIntInRange(0, 7) == 0:
        return data.ConsumeBytes(data.ConsumeIntInRange(1, 80)) or b"?", data.PickValueInList([0, 10, 12, 20])
    model = data.PickValueInList(MODELS)
    frame = bytearray(model)
    for _ in range(data.ConsumeIntInRange(0, 3)):
        frame[data.ConsumeIntInRange(0, min(len(frame), 110) - 1)] = data.ConsumeIntInRange(0, 255)
    if data.ConsumeIntInRange(0, 9) == 0:
        del frame[data.ConsumeIntInRange(1, len(frame)) :]
    return bytes(frame), VNET.get(id(model), 0)


def do(c: Comparator, step: tuple[str, object], now: float) -> list[bytes]:
    what, value = step
    if what == "frames":
        side, batch = value  # type: ignore[misc]
        c.receive_batch(side, Batch(batch, 4), now)  # type: ignore[arg-type]
    elif what == "rules":
        c.set_rules(value)  # type: ignore[arg-type]
    elif what == "compact":
        c.compact()
    else:
        getattr(c, what)(now)
    return [bytes(buf[start:end]) for buf, start, end, _, _ in c.take_output()]


def some_step(data: atheris.FuzzedDataProvider) -> tuple[str, object]:
    kind = data.ConsumeIntInRange(0, 15)
    if kind < 9:
        return "frames", (Side(data.ConsumeIntInRange(0, 1)), [some_frame(data) for _ in range(kind % 3 + 1)])
    if kind < 12:
        return "tick", None
    if kind == 12:
        return "rules", data.PickValueInList([[Rule(protocol="udp", action="refuse")], list(DEFAULT_RULES), []])
    return data.PickValueInList(
        ["checkpoint_completed"] * 4 + ["checkpoint_failed", "compact", "primary_alone", "failover_to_secondary"]
    ), None  # fmt: skip


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    config = data.PickValueInList(CONFIGS)
    fast, general = Comparator(config, now=0.0), Comparator(config, now=0.0)
    general.use_general_path()
    now = 0.0
    while data.remaining_bytes():
        step = some_step(data)
        if step[0] == "tick":
            now += data.PickValueInList([0.0005, 0.002, 0.011, 0.5, 4.0])
        left = do(fast, step, now)
        if b"".join(left) != b"".join(do(general, step, now)):
            raise AssertionError("the two paths released different frames")
        account = fast.accounting()
        if not (adds_up(account.primary) and adds_up(account.secondary)):
            raise AssertionError(f"the accounts do not add up: {account}")
        if account != general.accounting():
            raise AssertionError("the two paths have different accounts")
        if len(fast.take_events()) != len(general.take_events()):
            raise AssertionError("the two paths said different things")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
