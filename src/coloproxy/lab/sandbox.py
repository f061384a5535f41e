"""A process that takes everything with it when it ends, or when we do.

The work is done by process 1 of a PID namespace of its own: when that ends, the kernel ends all others in it, daemons
included (pid_namespaces(7)), and with them go the network namespaces and the mounts, which have no names outside.
An ordinary user gets the right to do that by a user namespace (user_namespaces(7)).

    we -- keeper -- process 1 -- servers, clients, proxy

The keeper waits for the end of either neighbour: of ours by a pipe that only we hold open, so it does not matter how
we came to our end. If the keeper is killed, process 1 is killed by the kernel (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000  # sched.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # sys/mount.h
PR_SET_PDEATHSIG = 1  # sys/prctl.h
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21  # linux/capability.h

_libc = ctypes.CDLL(None, use_errno=True)

Send = Callable[[object], None]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """What ended the work: a sentence for the user, or the trace of something unexpected."""

    text: str
    expected: bool


def privileged() -> bool:
    """Whether this process may make namespaces and networks by itself (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(effective >> CAP_SYS_ADMIN & effective >> CAP_NET_ADMIN & 1)


@contextmanager
def sandbox(work: Callable[[Send], None]) -> Iterator[Iterator[bytes]]:
    """Have `work(send)` done in a sandbox; gives what it sends, one JSON document each, as it comes.

    Leaving ends whatever still goes on there; nothing is left of it afterwards. Raises ColoproxyError if that cannot
    be done here, and what the work raised.
    """
    lifeline, ours = os.pipe()
    messages, theirs = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(ours)
        os.close(messages)
        _exit_after(lambda: _keep(work, lifeline, theirs), theirs)
    os.close(lifeline)
    os.close(theirs)
    try:
        yield _received(messages)
    finally:
        os.close(ours)
        os.close(messages)
        os.waitpid(keeper, 0)


def _received(messages: int) -> Iterator[bytes]:
    """The messages until the sandbox ends. Raises ColoproxyError if the work failed."""
    with open(messages, "rb", closefd=False) as file:
        for line in file:
            if not line.startswith(b'{"type":"failure"'):
                yield line
                continue
            failure = msgspec.json.decode(line, type=Failure)
            if failure.expected:
                raise ColoproxyError(failure.text)
            raise RuntimeError(f"the lab failed:\n{failure.text}")


def _exit_after(call: Callable[[], None], messages: int) -> None:
    """Make a call and end this process; what the call raises is sent."""
    status = 1
    try:
        call()
        status = 0
    except ColoproxyError as error:
        _write(messages, Failure(str(error), expected=True))
    except BaseException:
        _write(messages, Failure(traceback.format_exc(), expected=False))
    finally:
        os._exit(status)


def _write(fd: int, message: object) -> None:
    line = memoryview(msgspec.json.encode(message) + b"\n")
    while line:
        line = line[os.write(fd, line) :]


# The keeper


def _keep(work: Callable[[Send], None], lifeline: int, messages: int) -> None:
    os.setsid()  # Ctrl-C is for the one at the terminal, who then lets go of the lifeline
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _own_namespaces()
    above, below = socket.socketpair()
    first = os.fork()
    if first == 0:
        os.close(lifeline)
        above.close()
        _exit_after(lambda: _begin(work, below, messages), messages)
    os.close(messages)
    below.close()
    above.sendall(above.recv(1))  # we are told that our end will be felt, and say that we are still there
    ended = os.pidfd_open(first)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(ended, select.POLLIN)
    poll.poll()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)  # returns when the whole PID namespace is empty


def _own_namespaces() -> None:
    """Raises ColoproxyError if that is not allowed here."""
    flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS
    user, group = os.geteuid(), os.getegid()
    if privileged():
        unshare(flags)
    else:
        unshare(flags | CLONE_NEWUSER)
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        except OSError as error:
            raise _refused(error.errno or 0) from None


def unshare(flags: int) -> None:
    """Raises ColoproxyError if that is not allowed here."""
    if _libc.unshare(flags):
        raise _refused(ctypes.get_errno())


def _refused(number: int) -> ColoproxyError:
    return ColoproxyError(
        f"the lab may not make namespaces here ({os.strerror(number)}): run it as root, or allow user namespaces"
        " (sysctl user.max_user_namespaces; in a container, a seccomp profile that lets unshare(2) pass)."
    )


def _begin(work: Callable[[Send], None], keeper: socket.socket, messages: int) -> None:
    """Process 1: it ends with the keeper, and its mounts are nobody else's."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with keeper:
        keeper.sendall(b"\0")
        if not keeper.recv(1):
            return
    if _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "mounts cannot be made private")
    work(lambda message: _write(messages, message))


def mount_tmpfs(place: Path) -> None:
    """Keep what is written at a folder in memory, seen only here and gone with us. Raises OSError."""
    if _libc.mount(b"lab", os.fsencode(place), b"tmpfs", 0, b"mode=755,size=90%"):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
