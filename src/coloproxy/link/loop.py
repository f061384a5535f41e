"""The event loop: file descriptors that became ready, and calls that are due. epoll(7) and a heap, nothing else."""

import heapq
import itertools
import math
import select
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

Handler = Callable[[int], object]


class Loop:
    """Calls a handler when its file descriptor is ready (level-triggered), and functions at their time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[int, Handler]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Have `handler(events)` called from now on; no events at all ends it, hang-ups included."""
        watched = self._handlers.get(fd)
        if events == 0:
            if watched is not None:
                del self._handlers[fd]
                self._epoll.unregister(fd)
            return
        if watched is None:
            self._epoll.register(fd, events)
        elif watched[0] != events:
            self._epoll.modify(fd, events)
        self._handlers[fd] = (events, handler)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have a function called once."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def turn(self, deadline: float, woke: Callable[[], None] | None = None) -> None:
        """Wait until something is ready or due, or it is `deadline` (monotonic); call `woke`; handle all that is."""
        if self._timers:
            deadline = min(deadline, self._timers[0][0])
        wait = -1.0 if deadline == math.inf else max(0.0, deadline - time.monotonic())
        ready = self._epoll.poll(wait)
        if woke is not None:
            woke()
        for fd, events in ready:
            watched = self._handlers.get(fd)
            if watched is not None:  # an earlier handler of this turn may have ended it
                watched[1](events)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        self._epoll.close()
