"""The way in: what a replica's socket brings, cut into frames, and handed on many at a time."""

import socket
from collections.abc import Callable

from coloproxy.link.arena import Arena, Pool
from coloproxy.link.framing import BATCH, MAX_FRAME, Batch


class BadLengthError(Exception):
    """The peer announced a frame of a length that none has: the stream cannot be followed any further."""

    def __init__(self, length: int) -> None:
        super().__init__(
            f"a frame of {length} bytes was announced; they have 1 to {MAX_FRAME}"
            " (does the other end use the same vnet-hdr setting?)"
        )
        self.length = length


class Inbox:
    """Receives one side. `take(batch)` is given what was found; it must not keep the batch itself."""

    def __init__(self, vnet_hdr: bool, pool: Pool, take: Callable[[Batch], None]) -> None:
        self._arena = Arena(pool)
        self._batch = Batch(vnet_hdr)
        self._take = take

    def read(self, sock: socket.socket) -> bool:
        """Receive once and hand on the whole frames. False: there is nothing to read now.

        Raises EOFError when the peer has ended, BadLengthError when it cannot be followed, OSError when it is gone.
        """
        arena, batch = self._arena, self._batch
        try:
            count = sock.recv_into(arena.space())
        except BlockingIOError:
            return False
        if count == 0:
            raise EOFError("the peer closed the connection")
        arena.tail += count
        batch.buf, batch.lease = arena.buf, arena.lease
        try:
            self._scan()
        finally:
            batch.buf = batch.lease = None
        return True

    def _scan(self) -> None:
        arena, batch = self._arena, self._batch
        while True:
            arena.at = batch.scan(arena.at, arena.tail)
            found = batch.count
            if found:
                self._take(batch)  # who may take frames out of it
            if batch.refused >= 0:
                raise BadLengthError(batch.refused)
            if found < BATCH:
                return

    def forget(self) -> int:
        """Forget the half-read frame, for its connection is gone; returns how many bytes it had."""
        return self._arena.forget()
