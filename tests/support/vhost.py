"""The other side of vhost-user: a front end with a guest's memory, and a driver that does its rings right, or wrong."""

import array
import itertools
import mmap
import os
import socket
import struct
from collections.abc import Sequence

from coloproxy.link.vhost import messages
from support.wire import PATIENCE

USER = 0x7F00_0000_0000  # where the front end has the guest's memory
LOW, HIGH = 0x0, 0x10_0000  # the guest's addresses of both regions
LOW_SIZE, HIGH_SIZE = 0x1_0000, 0x40_0000
PAGE = 4096
NEXT, WRITABLE, INDIRECT = 1, 2, 4
NEED_REPLY = 8
LOG_SIZE = PAGE
USUAL = (messages.FEATURES | messages.OFFLOADS) & ~messages.LOG_ALL & ~messages.EVENT_IDX
EVENTS = USUAL | messages.EVENT_IDX


class Memory:
    """Two regions of a guest's memory in one file."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, LOW_SIZE + HIGH_SIZE)
        self.map = mmap.mmap(self.fd, LOW_SIZE + HIGH_SIZE)
        self.log_fd = os.memfd_create("log")
        os.ftruncate(self.log_fd, LOG_SIZE)
        self.log = mmap.mmap(self.log_fd, LOG_SIZE)

    def at(self, address: int) -> int:
        return address if address < LOW_SIZE else address - HIGH + LOW_SIZE

    def write(self, address: int, data: bytes) -> None:
        self.map[self.at(address) : self.at(address) + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        return self.map[self.at(address) : self.at(address) + size]

    def rows(self) -> list[tuple[int, int, int, int]]:
        return [(LOW, LOW_SIZE, USER + LOW, 0), (HIGH, HIGH_SIZE, USER + HIGH, LOW_SIZE)]

    def dirty(self) -> set[int]:
        """The pages that are marked; none is afterwards."""
        found = {8 * at + bit for at, byte in enumerate(self.log[:]) for bit in range(8) if byte >> bit & 1}
        self.log[:] = bytes(LOG_SIZE)
        return found

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.log_fd)


class Driver:
    """A ring from the driver's side. Its parts lie at `base`, its buffers follow where `room` says."""

    def __init__(self, memory: Memory, base: int, num: int = 8, index: int = 0) -> None:
        self.memory, self.num = memory, num
        self.desc, self.avail, self.used = base, base + 16 * num, base + 20 * num + 64
        self.used -= self.used % 4
        self.index = self.seen = index
        self.free = 0
        for place in (self.avail, self.used):
            memory.write(place, struct.pack("<HH", 0, index))

    def describe(self, number: int, address: int, size: int, flags: int = 0, following: int = 0) -> None:
        self.memory.write(self.desc + 16 * number, struct.pack("<QIHH", address, size, flags, following))

    def chain(self, pieces: Sequence[tuple[int, int]], flags: int = 0) -> int:
        """Write descriptors for (address, size) pieces; the first's number."""
        numbers = [(self.free + at) % self.num for at in range(len(pieces))]
        self.free = (self.free + len(pieces)) % self.num
        for at, (address, size) in enumerate(pieces):
            more = at + 1 < len(pieces)
            self.describe(numbers[at], address, size, flags | NEXT * more, numbers[at + 1] if more else 0)
        return numbers[0]

    def offer(self, head: int) -> None:
        self.memory.write(self.avail + 4 + 2 * (self.index % self.num), struct.pack("<H", head))
        self.jump(self.index + 1)

    def jump(self, index: int) -> None:
        self.index = index & 0xFFFF
        self.memory.write(self.avail + 2, struct.pack("<H", self.index))

    def send(self, frame: bytes, at: int, cut: Sequence[int] = ()) -> int:
        """Offer a frame, header first, written there, in pieces cut at these places."""
        self.memory.write(at, frame)
        edges = [0, *cut, len(frame)]
        head = self.chain([(at + a, b - a) for a, b in itertools.pairwise(edges)])
        self.offer(head)
        return head

    def give(self, at: int, size: int) -> int:
        """Offer a buffer to be written."""
        head = self.chain([(at, size)], WRITABLE)
        self.offer(head)
        return head

    def returned(self) -> list[tuple[int, int]]:
        """(head, length) of what came back since the last time."""
        (index,) = struct.unpack("<H", self.memory.read(self.used + 2, 2))
        found = []
        while self.seen != index:
            place = self.used + 4 + 8 * (self.seen % self.num)
            found.append(struct.unpack("<II", self.memory.read(place, 8)))
            self.seen = (self.seen + 1) & 0xFFFF
        return found

    def call_at(self, index: int) -> None:
        """Ask to be told when the used index passes this one."""
        self.memory.write(self.avail + 4 + 2 * self.num, struct.pack("<H", index & 0xFFFF))

    def kick_at(self) -> int:
        """The index of the available ring that the device asks to be told of."""
        return int(struct.unpack("<H", self.memory.read(self.used + 4 + 8 * self.num, 2))[0])

    @property
    def hushed(self) -> bool:
        return bool(self.memory.read(self.used, 1)[0] & 1)


