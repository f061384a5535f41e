"""The elements that look at no frame: mirror, buffer, dump."""

import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

from coloproxy.capture import PcapngWriter
from coloproxy.compare.comparator import Batch, Output
from coloproxy.errors import ColoproxyError
from coloproxy.link.flow import Take, copied, frames_of
from coloproxy.topology import config
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Shape

COPY = "copy"


class Mirror(Element):
    """Sends on what comes in, and the same to `copy`.

    apart: the copy is one in memory too, for one branch alters what the other still needs.
    """

    shape = Shape((IN,), (OUT, COPY))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.apart = False

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        twin = copied(batch) if self.apart else batch
        self.outs[OUT].batch(batch, now)
        self.outs[COPY].batch(twin, now)


class Buffer(Element):
    """Keeps what comes in, in order, and lets all of it go on at once, every `interval`."""

    keeps = True

    def __init__(self, name: str, settings: config.Buffer, clock: Callable[[], float]) -> None:
        super().__init__(name)
        self._interval = settings.interval / 1e6
        self._due = clock() + self._interval
        self._waiting: list[Output] = []

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        buf, lease = batch.buf, batch.lease
        self._waiting += [(buf, start, end, vnet_len, lease) for start, end, vnet_len in frames_of(batch)]

    def deadline(self) -> float | None:
        return self._due if self._waiting else None

    def tick(self, now: float) -> None:
        if now < self._due:
            return
        self._due = now + self._interval
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.outs[OUT].outputs(waiting, now)

    def counters(self) -> dict[str, int]:
        return {"held": len(self._waiting)}


class Dump(Element):
    """Writes what passes into a pcapng file, and sends it on."""

    def __init__(self, name: str, settings: config.Dump) -> None:
        super().__init__(name)
        self._path = settings.file
        self._most = settings.maxlen
        self._file: BinaryIO | None = None
        self._writer: PcapngWriter | None = None
        self._written = 0
        self._lost = 0

    def open(self) -> None:
        try:
            self._file = open(self._path, "wb")  # noqa: SIM115
            self._writer = PcapngWriter(self._file)
        except OSError as error:
            raise ColoproxyError(
                f"element {self.name}: file {self._path}: {error.strerror}; name one that can be written."
            ) from None

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        stamp = time.time_ns()
        try:
            for start, end, vnet_len in frames_of(batch):
                self._write(batch.buf, start + vnet_len, end, stamp)
        except OSError:
            self._writer = None  # the disk is full: what passes goes on passing
        self.outs[OUT].batch(batch, now)

    def _write(self, buf: bytearray, start: int, end: int, stamp: int) -> None:
        if self._writer is None:
            self._lost += 1
            return
        frame = bytes(buf[start : min(end, start + self._most)])
        self._writer.write(frame, stamp, original_length=end - start)
        self._written += 1

    def counters(self) -> dict[str, int]:
        return {"written": self._written, "lost": self._lost}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
