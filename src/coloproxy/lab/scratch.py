"""A run's folder for its sockets and logs, and the removal of those that killed runs left.

A run holds a lock (flock(2)) on its folder as long as it lives, however it ends: an unlocked folder is a leftover.
Nothing else outlives a run; see `sandbox`.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PREFIX = "coloproxy-lab-"


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, locked, and removed on leaving."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        lock = _lock(folder)
        if lock is not None:
            break  # otherwise `clean` came between the two and takes the folder away
    folder.chmod(0o711)  # servers that become another user find their files
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder; None if another holds it, or it is gone."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    if os.fstat(fd).st_nlink == 0 or os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        return None
    return fd


class Cleaned(NamedTuple):
    """Folders of runs: those removed, and those whose runs are at work."""

    removed: list[Path]
    busy: list[Path]


def clean() -> Cleaned:
    """Remove what killed runs of this user left."""
    removed, busy = [], []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        if not folder.is_dir() or folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
            continue
        lock = _lock(folder)
        if lock is None:
            busy.append(folder)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        removed.append(folder)
    return Cleaned(removed, busy)
