"""Two clients of the guest: one echoes, one downloads. Both look at every byte, and note when it came."""

import abc
import os
import socket
import threading
import time
from itertools import pairwise
from typing import NamedTuple

from coloproxy.guest.image import block

ECHO, HTTP = 7001, 80
SIZE = 100  # bytes of an echo
PAUSE = 0.01  # seconds between echoes
BLOCKS = 20  # of one download
PATIENCE = 30.0


class Sample(NamedTuple):
    """Something came: when, after how many seconds, how many bytes."""

    when: float
    took: float
    size: int


class Client(threading.Thread, abc.ABC):
    """Works until `end()`. `error` says what went wrong, if anything did."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__(daemon=True)
        self._place = address, port
        self._ending = threading.Event()
        self.samples: list[Sample] = []
        self.error: str | None = None

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                with socket.create_connection(self._place, PATIENCE) as sock:
                    sock.settimeout(PATIENCE)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.talk(sock)
        except (OSError, ValueError) as error:
            self.error = str(error) or type(error).__name__

    @abc.abstractmethod
    def talk(self, sock: socket.socket) -> None:
        """Use one connection. Raises ValueError for wrong bytes."""

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE)

    def note(self, begun: float, size: int) -> None:
        now = time.monotonic()
        self.samples.append(Sample(now, now - begun, size))

    def gap(self, begin: float, end: float) -> float:
        """The longest time between two things that came, within this time."""
        times = [begin, *(sample.when for sample in self.samples if begin <= sample.when <= end), end]
        return max(b - a for a, b in pairwise(times))


class Echo(Client):
    """Sends random bytes on one connection, all the time, and waits for them to come back."""

    def __init__(self, address: str) -> None:
        super().__init__(address, ECHO)

    def talk(self, sock: socket.socket) -> None:
        while not self._ending.is_set():
            sent, begun = os.urandom(SIZE), time.monotonic()
            sock.sendall(sent)
            back = b""
            while len(back) < SIZE:
                part = sock.recv(SIZE - len(back))
                if not part:
                    raise ValueError("the echo's connection was closed")
                back += part
            if back != sent:
                raise ValueError("an echo came back with other bytes")
            self.note(begun, SIZE)
            self._ending.wait(PAUSE)


class Download(Client):
    """Downloads by HTTP, over and over."""

    def __init__(self, address: str) -> None:
        super().__init__(address, HTTP)
        self._block = block()
        self.count = 0

    def talk(self, sock: socket.socket) -> None:
        sock.sendall(b"GET /cgi-bin/blocks?%d HTTP/1.0\r\n\r\n" % BLOCKS)
        got, begun, size = bytearray(), time.monotonic(), len(self._block)
        head = -1
        at = 0
        while not self._ending.is_set():
            part = sock.recv(1 << 16)
            if not part:
                break
            got += part
            self.note(begun, len(part))
            if head < 0 and (head := got.find(b"\r\n\r\n")) >= 0:
                del got[: head + 4]
            while head >= 0 and len(got) >= size:
                if got[:size] != self._block:
                    raise ValueError(f"block {at} of a download has other bytes")
                del got[:size]
                at += 1
        if at < BLOCKS and not self._ending.is_set():
            raise ValueError(f"a download ended after {at} of {BLOCKS} blocks")
        self.count += at == BLOCKS
