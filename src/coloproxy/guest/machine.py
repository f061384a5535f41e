"""QEMU as a process that outlives its agent: started, found again, ended."""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.link.loop import READ, Loop


class Identity(msgspec.Struct, frozen=True):
    """A process, told from a later one with the same number by when it began (proc(5), /proc/PID/stat, starttime)."""

    pid: int
    began: int


class Machine:
    """A QEMU. `ended()` is called when it has come to its end, whoever started it."""

    def __init__(self, identity: Identity, loop: Loop, ended: Callable[[], None]) -> None:
        self.identity = identity
        self._loop = loop
        self._ended = ended
        try:
            self._fd = os.pidfd_open(identity.pid)
        except OSError:
            self._fd = -1
            loop.after(0.0, ended)
            return
        loop.watch(self._fd, READ, self._gone)

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str], place: Path, loop: Loop, ended: Callable[[], None]
    ) -> "Machine":
        """Start QEMU in a session of its own. Raises ColoproxyError if it cannot be."""
        for name in ("qmp", "guest"):
            (place / name).unlink(missing_ok=True)
        try:
            with (place / "qemu.log").open("wb") as log:
                process = subprocess.Popen(
                    command, env=environment, cwd=place, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
        except OSError as error:
            raise ColoproxyError(f"QEMU cannot be started: {error.strerror}.") from None
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 0)  # the agent is more urgent than a guest
        process.returncode = 0  # it is waited for here, not by the module's own list of children
        return cls(Identity(process.pid, began(process.pid) or 0), loop, ended)

    def _gone(self, _events: int) -> None:
        self._forget()
        self._ended()

    def _forget(self) -> None:
        if self._fd >= 0:
            self._loop.watch(self._fd, 0, self._gone)
            os.close(self._fd)
            self._fd = -1
            _reap(self.identity.pid)

    def kill(self) -> None:
        """End it, and do not say so. It is gone then, and so are its ports, and the lock on its image."""
        if self._fd < 0:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, and was not our child
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        dead = select.poll()  # pidfd_open(2): readable when it has come to its end, whosever child it is
        dead.register(self._fd, select.POLLIN)
        dead.poll()
        self._forget()

    def let_be(self) -> None:
        """Hear no more of it; it goes on."""
        if self._fd >= 0:
            self._loop.watch(self._fd, 0, self._gone)
            os.close(self._fd)
            self._fd = -1


def began(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did; None if there is none, or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(identity: Identity | None) -> bool:
    """Whether this very process runs."""
    return identity is not None and began(identity.pid) == identity.began


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        return
