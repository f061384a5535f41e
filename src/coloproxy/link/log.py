"""Events to wherever they are wanted: one JSON object a line."""

import os
import select
import stat
import sys
import time
from collections.abc import Callable

import msgspec

from coloproxy.compare.events import Event, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.loop import WRITE, Loop

MOST_WAITING = 1 << 20  # bytes that wait for a reader who is slow; what is more is lost, and counted
LAST_WRITES = 0.5  # seconds that such a reader has at the end


class EventLog:
    """Writes events as JSON lines to a file, to standard output ("-"), or nowhere (None).

    A disk that is full or a reader that has gone is said once on standard error; the proxy goes on without events. The
    reader of a pipe or a terminal keeps nobody waiting: the loop writes on when that is possible.
    """

    def __init__(self, target: str | None) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._target = target
        self._fd: int | None = None
        self._loop: Loop | None = None
        self._waiting = bytearray()
        self._lost = 0
        self._listeners: list[Callable[[Event], None]] = []
        if target == "-":
            self._fd = unblocked(1)
        elif target is not None:
            try:
                self._fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                os.set_blocking(self._fd, False)
            except OSError as error:
                raise ColoproxyError(f"events file {target}: {error.strerror}; name one that can be written.") from None

    def attach(self, loop: Loop) -> None:
        """Have this loop write what waits."""
        self._loop = loop

    def listen(self, told: Callable[[Event], None]) -> None:
        """Have each event told to somebody else too, whether it is written or not."""
        self._listeners.append(told)

    def write(self, *events: Event) -> None:
        """Write these, in order."""
        for told in self._listeners:
            for event in events:
                told(event)
        if self._fd is None:
            return
        for event in events:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                continue
            if self._lost:
                text = f"{self._lost} events were lost: their reader took none"
                self._waiting += self._encode(Warned(time=event.time, text=text)) + b"\n"
                self._lost = 0
            self._waiting += self._encode(event) + b"\n"
        self._flush()

    def close(self) -> None:
        """Write what can be written, and no more after that."""
        fd, self._loop = self._fd, None
        if fd is None:
            return
        end, poll = time.monotonic() + LAST_WRITES, select.poll()
        poll.register(fd, select.POLLOUT)
        while self._waiting and self._fd is not None and poll.poll(max(0.0, end - time.monotonic()) * 1000):
            self._flush()
        if fd > 2:
            os.close(fd)
        self._fd = None

    def _flush(self, _events: int = 0) -> None:
        """Write as much as is taken."""
        fd = self._fd
        if fd is None:
            return
        try:
            while self._waiting:
                del self._waiting[: os.write(fd, self._waiting)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._fd = None
            self._waiting.clear()
            print(f"coloproxy: events can no longer be written to {self._target}: {error.strerror}", file=sys.stderr)
        if self._loop is not None:
            self._loop.watch(fd, WRITE if self._waiting else 0, self._flush)


def unblocked(fd: int) -> int:
    """The same pipe or terminal opened anew, so that writing to it does not wait: others who have it may count on
    waiting. Anything else as it is."""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        pass
    return fd
