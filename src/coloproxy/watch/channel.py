"""A socket between two processes for lines of JSON, one of which never waits for the other."""

import socket
from collections import Counter
from collections.abc import Callable

from coloproxy.link.loop import READ, WRITE, Loop

MOST_WAITING = 4 << 20  # bytes that wait for the other process; what is more is dropped, and counted
LONGEST = 1 << 20  # bytes of a line that comes
PIECE = 1 << 18  # bytes given to the socket at a time


class Channel:
    """The end in an event loop. `line(bytes)` is called for each line that comes, `lost()` when the other end is gone.

    `dropped` counts what was not sent, by kind.
    """

    def __init__(
        self, sock: socket.socket, loop: Loop, line: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._loop = loop
        self._line = line
        self._lost = lost
        self._waiting = bytearray()
        self._half = b""
        self.dropped: Counter[str] = Counter()
        loop.watch(sock.fileno(), READ, self._ready)

    def send(self, kind: str, line: bytes) -> bool:
        """Send a line, now or when the other end takes it; False: it was dropped, for too much is waiting."""
        if self._sock is None or len(self._waiting) + len(line) > MOST_WAITING:
            self.dropped[kind] += 1
            return False
        idle = not self._waiting
        self._waiting += line
        self._waiting += b"\n"
        if idle:
            self._flush()
        return True

    def close(self) -> None:
        """Close it for good; what waits is lost."""
        if self._sock is not None:
            self._loop.watch(self._sock.fileno(), 0, self._ready)
            self._sock.close()
            self._sock = None

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE:
            self._read()

    def _flush(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            while self._waiting:
                del self._waiting[: sock.send(self._waiting[:PIECE])]
        except BlockingIOError:
            pass
        except OSError:
            self._gone()
            return
        self._loop.watch(sock.fileno(), READ | WRITE if self._waiting else READ, self._ready)

    def _read(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._half) + len(data) > LONGEST:
            self._gone()
            return
        *lines, self._half = (self._half + data).split(b"\n")
        for line in lines:
            self._line(line)

    def _gone(self) -> None:
        self.close()
        self._lost()
