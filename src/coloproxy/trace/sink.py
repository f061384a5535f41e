"""Where records go: a file that gets whole records, in order, and a count of those it could not take."""

import contextlib
import sys
from typing import Protocol

# QEMU's simple back end has room for as much.
LIMIT = 256 * 1024


class Writable(Protocol):
    """A binary file, raw or buffered."""

    def write(self, data: bytes, /) -> int | None: ...

    def flush(self) -> object: ...

    def close(self) -> object: ...


class Sink:
    """Keeps records until `threshold` bytes are together, then writes them.

    What the file does not take (disk full, reader gone) is kept and tried again; a record that comes when LIMIT bytes
    are waiting is refused whole, so that what is in the file can always be read.
    """

    def __init__(self, file: Writable, threshold: int) -> None:
        self._file = file
        self._threshold = threshold
        self._waiting: list[bytes] = []
        self._size = 0

    def put(self, record: bytes) -> bool:
        """Take a record; False: there is no room for it."""
        if self._size >= LIMIT and not self.flush():
            return False
        self._waiting.append(record)
        self._size += len(record)
        if self._size >= self._threshold:
            self.flush()
        return True

    def flush(self) -> bool:
        """Write what is waiting; False: some of it still is."""
        try:
            while self._waiting:
                data = b"".join(self._waiting)
                written = self._file.write(data)
                if not written:
                    return False
                self._forget(written)
            self._file.flush()
        except (OSError, ValueError):  # ValueError: closed under our feet; what is traced must not fail for that
            return False
        return True

    def _forget(self, written: int) -> None:
        self._size -= written
        if not self._size:
            self._waiting.clear()
            return
        whole = 0
        while written >= len(self._waiting[whole]):
            written -= len(self._waiting[whole])
            whole += 1
        del self._waiting[:whole]
        self._waiting[0] = self._waiting[0][written:]

    def close(self) -> int:
        """Write what is waiting and close the file; returns how many records could not be written."""
        self.flush()
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        return len(self._waiting)


class StandardError:
    """Whatever `sys.stderr` is at the time of writing; closing it leaves that open."""

    def write(self, data: bytes, /) -> int:
        if sys.stderr is not None:  # there is none in a program without a console
            sys.stderr.write(data.decode(errors="replace"))
        return len(data)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()

    def close(self) -> None:
        self.flush()
