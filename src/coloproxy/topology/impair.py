"""A bad network in user space: loss, delay, jitter, reordering, duplication and a rate, the same with the same seed."""

import heapq
import itertools
import math
import random
import struct
from collections.abc import Mapping

from coloproxy.compare.comparator import Batch, Output
from coloproxy.errors import ColoproxyError
from coloproxy.link.flow import Take, frames_of
from coloproxy.topology import config
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT

ETHERNET_OVERHEAD = 24  # bytes a frame costs on the wire besides its own: preamble, check sequence, gap (IEEE 802.3)
VNET_LEN = 10  # bytes of the shortest virtio-net header (virtio 1.2, 5.1.6)
HELD_BACK = 0.001  # seconds by which a frame is held back to be overtaken, where there is no delay to go by


def wire_bytes(buf: bytes | bytearray, start: int, end: int, vnet_len: int) -> int:
    """What a frame costs on the wire: a large one the sum of the segments it stands for."""
    size = end - start - vnet_len
    gso_size = header = 0
    if vnet_len >= VNET_LEN and size > 0:
        header, gso_size = struct.unpack_from("<HH", buf, start + 2)
    if not gso_size or size <= header:
        return max(size, 0) + ETHERNET_OVERHEAD
    segments = math.ceil((size - header) / gso_size)
    return size + (segments - 1) * header + segments * ETHERNET_OVERHEAD


class Impair(Element):
    """Frames wait here in the order in which they will leave."""

    keeps = True

    def __init__(self, name: str, settings: config.Impair) -> None:
        super().__init__(name)
        self._settings = settings
        try:
            self._rate = settings.bits_per_second
        except ColoproxyError as error:
            raise ColoproxyError(f"element {name}: {error}") from None
        self._random = random.Random(settings.seed)
        self._waiting: list[tuple[float, int, Output]] = []
        self._numbers = itertools.count()
        self._free_at = 0.0  # when the wire will have carried all that was sent
        self._last = 0.0  # when the last frame that is not held back leaves: without reordering none overtakes
        self._counts = dict.fromkeys(("lost", "duplicated", "reordered", "overflowed"), 0)

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        settings, rng = self._settings, self._random
        for start, end, vnet_len in frames_of(batch):
            if settings.loss and rng.random() < settings.loss:
                self._counts["lost"] += 1
                continue
            frame = (batch.buf, start, end, vnet_len, batch.lease)
            self._send(frame, now)
            if settings.duplicate and rng.random() < settings.duplicate:
                self._counts["duplicated"] += 1
                # In memory of its own, for what comes next may alter frames where they lie.
                self._send((bytearray(batch.buf[start:end]), 0, end - start, vnet_len, None), now)

    def _send(self, frame: Output, now: float) -> None:
        settings, rng = self._settings, self._random
        late = rng.random() * settings.jitter / 1000 if settings.jitter else 0.0
        overtaken = settings.reorder and rng.random() < settings.reorder
        if len(self._waiting) >= settings.limit:
            self._counts["overflowed"] += 1
            return
        due = now
        if self._rate:
            due = self._free_at = max(self._free_at, now) + 8 * wire_bytes(*frame[:4]) / self._rate
        due += settings.delay / 1000 + late
        if overtaken:
            self._counts["reordered"] += 1
            due += settings.delay / 1000 or HELD_BACK
        else:
            due = self._last = max(due, self._last)
        heapq.heappush(self._waiting, (due, next(self._numbers), frame))

    def deadline(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def tick(self, now: float) -> None:
        waiting = self._waiting
        leaving = []
        while waiting and waiting[0][0] <= now:
            leaving.append(heapq.heappop(waiting)[2])
        if leaving:
            self.outs[OUT].outputs(leaving, now)

    finish = tick

    @property
    def idle(self) -> bool:
        return not self._waiting

    def counters(self) -> dict[str, int]:
        return {**self._counts, "held": len(self._waiting)}
