"""Processes of a run: each in its host's network, in a session of its own, with a log."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from coloproxy.lab.network import Host
from coloproxy.link.netns import inside

_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """A program in a host's network. Its standard error, and output unless that is read here, go to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str] | str,
        host: Host,
        log: Path,
        *,
        read: bool = False,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        """`command`: a string is for the shell. read: its output is read by `lines`. keep: descriptors that it has."""
        self.name = name
        self.log = log
        with log.open("wb") as errors, inside(host.path):
            self._popen = subprocess.Popen(
                command,
                shell=isinstance(command, str),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else errors,
                stderr=errors,
                start_new_session=True,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                pass_fds=keep,
            )
        self._unread = b""

    @property
    def output(self) -> IO[bytes]:
        assert self._popen.stdout is not None
        return self._popen.stdout

    def lines(self) -> list[bytes] | None:
        """The lines of output that came, at least a part of one; None: it has ended."""
        data = os.read(self.output.fileno(), 1 << 16)
        if not data:
            last, self._unread = self._unread, b""
            return [last] if last else None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return lines

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None if it still runs after some time."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all its children that did not leave its session."""
        if self.status is None:
            os.killpg(self._popen.pid, number)

    def cpu_seconds(self) -> float:
        """Processor time of the process so far; 0 if it has ended (clock_getcpuclockid(3))."""
        clock = ctypes.c_int()
        if self.status is not None or _libc.clock_getcpuclockid(self._popen.pid, ctypes.byref(clock)):
            return 0.0
        return time.clock_gettime(clock.value)

    def last_words(self) -> str:
        """The last line of its log, or how it ended."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("coloproxy: ") if lines else f"it ended with status {self.status}"


def python(module: str, *arguments: str) -> list[str]:
    """The command for one of our modules."""
    return [sys.executable, "-m", module, *arguments]
