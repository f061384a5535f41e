"""The conversation with a front end: a header, a payload, and descriptors beside them."""

import array
import contextlib
import os
import socket

from coloproxy.link.vhost.messages import HEADER, LONGEST, REGIONS, REPLY, VERSION


class BadMessage(Exception):
    """What a front end may not say."""


class Channel:
    """Reads messages from a socket, at whichever byte they are cut."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._got = bytearray()
        self._fds: list[int] = []

    def read(self) -> tuple[int, int, bytes, list[int]] | None:
        """The next message: request, flags, payload, descriptors, which are the caller's; None if it is not there yet.

        Raises EOFError when the peer is gone, OSError, or BadMessage for what is none.
        """
        while True:
            size = HEADER.size
            if len(self._got) >= size:
                request, flags, length = HEADER.unpack_from(self._got)
                if length > LONGEST or flags & 3 != VERSION or flags & REPLY:
                    raise BadMessage(f"message {request}, flags 0x{flags:x}, {length} bytes: none of version {VERSION}")
                size += length
                if len(self._got) == size:
                    payload, fds = bytes(self._got[HEADER.size :]), self._fds
                    self._got, self._fds = bytearray(), []
                    return request, flags, payload, fds
            if not self._receive(size - len(self._got)):
                return None

    def _receive(self, wanted: int) -> bool:
        """Read at most so many bytes, never past the end of a message; False: there are none now."""
        room = socket.CMSG_SPACE(REGIONS * 4)
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(wanted, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        for level, kind, numbers in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(numbers[: len(numbers) - len(numbers) % fds.itemsize])
                self._fds += fds
        if not data:
            raise EOFError
        if flags & socket.MSG_CTRUNC or len(self._fds) > REGIONS:
            raise BadMessage(f"more than {REGIONS} descriptors came")
        self._got += data
        return True

    def send(self, request: int, payload: bytes) -> None:
        """Answer. Raises OSError; a front end that does not read its answers gets no more."""
        self._sock.sendall(HEADER.pack(request, VERSION | REPLY, len(payload)) + payload)

    def close(self) -> None:
        """Forget a half message."""
        drop(self._fds)
        self._fds = []


def drop(fds: list[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
