"""A port: where frames come into a topology and leave it."""

import abc
from collections.abc import Callable

from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Counts, Event, Warned
from coloproxy.link.flow import Take
from coloproxy.link.loop import Loop

FULL = 4 << 20  # bytes waiting at a port at which what leads to it is no longer read
EMPTY_ENOUGH = 1 << 20  # and at which it is again


class Tally:
    """Frames and their bytes."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = self.bytes = 0

    def add(self, frames: int, size: int) -> None:
        self.frames += frames
        self.bytes += size

    def counts(self) -> Counts:
        return Counts(self.frames, self.bytes)


class Port(abc.ABC):
    """Frames that arrive are given to `take(batch, now)`; those to be sent are given to `batch` or `outputs`.

    `received`, `sent` and `dropped` count frames; dropped are those that came to a port which could not send them.
    `vnet_hdr` says whether frames are carried with a virtio-net header, `plain` that it is always empty: frames have
    whole checksums and a size that every network takes. `keeps`: whether a frame given to this port is
    referred to after the call, and its buffer must not be altered. `done`: nothing more will ever come.
    `report(event)` is told what happens to the port itself.
    """

    keeps = False
    plain = False
    done = False

    def __init__(
        self, name: str, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None], *, vnet_hdr: bool
    ) -> None:
        self.name = name
        self.vnet_hdr = vnet_hdr
        self.take: Take | None = None
        self.received, self.sent, self.dropped = Tally(), Tally(), Tally()
        self._loop = loop
        self._clock = clock
        self._report = report
        self._full = False

    @abc.abstractmethod
    def open(self) -> None:
        """Make it ready. Raises ColoproxyError when that cannot be."""

    @abc.abstractmethod
    def read_on(self, wanted: bool) -> None:
        """Whether frames are to be read."""

    @abc.abstractmethod
    def read(self) -> bool:
        """Read once, without waiting. False: there is nothing to read now."""

    @abc.abstractmethod
    def batch(self, batch: Batch, now: float) -> None:
        """Send the frames of one buffer."""

    @abc.abstractmethod
    def outputs(self, outputs: list[Output], now: float) -> None:
        """Send single frames."""

    @property
    @abc.abstractmethod
    def pending(self) -> int:
        """Bytes that wait to be sent."""

    def finish(self) -> None:
        """The turn is over: send what was collected."""

    def settle(self) -> None:
        """Count what is counted elsewhere, in the kernel."""

    def close(self) -> None:
        """Close it for good."""

    @property
    def connected(self) -> bool:
        """Whether there is anybody to send to."""
        return True

    @property
    def full(self) -> bool:
        """Whether so much waits here that nothing more should be sent; it is left again only when little does."""
        pending = self.pending
        if pending or self._full:
            self._full = pending > (EMPTY_ENOUGH if self._full else FULL)
        return self._full

    def _warn(self, what: str) -> None:
        self._report(Warned(time=self._clock(), text=f"port {self.name}: {what}"))

    def deliver(self, batch: Batch, now: float) -> None:
        """Count a batch that arrived, and hand it on."""
        index = batch.index[: 3 * batch.count]
        size = sum(index[1::3]) - sum(index[0::3])
        self.received.add(batch.count, size)
        self.hand_on(batch, size, now)

    def hand_on(self, batch: Batch, size: int, now: float) -> None:
        """Give a batch to whoever takes it; without anybody, it is dropped."""
        if self.take is None:
            self.dropped.add(batch.count, size)
        else:
            self.take(batch, now)
