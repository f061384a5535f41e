"""Network namespaces: where a device is opened. A descriptor stays in the namespace in which it was made."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from coloproxy.errors import ColoproxyError

CLONE_NEWNET = 0x40000000  # sched.h
NAMED = "/run/netns"  # where iproute2 and pyroute2 keep the names

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(netns: str | None) -> Iterator[None]:
    """Be in another network namespace, by path or by name; None: stay here.

    Only the calling thread goes there. Raises ColoproxyError if there is none, or it may not be entered.
    """
    if netns is None:
        yield
        return
    path = netns if "/" in netns else f"{NAMED}/{netns}"
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _bad(netns, error) from None
        try:
            _enter(there)
        except OSError as error:
            raise _bad(netns, error) from None
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bad(netns: str, error: OSError) -> ColoproxyError:
    hint = "run as root" if isinstance(error, PermissionError) else f"name one of {NAMED}, or a path"
    return ColoproxyError(f"network namespace '{netns}' cannot be entered: {error.strerror}; {hint}.")
