"""The elements that look at no frame: mirror, switch, buffer, dump."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from coloproxy.capture import PcapngWriter
from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.flow import Take, copied, frames_of
from coloproxy.topology import config
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Shape

COPY, AFTER = "copy", "after"
BUFFERED = 1 << 20  # bytes of a capture that are written in one go


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


class Switch(Element):
    """Sends on what comes in, by `after` once the secondary has taken over. Where that is not wired, it is dropped."""

    shape = Shape((IN,), (OUT, AFTER), optional=frozenset({OUT, AFTER}))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._way = OUT
        self._dropped = 0

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        out = self.outs.get(self._way)
        if out is None:
            self._dropped += batch.count
        else:
            out.batch(batch, now)

    def turn(self) -> None:
        """The secondary has taken over."""
        self._way = AFTER

    def counters(self) -> dict[str, int]:
        return {"dropped": self._dropped}


class Buffer(Element):
    """Keeps what comes in, in order, and lets all of it go on at once, every `interval`."""

    keeps = True

    def __init__(self, name: str, settings: config.Buffer, clock: Callable[[], float]) -> None:
        super().__init__(name)
        self._interval = settings.interval / 1e6
        self._limit = settings.limit
        self._due = clock() + self._interval
        self._waiting: list[Output] = []
        self._overflowed = 0

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        if not self._waiting and self._due <= now:  # nothing was there to be let go: the times stay where they are
            self._due += (1 + (now - self._due) // self._interval) * self._interval
        buf, lease = batch.buf, batch.lease
        came = [(buf, start, end, vnet_len, lease) for start, end, vnet_len in frames_of(batch)]
        room = self._limit - len(self._waiting)
        self._waiting += came[:room]
        self._overflowed += len(came[room:])

    def deadline(self) -> float | None:
        return self._due if self._waiting else None

    def tick(self, now: float) -> None:
        if not self._waiting or now < self._due:
            return
        waiting, self._waiting = self._waiting, []
        self.outs[OUT].outputs(waiting, now)

    @property
    def idle(self) -> bool:
        return not self._waiting

    def counters(self) -> dict[str, int]:
        return {"held": len(self._waiting), "overflowed": self._overflowed}


class Dump(Element):
    """Writes what passes into a pcapng file, and sends it on, if it is wired to anything."""

    shape = Shape((IN,), (OUT,), optional=frozenset({OUT}))

    def __init__(self, name: str, settings: config.Dump, report: Callable[[Event], None]) -> None:
        super().__init__(name)
        self._report = report
        self._path = settings.file
        self._most = settings.maxlen
        self._file: BinaryIO | None = None
        self._writer: PcapngWriter | None = None
        self._written = 0
        self._lost = 0

    def open(self) -> None:
        try:
            self._file = open(self._path, "wb", buffering=BUFFERED)  # noqa: SIM115
            self._writer = PcapngWriter(self._file)
        except OSError as error:
            raise ColoproxyError(
                f"element {self.name}: file {self._path}: {error.strerror}; name one that can be written."
            ) from None

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        stamp = time.time_ns()
        with self._going_on(now):
            for start, end, vnet_len in frames_of(batch):
                self._write(batch.buf, min(start + vnet_len, end), end, stamp)
        if OUT in self.outs:
            self.outs[OUT].batch(batch, now)

    def _write(self, buf: bytearray, start: int, end: int, stamp: int) -> None:
        if self._writer is None:
            self._lost += 1
            return
        frame = bytes(buf[start : min(end, start + self._most)])
        self._writer.write(frame, stamp, original_length=end - start)
        self._written += 1

    def finish(self, now: float) -> None:
        """Whoever looks into the file finds what has passed."""
        if self._writer is not None:
            assert self._file is not None
            with self._going_on(now):
                self._file.flush()

    @contextlib.contextmanager
    def _going_on(self, now: float) -> Iterator[None]:
        """When the disk is full, what passes goes on passing."""
        try:
            yield
        except OSError as error:
            self._writer = None
            text = f"element {self.name}: file {self._path}: {error.strerror}; no more is written"
            self._report(Warned(time=now, text=text))

    def counters(self) -> dict[str, int]:
        return {"written": self._written, "lost": self._lost}

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
