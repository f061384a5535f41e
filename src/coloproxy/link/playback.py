"""A capture as a port: its frames come in as fast as they are taken, as if a device had received them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from coloproxy.capture import Capture, to_ethernet
from coloproxy.compare.comparator import Batch, Output
from coloproxy.link.flow import Frames
from coloproxy.link.loop import Loop
from coloproxy.link.port import Port

AT_ONCE = 64  # frames delivered in one turn


class CapturePort(Port):
    """Plays a capture file once. What is sent to it is dropped: to write captures there is the element `dump`."""

    def __init__(self, name: str, path: Path, loop: Loop, clock: Callable[[], float]) -> None:
        super().__init__(name, loop, clock, vnet_hdr=False)
        self.path = path
        self.done = False
        self.problem: str | None = None
        self._capture: Capture | None = None
        self._frames: Iterator[bytes] = iter(())
        self._reading = self._scheduled = False

    def open(self) -> None:
        self._capture = Capture(self.path)
        self._frames = (frame for record in self._capture if (frame := to_ethernet(record)))

    def close(self) -> None:
        if self._capture is not None:
            self.problem = self._capture.problem
            self._capture.close()

    @property
    def pending(self) -> int:
        return 0

    def read_on(self, wanted: bool) -> None:
        self._reading = wanted
        self._schedule()

    def _schedule(self) -> None:
        if self._reading and not self.done and not self._scheduled:
            self._scheduled = True
            self._loop.after(0.0, self._play)

    def _play(self) -> None:
        self._scheduled = False
        if not self._reading:
            return
        buf = bytearray()
        batch = Frames(buf)
        for frame in self._frames:
            batch.add(len(buf), len(buf) + len(frame), 0)
            buf += frame
            if batch.count == AT_ONCE:
                break
        else:
            self.done = True
        if batch.count:
            self.deliver(batch, self._clock())
        self._schedule()

    def batch(self, batch: Batch, now: float) -> None:
        self.dropped.add(batch.count, 0)

    def outputs(self, outputs: list[Output], now: float) -> None:
        self.dropped.add(len(outputs), 0)
