"""The one who makes checkpoints, in whose place we stand: two ordinary processes cannot be made equal.

It listens to the comparator as QEMU's COLO frame or Xen's toolstack does. When it is asked for a checkpoint, it stops
both replicas for as long as a checkpoint would, and says that it is made.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from coloproxy.checkpoint.notify import CHECKPOINT, DO_CHECKPOINT, Decoder, encode
from coloproxy.errors import ColoproxyError
from coloproxy.lab.replica import ReplicaHost

START = 20.0  # seconds in which the comparator must listen


class Checkpointer:
    """Serves one comparator, in a thread of its own.

    path: the comparator's notify socket. cost: seconds for which a checkpoint stops the replicas. long_form: the
    comparator takes messages with a second word behind the length, as QEMU does with virtio-net headers. made(): is
    called when a checkpoint is made, before the comparator is told. first: begin with one, as a pair does, so that the
    rewriter follows all connections.
    """

    def __init__(
        self, path: Path, replicas: Sequence[ReplicaHost], cost: float, *, long_form: bool, first: bool,
        made: Callable[[], None],
    ) -> None:  # fmt: skip
        self.asked = 0
        self.made = 0
        self.stopped = 0.0
        self._replicas = replicas
        self._cost = cost
        self._done = struct.pack(">II", len(CHECKPOINT), 0) + CHECKPOINT if long_form else encode(CHECKPOINT)
        self._made = made
        self._decoder = Decoder(vnet_hdr=False)
        self._ending = False
        self._problem: str | None = None
        self._sock = _connected(path)
        if first:
            self._complete()
        threading.Thread(target=self._serve, name="checkpoints", daemon=True).start()

    def check(self) -> None:
        """Raises ColoproxyError if it could not go on."""
        if self._problem is not None:
            raise ColoproxyError(f"checkpoints can be made no more: {self._problem}.")

    def end(self) -> None:
        """Make no more of them."""
        self._ending = True

    def _serve(self) -> None:
        try:
            while data := self._sock.recv(1 << 16):
                if self._heard(data) and not self._ending:
                    self._checkpoint()
            why = "the comparator closed its notify socket"
        except (OSError, ColoproxyError) as error:
            why = str(error)
        if not self._ending:
            self._problem = why

    def _heard(self, data: bytes) -> bool:
        """Count the requests in what was received; whether there is one."""
        count = self._decoder.feed(data).count(DO_CHECKPOINT)
        self.asked += count
        return count > 0

    def _checkpoint(self) -> None:
        begun = time.monotonic()
        for replica in self._replicas:
            replica.stop()
        time.sleep(self._cost)
        self._complete()
        for replica in self._replicas:
            replica.go_on()
        self.made += 1
        self.stopped += time.monotonic() - begun

    def _complete(self) -> None:
        """Say that a checkpoint is made; it is the answer to requests that came meanwhile too."""
        self._made()
        try:
            while data := self._sock.recv(1 << 16, socket.MSG_DONTWAIT):
                self._heard(data)
        except BlockingIOError:
            pass
        self._sock.sendall(self._done)


def _connected(path: Path) -> socket.socket:
    """Raises ColoproxyError if nobody comes to listen there."""
    end = time.monotonic() + START
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
            return sock
        except OSError as error:
            sock.close()
            if time.monotonic() > end:
                raise ColoproxyError(f"the comparator's notify socket cannot be reached: {error}.") from None
        time.sleep(0.01)
