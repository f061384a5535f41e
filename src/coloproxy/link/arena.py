"""Where received bytes lie: large buffers, lent out, and given back when nothing refers to them any more.

A frame stays where it was received until it has been written, so a buffer is free when the last of its frames has
gone. Everything that refers to a buffer keeps its lease; when the lease goes, the buffer returns to the pool.
"""

import sys

CHUNK = 512 << 10  # several buffers, and all that is known of the connections, fit the processor's cache
LEAST = 128 << 10  # the least that is worth a read: a large frame, or many small ones
KEPT = 16  # free buffers kept for the next lease


class Lease:
    """A buffer in use. The last reference to go gives it back."""

    __slots__ = ("_pool", "buf")

    def __init__(self, pool: "Pool", buf: bytearray) -> None:
        self._pool = pool
        self.buf = buf

    def __del__(self) -> None:
        self._pool.give_back(self.buf)


class Pool:
    """Buffers of one size. `lent` counts those in use."""

    def __init__(self, size: int = CHUNK) -> None:
        self.size = size
        self.lent = 0
        self._free: list[bytearray] = []

    def take(self) -> Lease:
        """Lend a buffer; its contents are left over from the one before. The last one used is the first, for its
        bytes are still in the processor's cache."""
        self.lent += 1
        return Lease(self, self._free.pop() if self._free else bytearray(self.size))

    def give_back(self, buf: bytearray) -> None:
        self.lent -= 1
        if len(self._free) < KEPT:
            self._free.append(buf)


class Arena:
    """The buffer that one socket is read into: buf[at:tail] is received and not yet part of a whole frame."""

    def __init__(self, pool: Pool, least: int = LEAST) -> None:
        if pool.size < 3 * least:
            raise ValueError("a buffer must hold the half of a frame and more than one read")
        self._pool = pool
        self._least = least
        self.at = self.tail = 0
        self._lend()
        self._alone = sys.getrefcount(self.lease)  # as seen from here, while there are no others

    def _lend(self) -> None:
        self.lease = self._pool.take()
        self.buf = self.lease.buf
        self._view = memoryview(self.buf)

    def space(self) -> memoryview:
        """Where to receive to: the rest of the buffer, or another buffer if that is short.

        A buffer that nothing refers to any more is used again from its beginning: its bytes are in the cache.
        """
        if self.at:
            if sys.getrefcount(self.lease) == self._alone:
                self._bring(self.buf[self.at : self.tail])
            elif len(self.buf) - self.tail < self._least:
                half = self.buf[self.at : self.tail]
                self._lend()
                self._bring(half)
        return self._view[self.tail :]

    def _bring(self, half: bytearray) -> None:
        """Begin the buffer with the half frame."""
        self.buf[: len(half)] = half
        self.at, self.tail = 0, len(half)

    def forget(self) -> int:
        """Forget the half frame; returns how many bytes it had."""
        forgotten = self.tail - self.at
        self.at = self.tail
        return forgotten
