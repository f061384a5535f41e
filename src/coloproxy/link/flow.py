"""How frames go from one piece of a topology to the next: many at a time, in the buffer that they were received in.

A batch belongs to who passes it on: once `batch()` has returned, its index is used again, and so is its buffer unless
somebody keeps the lease.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Protocol

from coloproxy.compare.comparator import Batch, Output

MOST = 4096  # frames in a batch


class Frames:
    """Frames in one buffer, as the comparator takes them: `index` holds (start, end, virtio-net header's length)."""

    __slots__ = ("buf", "count", "headroom", "index", "lease")

    def __init__(self, buf: bytearray, lease: object = None, headroom: int = 0) -> None:
        self.buf = buf
        self.lease = lease
        self.headroom = headroom
        self.index = array("I")
        self.count = 0

    def add(self, start: int, end: int, vnet_len: int) -> None:
        """Append the frame buf[start:end]."""
        self.index.extend((start, end, vnet_len))
        self.count += 1


class Sink(Protocol):
    """Where frames may be sent: an element's input, or a port."""

    def batch(self, batch: Batch, now: float) -> None:
        """Take the frames of one buffer."""

    def outputs(self, outputs: list[Output], now: float) -> None:
        """Take single frames of any buffers: (buf, start, end, virtio-net header's length, lease)."""


class Inlet:
    """An element's input: `take(batch, now)` is all that an element must have for it."""

    __slots__ = ("batch",)

    def __init__(self, take: "Take") -> None:
        self.batch = take

    def outputs(self, outputs: list[Output], now: float) -> None:
        for batch in grouped(outputs):
            self.batch(batch, now)


class Take(Protocol):
    def __call__(self, batch: Batch, now: float, /) -> None: ...


def frames_of(batch: Batch) -> Iterator[tuple[int, int, int]]:
    """(start, end, virtio-net header's length) of each frame."""
    index = batch.index
    for at in range(0, 3 * batch.count, 3):
        yield index[at], index[at + 1], index[at + 2]


def grouped(outputs: Iterable[Output]) -> Iterator[Frames]:
    """Single frames as batches: those that follow each other in one buffer together."""
    batch: Frames | None = None
    for buf, start, end, vnet_len, lease in outputs:
        if batch is None or batch.buf is not buf or batch.count == MOST:
            if batch is not None:
                yield batch
            batch = Frames(buf if isinstance(buf, bytearray) else bytearray(buf), lease)
        batch.add(start, end, vnet_len)
    if batch is not None:
        yield batch


def bare(batch: Batch) -> Batch:
    """The same frames without their framing, which may not be right where they go."""
    if not batch.headroom:
        return batch
    frames = Frames(batch.buf, batch.lease)
    frames.index, frames.count = batch.index, batch.count
    return frames


def resized(frame: memoryview, vnet_len: int, wanted: int) -> bytes:
    """The frame with a virtio-net header of `wanted` bytes in place of the one it has, if any.

    They begin alike: the longer ones have more behind the 10 bytes of the shortest (virtio 1.2, 5.1.6).
    """
    return bytes(frame[: min(vnet_len, 10)]).ljust(wanted, b"\0") + frame[vnet_len:]


def copied(batch: Batch) -> Frames:
    """The same frames in a buffer of their own."""
    whole = batch.index[: 3 * batch.count]
    if not whole:
        return Frames(bytearray())
    first, last = min(whole[0::3]), max(whole[1::3])
    copy = Frames(batch.buf[first:last])
    for start, end, vnet_len in frames_of(batch):
        copy.add(start - first, end - first, vnet_len)
    return copy
