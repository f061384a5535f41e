"""Frames read from a device, many in a row: a system call each, and nothing else.

Like the engine, this file is plain Python that Cython compiles as it stands.
"""

import errno as codes
import os
from array import array

import cython

COMPILED: bool = cython.compiled

BURST: int = 32  # frames read in one go, so that the other ports get their turn
MOST = cython.declare(cython.Py_ssize_t, 32)
AGAIN: int = codes.EAGAIN


@cython.cclass
class Burst:
    """Frames read from one device, as elements take them: `index` holds (start, end, vnet_len) for each of `count`
    frames of `buf`; `size` their bytes; `lease` says that the buffer is in use; `error` why reading ended, 0 for want
    of frames or of room."""

    buf = cython.declare(bytearray, visibility="public")
    index = cython.declare(object, visibility="public")
    count = cython.declare(cython.Py_ssize_t, visibility="public")
    headroom = cython.declare(cython.Py_ssize_t, visibility="public")
    size = cython.declare(cython.Py_ssize_t, visibility="public")
    lease = cython.declare(object, visibility="public")
    error = cython.declare(cython.int, visibility="public")
    cells = cython.declare(cython.uint[::1])

    def __init__(self) -> None:
        self.buf = self.lease = None
        self.count = self.headroom = self.size = 0
        self.error = 0
        self.index = array("I", bytes(4 * 3 * 32))
        self.cells = self.index

    def receive(
        self, fd: cython.int, at: cython.Py_ssize_t, stop: cython.Py_ssize_t, largest: cython.Py_ssize_t,
        vnet_len: cython.uint,
    ) -> cython.Py_ssize_t:  # fmt: skip
        """Read frames of at most `largest` bytes to buf[at:stop], one behind the other; returns where they end.

        Raises ValueError if that is not within the buffer.
        """
        cells: cython.uint[::1] = self.cells
        count: cython.Py_ssize_t = 0
        got: cython.Py_ssize_t
        self.size = 0
        self.error = 0
        if not 0 <= at <= stop <= len(self.buf):
            raise ValueError("range outside its buffer")
        while count < MOST and stop - at >= largest:
            got = self.read_one(fd, at, largest)
            if got <= 0:
                break
            cells[3 * count] = at
            cells[3 * count + 1] = at + got
            cells[3 * count + 2] = vnet_len
            count += 1
            self.size += got
            at += (got + 7) & ~7  # frames begin where a processor likes to read
        self.count = count
        return min(at, stop)

    @cython.cfunc
    @cython.exceptval(check=True)
    def read_one(self, fd: cython.int, at: cython.Py_ssize_t, largest: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read one frame; its length, 0 for the end, negative if there is none: then `error` says why."""
        got: cython.Py_ssize_t
        if cython.compiled:
            got = read(fd, cython.cast(cython.p_char, self.buf) + at, largest)  # noqa: F821
            if got < 0 and errno != AGAIN:  # noqa: F821
                self.error = errno  # noqa: F821
            return got
        try:
            return os.readv(fd, [memoryview(self.buf)[at : at + largest]])
        except BlockingIOError:
            return -1
        except OSError as error:
            self.error = error.errno or 0
            return -1
