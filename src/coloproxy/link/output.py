"""The way out: what the comparator released, first in first out, many frames a write, nothing dropped.

What the peer has not taken yet waits here. `pending` says how much that is; whoever feeds this stops at a limit.
"""

import socket
from collections import deque
from itertools import islice

from coloproxy.compare.comparator import Batch
from coloproxy.compare.comparator import Output as Released
from coloproxy.link.arena import Pool
from coloproxy.link.framing import Packer, boundary

RANGES = 512  # ranges in one write; the kernel takes 1024 at most


class Outbox:
    """Frames on their way to the output socket. `written` bytes have been taken by a peer, `pending` have not."""

    def __init__(self, vnet_hdr: bool, pool: Pool) -> None:
        self._headroom = 8 if vnet_hdr else 4
        self._packer = Packer(vnet_hdr, pool.take)
        self._pieces: deque[tuple[memoryview, object]] = deque()
        self._sent = 0  # bytes of the first piece that have been written
        self.pending = 0
        self.written = 0

    def add(self, released: list[Released]) -> None:
        """Put what was released in line."""
        self._packer.pack(released, self._pieces, True)
        self.pending += self._packer.size

    def add_batch(self, batch: Batch, bare: bool) -> int:
        """Put the frames of a batch in line, bare: without their virtio-net headers; how many bytes they have."""
        size = self._packer.pack_batch(batch.buf, batch.index, batch.count, bare, self._pieces)  # type: ignore[arg-type]
        self.pending += self._packer.size
        return size

    def flush(self, sock: socket.socket) -> bool:
        """Write as much as the peer takes. False: it takes no more for now. Raises OSError when it is gone."""
        while self._pieces:
            ranges = [piece[0] for piece in islice(self._pieces, RANGES)]
            if self._sent:
                ranges[0] = ranges[0][self._sent :]
            try:
                count = sock.sendmsg(ranges)
            except BlockingIOError:
                return False
            self._advance(count)
        self._packer.rewind()
        return True

    def _advance(self, count: int) -> None:
        self.pending -= count
        self.written += count
        if not self.pending:
            self._pieces.clear()
            self._sent = 0
            return
        count += self._sent
        pieces = self._pieces
        while pieces and count >= len(pieces[0][0]):
            count -= len(pieces.popleft()[0])
        self._sent = count

    def peer_lost(self) -> None:
        """The peer is gone, and half a frame with it: the next peer is sent the whole of it."""
        if self._sent:
            start = boundary(self._pieces[0][0], self._sent, self._headroom)
            self.pending += self._sent - start
            self.written -= self._sent - start
            self._sent = start

    def forget(self) -> tuple[int, int]:
        """Forget what waits, for nobody will take it: how many frames that were, and their bytes."""
        frames = size = 0
        at = self._sent
        for view, _ in self._pieces:
            while at < len(view):
                length = int.from_bytes(view[at : at + 4], "big")
                frames, size, at = frames + 1, size + length, at + self._headroom + length
            at = 0
        self._pieces.clear()
        self._packer.drop()
        self._sent = self.pending = 0
        return frames, size

    def compact(self) -> None:
        """Copy what waits together, so that the buffers it came in can be used again."""
        if not self._pieces:
            return
        start = boundary(self._pieces[0][0], self._sent, self._headroom)
        first = (self._pieces[0][0][start:], self._pieces[0][1])
        waiting = [first, *islice(self._pieces, 1, None)]
        self._sent -= start
        self._pieces.clear()
        self._packer.drop()
        self._packer.pack([(view, 0, len(view), -1, lease) for view, lease in waiting], self._pieces, False)
