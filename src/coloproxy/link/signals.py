"""Signals as events of the loop: a handler only notes that one came, and the loop wakes up."""

import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from coloproxy.link.loop import READ, Loop


class Signals:
    """While this context is open, each of `calls` is made by the loop after its signal came."""

    def __init__(self, loop: Loop, calls: dict[signal.Signals, Callable[[], None]]) -> None:
        self._loop = loop
        self._calls = calls
        self._came: list[int] = []
        self._reader, self._writer = socket.socketpair()
        self._before: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> Self:
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._loop.watch(self._reader.fileno(), READ, self._wake)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = [(number, signal.signal(number, self._note)) for number in self._calls]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before:
            signal.signal(number, before)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        self._loop.watch(self._reader.fileno(), 0, self._wake)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)

    def _wake(self, _events: int) -> None:
        self._reader.recv(4096)
        came, self._came = self._came, []
        for number in came:
            self._calls[signal.Signals(number)]()
