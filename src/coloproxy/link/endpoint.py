"""One socket of the proxy and its peer: connecting until it is there, or listening for it, any number of times.

A listener has one peer at a time, as QEMU's have: the next one waits until this one has gone.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable

from coloproxy.link.address import Address, listen, resolve
from coloproxy.link.loop import READ, WRITE, Loop

FIRST_RETRY = 0.05
LAST_RETRY = 1.0
BUFFER = 1 << 20  # asked of the kernel for each direction; it grants what its limits allow


class Endpoint:
    """Keeps a socket connected. `on_connected(endpoint)` is told of each new peer; `sock` is it, or None.

    What is read from and written to the socket, and when it is watched, is left to others; they say `lost()`.
    """

    def __init__(self, role: str, address: Address, loop: Loop, on_connected: Callable[["Endpoint"], None]) -> None:
        self.role = role
        self.address = address
        self.sock: socket.socket | None = None
        self.connections = 0
        self._loop = loop
        self._on_connected = on_connected
        self._places = resolve(address)
        self._next_place = 0
        self._retry = FIRST_RETRY
        self._listener: socket.socket | None = None
        self._inode: int | None = None
        self._trying: socket.socket | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to listen or to connect. Raises ColoproxyError if it cannot listen there."""
        if self.address.server:
            self._listener = listen(self.address)
            if self.address.path:
                self._inode = os.stat(self.address.path).st_ino
            self._accept_on()
        else:
            self._connect()

    def lost(self) -> None:
        """The peer has gone, or must go: forget it and look for the next."""
        if self.sock is None:
            return
        self._loop.watch(self.sock.fileno(), 0, self._ignore)
        self.sock.close()
        self.sock = None
        if self._closed:
            return
        if self._listener is not None:
            self._accept_on()
        else:
            self._again()

    def close(self) -> None:
        """Close it for good, and remove the socket file if it is still ours."""
        self._closed = True
        self.lost()
        for sock in (self._listener, self._trying):
            if sock is not None:
                self._loop.watch(sock.fileno(), 0, self._ignore)
                sock.close()
        self._listener = self._trying = None
        if self._inode is not None:
            with contextlib.suppress(OSError):
                if os.stat(self.address.path).st_ino == self._inode:
                    os.unlink(self.address.path)

    def _ignore(self, _events: int) -> None:
        pass

    def _connected(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF) if sock.family == socket.AF_UNIX else ():
            sock.setsockopt(socket.SOL_SOCKET, direction, BUFFER)
        self.sock = sock
        self.connections += 1
        self._retry = FIRST_RETRY
        self._on_connected(self)

    # Listening

    def _accept_on(self) -> None:
        assert self._listener is not None
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:  # it went away again, or there are no descriptors left: the listener will say so once more
            return
        self._loop.watch(self._listener.fileno(), 0, self._ignore)
        self._connected(sock)

    # Connecting

    def _connect(self) -> None:
        if self._closed:
            return
        family, place = self._places[self._next_place]
        self._next_place = (self._next_place + 1) % len(self._places)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:  # no descriptors are left, or no such family is there
            self._again()
            return
        sock.setblocking(False)
        error = sock.connect_ex(place)
        if error == 0 and not to_itself(sock):
            self._connected(sock)
        elif error == errno.EINPROGRESS:
            self._trying = sock
            self._loop.watch(sock.fileno(), WRITE, self._settled)
        else:
            sock.close()
            self._again()

    def _settled(self, _events: int) -> None:
        """The attempt that was in progress has ended."""
        sock, self._trying = self._trying, None
        assert sock is not None
        self._loop.watch(sock.fileno(), 0, self._ignore)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and not to_itself(sock):
            self._connected(sock)
        else:
            sock.close()
            self._again()

    def _again(self) -> None:
        self._loop.after(self._retry, self._connect)
        self._retry = min(2 * self._retry, LAST_RETRY)


def to_itself(sock: socket.socket) -> bool:
    """Whether a TCP socket met itself: connecting to a local port where nobody listens can (simultaneous open,
    RFC 9293, 3.5)."""
    if sock.family == socket.AF_UNIX:
        return False
    with contextlib.suppress(OSError):
        return bool(sock.getsockname() == sock.getpeername())
    return False


def keep_alive(sock: socket.socket) -> None:
    """Notice within half a minute that the peer's machine is gone: nothing on the wire would say so."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
