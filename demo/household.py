"""Nothing is left over: no process, no temporary file, however the demonstration ends."""

import ctypes
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal came that ends the demonstration."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


@contextmanager
def tidy() -> Iterator[None]:
    """A block after which the processes started in it have ended and its temporary files are gone.

    Signals that end a program raise Ended in it. Such an exception may interrupt any clean-up within, which is why
    this one trusts none: orphans become this process's children (prctl(2)), and all files lie in one folder.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = {number: signal.signal(number, _end) for number in ENDINGS if signal.getsignal(number) != signal.SIG_IGN}
    outside = tempfile.tempdir, os.environ.get("TMPDIR")
    try:
        with tempfile.TemporaryDirectory(prefix="coloproxy-demo-") as folder:
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            try:
                yield
            finally:
                for number in before:
                    signal.signal(number, signal.SIG_IGN)
                _kill_children()
    finally:
        tempfile.tempdir = outside[0]
        os.environ.pop("TMPDIR")
        if outside[1] is not None:
            os.environ["TMPDIR"] = outside[1]
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(number)


def _kill_children() -> None:
    """Kill the children there are, and those they leave to us, until there are none."""
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found
