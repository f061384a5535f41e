"""Batches for elements, and what becomes of them."""

import random
from collections.abc import Mapping
from typing import Any

from coloproxy.link.clock import Clock
from coloproxy.link.flow import Frames, frames_of
from coloproxy.topology.element import Element


class Catch:
    """Where an output leads in a test: what came, and when."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.vnet_lens: list[int] = []
        self.times: list[float] = []

    def batch(self, batch: Any, now: float) -> None:
        for start, end, vnet_len in frames_of(batch):
            self._take(batch.buf, start, end, vnet_len, now)

    def outputs(self, outputs: Any, now: float) -> None:
        for buf, start, end, vnet_len, _ in outputs:
            self._take(buf, start, end, vnet_len, now)

    def _take(self, buf: Any, start: int, end: int, vnet_len: int, now: float) -> None:
        self.frames.append(bytes(buf[start:end]))
        self.vnet_lens.append(vnet_len)
        self.times.append(now)

    def take(self) -> list[bytes]:
        """What came since the last time."""
        taken, self.frames = self.frames, []
        return taken


def batch(*frames: bytes, vnet: int = 0) -> Frames:
    """Frames in one buffer, with something between them, as a port gives them."""
    made = Frames(bytearray(b"?"), lease=object())
    for frame in frames:
        start = len(made.buf)
        made.buf += frame + b"?"
        made.add(start, start + len(frame), vnet)
    return made


class Bench:
    """An element with every output caught; `send` goes in by a channel, `turn` is the end of a turn of the loop."""

    def __init__(self, element: Element) -> None:
        self.element = element
        self.outs = {channel: Catch() for channel in element.shape.outputs}
        element.outs.update(self.outs)
        self._inlets = {channel: element.inlet(channel) for channel in element.shape.inputs}

    @property
    def out(self) -> Catch:
        return self.outs["out"]

    def send(self, *frames: bytes, channel: str = "in", now: float = 0.0, vnet: int = 0) -> None:
        made = batch(*frames, vnet=vnet)
        self._inlets[channel].batch(made, now)
        if not self.element.keeps and made.lease is not None:
            made.buf[:] = bytes(len(made.buf))  # whoever does not say that he keeps frames must not need them any more

    def turn(self, now: float) -> None:
        due = self.element.deadline()
        if due is not None and due <= now:
            self.element.tick(now)
        self.element.finish(now)

    def counters(self) -> Mapping[str, int]:
        return self.element.counters()


class StillClock(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def now(self) -> float:
        return self.at


def numbered(count: int, size: int = 64, seed: int = 1) -> list[bytes]:
    """Frames that are all different."""
    rng = random.Random(seed)
    return [number.to_bytes(4, "big") + rng.randbytes(size - 4) for number in range(count)]
