"""The connection between the two QEMUs, for the copy and the checkpoints. It is made here and handed to QEMU.

QEMU would make it with Nagle's algorithm on, and then each checkpoint waits 40 ms for an acknowledgement that the other
side delays. And a connection that we have too can be shut down by us, whatever QEMU is doing.
"""

import contextlib
import socket
from collections.abc import Callable

from coloproxy.guest.config import Host
from coloproxy.link.address import parse_address
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.loop import Loop

NAME = "colo"  # of the descriptor, at QEMU


class Channel:
    """One connection. `made(socket)` is called when it is there. Raises ColoproxyError if it cannot be listened for."""

    def __init__(self, there: Host, listen: bool, loop: Loop, made: Callable[[socket.socket], None]) -> None:
        place = f"[{there.address}]" if ":" in there.address else there.address
        address = parse_address(f"tcp:{place}:{there.port + 1}{',server' if listen else ''}")
        self._made = made
        self._ours: socket.socket | None = None
        self._endpoint = Endpoint("channel", address, loop, self._connected)
        self._endpoint.start()

    def _connected(self, endpoint: Endpoint) -> None:
        assert endpoint.sock is not None
        self._ours = endpoint.sock.dup()
        self._ours.setblocking(True)
        endpoint.close()
        self._made(self._ours)

    def shut(self) -> None:
        """End the connection, for QEMU too."""
        self._endpoint.close()
        if self._ours is not None:
            with contextlib.suppress(OSError):
                self._ours.shutdown(socket.SHUT_RDWR)
            self._ours.close()
            self._ours = None
