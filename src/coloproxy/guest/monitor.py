"""QEMU's monitor on our event loop: qemu.qmp speaks asyncio, whose own loop is turned from ours, in the same thread.

An asyncio loop waits on one epoll descriptor, and that can be waited for like any other: when it is ready, or when
something was begun, the asyncio loop goes round until it would wait.
"""

import asyncio
import contextlib
import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from coloproxy.link.address import Address
from coloproxy.link.loop import READ, Loop

ENDS = 10  # times that what is cancelled may do something first
RETRY = 0.05  # seconds between attempts to connect

Answered = Callable[[Any, str | None], None]
"""(what QEMU returned, why it did not)"""


class Unwaiting(selectors.EpollSelector):
    """What asyncio waits with. It does not: where asyncio would, `idle(seconds)` is told; None: for ever."""

    idle: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout != 0:
            self.idle(timeout)
        return found


class Aio:
    """An asyncio loop turned from ours."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._selector = Unwaiting()
        self._selector.idle = self._idle
        self._aio = asyncio.SelectorEventLoop(self._selector)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: deque[Callable[[], None]] = deque()
        self._closed = False
        self._due = math.inf  # when it is turned for its timers, by the monotonic clock
        loop.watch(self._selector.fileno(), READ, self._turn)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done."""
        task = self._aio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._loop.after(0.0, self._turn)
        return task

    def tell(self, call: Callable[[], None]) -> None:
        """Have something called on our loop, in order, as soon as asyncio's has gone round."""
        self._told.append(call)

    def _turn(self, _events: int = 0) -> None:
        if not self._closed:
            self._aio.run_forever()
        while self._told:
            self._told.popleft()()

    def _idle(self, seconds: float | None) -> None:
        """It has nothing to do for so long."""
        self._aio.stop()
        due = math.inf if seconds is None else time.monotonic() + seconds
        if due < self._due:
            self._due = due
            self._loop.after(due - time.monotonic(), self._timer)

    def _timer(self) -> None:
        self._due = math.inf
        self._turn()

    def close(self) -> None:
        """End all that was begun."""
        self._turn()  # what was begun last, an end perhaps, begins
        for _ in range(ENDS):
            if not (left := asyncio.all_tasks(self._aio)):
                break
            for task in left:
                task.cancel()
            self._turn()
        self._closed = True
        self._loop.watch(self._selector.fileno(), 0, self._turn)
        self._aio.close()


class Monitor:
    """One QEMU's monitor, at an address. `on_event(name, data)` is told of events as they come, `ready()` that it
    answers, `gone()` that it does no more."""

    def __init__(
        self, aio: Aio, place: Address, on_event: Callable[[str, Mapping[str, Any]], None],
        ready: Callable[[], None], gone: Callable[[], None],
    ) -> None:  # fmt: skip
        self._aio = aio
        self._place = place.path or (place.host, place.port)
        self._on_event = on_event
        self._ready, self._gone = ready, gone
        self._client: QMPClient | None = None
        self._closed = False
        self._task = aio.begin(self._live())

    async def _live(self) -> None:
        """Connect, as soon as that can be, and stay until it is gone."""
        while not self._closed:
            client = QMPClient("coloproxy")
            client.register_listener(EventListener(event_filter=self._event))
            try:
                await client.connect(self._place)
            except QMPError:
                await asyncio.sleep(RETRY)
                continue
            self._client = client
            self._tell(self._ready)
            while client.runstate.name == "RUNNING":
                await client.runstate_changed()
            self._client = None
            with contextlib.suppress(QMPError, EOFError, OSError):
                await client.disconnect()
            break
        self._tell(self._gone)

    def _tell(self, call: Callable[[], None]) -> None:
        self._aio.tell(lambda: None if self._closed else call())

    def _event(self, event: Mapping[str, Any]) -> bool:
        """Told at once: nothing is put in line for asyncio's tasks."""
        self._tell(lambda: self._on_event(event["event"], event.get("data", {})))
        return False

    def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, answered: Answered | None = None, *,
        out_of_band: bool = False,
    ) -> None:  # fmt: skip
        """Have QEMU do something. out_of_band: even if it is busy with something else, or hangs in it."""
        self._aio.begin(self._execute(command, arguments, answered, out_of_band))

    async def _execute(
        self, command: str, arguments: Mapping[str, Any] | None, answered: Answered | None, out_of_band: bool
    ) -> None:  # fmt: skip
        result, why = None, None
        try:
            if self._client is None:
                raise OSError("QEMU's monitor is not connected")
            result = await self._client.execute(command, arguments, oob=out_of_band)
        except ExecuteError as error:
            why = str(error)
        except (QMPError, EOFError, OSError) as error:
            why = str(error) or type(error).__name__
        if answered is not None:
            self._tell(lambda: answered(result, why))

    def give(self, fd: int, name: str, answered: Answered) -> None:
        """Give QEMU a descriptor, which it knows by this name (unix(7), SCM_RIGHTS)."""
        if self._client is not None:
            self._client.send_fd_scm(fd)
            self.execute("getfd", {"fdname": name}, answered)

    def close(self) -> None:
        """Hear no more of it."""
        self._closed = True
        if not self._task.done():
            self._task.cancel()
        if self._client is not None:
            self._aio.begin(_end(self._client))
            self._client = None


async def _end(client: QMPClient) -> None:
    try:
        await client.disconnect()
    except Exception:
        return
