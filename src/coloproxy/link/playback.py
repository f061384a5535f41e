"""A capture as a port: its frames come in as fast as they are taken, as if a device had received them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from coloproxy.capture import Capture, to_ethernet
from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.link.flow import Frames
from coloproxy.link.framing import MAX_FRAME
from coloproxy.link.loop import Loop
from coloproxy.link.port import Port

AT_ONCE = 64  # frames delivered in one turn


class CapturePort(Port):
    """Plays a capture file once. What is sent to it is dropped: to write captures there is the element `dump`."""

    def __init__(
        self, name: str, path: Path, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None]
    ) -> None:
        super().__init__(name, loop, clock, report, vnet_hdr=False)
        self.path = path
        self._capture: Capture | None = None
        self._frames: Iterator[bytes] = iter(())
        self._reading = self._scheduled = False

    def open(self) -> None:
        try:
            self._capture = Capture(self.path)
        except ColoproxyError as error:
            raise ColoproxyError(f"port {self.name}: {error}") from None
        self._frames = self._ethernet(self._capture)

    def _ethernet(self, capture: Capture) -> Iterator[bytes]:
        """Its frames; what is none, or longer than any can be, is dropped."""
        for record in capture:
            frame = to_ethernet(record)
            if frame and len(frame) <= MAX_FRAME:
                yield frame
            else:
                self.dropped.add(1, len(record.data))

    def close(self) -> None:
        if self._capture is not None:
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
        if self._reading:
            self.read()
            self._schedule()

    def read(self) -> bool:
        if self.done:
            return False
        buf = bytearray()
        batch = Frames(buf)
        for frame in self._frames:
            batch.add(len(buf), len(buf) + len(frame), 0)
            buf += frame
            if batch.count == AT_ONCE:
                break
        else:
            self._ended()
        if batch.count:
            self.deliver(batch, self._clock())
        return batch.count > 0

    def _ended(self) -> None:
        self.done = True
        if self._capture is not None and self._capture.problem:
            self._warn(self._capture.problem)

    def batch(self, batch: Batch, now: float) -> None:
        self.dropped.add(batch.count, 0)

    def outputs(self, outputs: list[Output], now: float) -> None:
        self.dropped.add(len(outputs), 0)