class Front:
    """A front end on a socket. `kicks` and `calls` are event descriptors, by ring."""

    def __init__(self, sock: socket.socket, memory: Memory) -> None:
        self.sock, self.memory = sock, memory
        sock.settimeout(PATIENCE)
        self.kicks = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self.calls = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]

    def say(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> None:
        text = messages.HEADER.pack(request, messages.VERSION | flags, len(payload)) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([text], rights)

    def answer(self) -> tuple[int, bytes]:
        """The next answer: request and payload."""
        header = self._exactly(messages.HEADER.size)
        request, flags, size = messages.HEADER.unpack(header)
        assert flags == messages.VERSION | messages.REPLY
        return request, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self.sock.recv(size - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def ask(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> bytes:
        self.say(request, payload, fds, flags)
        answered, payload = self.answer()
        assert answered == request
        return payload

    def features(self, features: int = USUAL) -> None:
        self.say(2, struct.pack("<Q", features))

    def table(self) -> None:
        rows = self.memory.rows()
        text = struct.pack("<II", len(rows), 0) + b"".join(messages.REGION.pack(*row) for row in rows)
        self.say(5, text, [self.memory.fd] * len(rows))

    def log(self) -> None:
        assert self.ask(6, struct.pack("<QQ", LOG_SIZE, 0), [self.memory.log_fd]) == b""

    def address(self, number: int, driver: Driver, flags: int = 0) -> None:
        used, desc, avail = (USER + each for each in (driver.used, driver.desc, driver.avail))
        self.say(9, struct.pack("<IIQQQQ", number, flags, desc, used, avail, driver.used))

    def start(self, number: int, driver: Driver, flags: int = 0, base: int | None = None) -> None:
        """All that a ring needs, as QEMU says it."""
        self.say(18, struct.pack("<II", number, 1))
        self.say(8, struct.pack("<II", number, driver.num))
        self.say(10, struct.pack("<II", number, driver.index if base is None else base))
        self.address(number, driver, flags)
        self.say(12, struct.pack("<Q", number), [self.kicks[number]])
        self.say(13, struct.pack("<Q", number), [self.calls[number]])

    def stop(self, number: int) -> int:
        """Stop a ring; where it was."""
        stopped, base = struct.unpack("<II", self.ask(11, struct.pack("<II", number, 0)))
        assert stopped == number
        return int(base)

    def kick(self, number: int) -> None:
        os.eventfd_write(self.kicks[number], 1)

    def called(self, number: int) -> bool:
        try:
            return os.eventfd_read(self.calls[number]) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.sock.close()
        for fd in (*self.kicks, *self.calls):
            os.close(fd)
