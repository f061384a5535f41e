"""The echo service (RFC 862), TCP and UDP: it sends back what it gets.

python -m coloproxy.lab.servers.echo '{"addresses": [...], "files": FOLDER, "seed": N}'
"""

import contextlib
import socket

from coloproxy.lab.servers.order import Order, order
from coloproxy.link.loop import READ, WRITE, Loop

PORT = 7
LARGEST = 1 << 16  # bytes taken at a time
WAITING = 4 << 20  # bytes of datagrams that may wait, as far as the system allows
FOREVER = float("inf")


class Connection:
    """One TCP connection. As long as it does not take its echo, nothing more is read from it."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._unsent = b""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.watch(sock.fileno(), READ, self._ready)

    def _ready(self, _: int) -> None:
        try:
            data = self._unsent or self._sock.recv(LARGEST)
            if not data:
                self._close()
                return
            self._unsent = data[self._send(data) :]
        except OSError:
            self._close()
            return
        self._loop.watch(self._sock.fileno(), WRITE if self._unsent else READ, self._ready)

    def _send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _close(self) -> None:
        self._loop.watch(self._sock.fileno(), 0, self._ready)
        self._sock.close()


def listen(loop: Loop, address: str) -> None:
    """Take connections and datagrams at an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, PORT), family=family, backlog=512)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
    datagrams.bind((address, PORT))

    def accept(_: int) -> None:
        with contextlib.suppress(OSError):
            Connection(loop, listener.accept()[0])

    def reply(_: int) -> None:
        with contextlib.suppress(OSError):
            data, client = datagrams.recvfrom(LARGEST)
            datagrams.sendto(data, client)

    loop.watch(listener.fileno(), READ, accept)
    loop.watch(datagrams.fileno(), READ, reply)


def main(given: Order) -> None:
    """Serve until killed."""
    loop = Loop()
    for address in given.addresses:
        listen(loop, address)
    while True:
        loop.turn(FOREVER)


if __name__ == "__main__":
    main(order())
