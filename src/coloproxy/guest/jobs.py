"""Work that may wait for others (the lease, the fence), done beside the event loop, which is told the outcome."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from coloproxy.link.loop import READ, Loop

T = TypeVar("T")


class Jobs:
    """Each job has a thread of its own, so that none waits for one that hangs."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._done: deque[Callable[[], None]] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.watch(self._fd, READ, self._wake)

    def begin(self, work: Callable[[], T], ended: Callable[[T | None, Exception | None], None]) -> None:
        """Do some work, then, on the loop, say what it returned or raised."""
        threading.Thread(target=self._run, args=(work, ended), daemon=True).start()

    def _run(self, work: Callable[[], T], ended: Callable[[T | None, Exception | None], None]) -> None:
        try:
            result, error = work(), None
        except Exception as raised:
            result, error = None, raised
        self._done.append(lambda: ended(result, error))
        with contextlib.suppress(OSError):  # closed meanwhile
            os.eventfd_write(self._fd, 1)

    def _wake(self, _events: int) -> None:
        os.eventfd_read(self._fd)
        while self._done:
            self._done.popleft()()

    def close(self) -> None:
        self._loop.watch(self._fd, 0, self._wake)
        os.close(self._fd)
        self._fd = -1
