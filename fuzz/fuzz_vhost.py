"""Fuzzes the back end of a guest's card: messages, and rings that a driver writes as it likes.

    python fuzz/fuzz_vhost.py -max_total_time=120 [CORPUS]
"""

import contextlib
import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import atheris

with atheris.instrument_imports(include=["coloproxy.link.vhost", "coloproxy.packet.offload"]):
    from coloproxy.link.vhost import messages
    from coloproxy.link.vhost.channel import BadMessage
    from coloproxy.link.vhost.device import RECEIVE, TRANSMIT
    from coloproxy.link.vhost.port import VhostPort

from coloproxy.link.address import parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.flow import frames_of
from coloproxy.link.loop import Loop
from support.flow import batch
from support.vhost import HIGH, HIGH_SIZE, LOG_SIZE, LOW_SIZE, USER, USUAL, Driver, Memory

END = HIGH + HIGH_SIZE
PLACES = (0, 16, HIGH, HIGH + 0x1000, HIGH + 0x2000, HIGH + 0x8000, LOW_SIZE - 8, END - 8, END)
SIZES = (0, 1, 12, 16, 26, 32, 72, 1536, 65536, 65570, 0xFFFFFFFF)
FLAGS = (0, 1, 2, 3, 4, 5, 6, 0xFFFF)
GUARD = 64 << 10  # bytes behind the guest's memory in its file, which are not the guest's
MARK = b"\xa5"
LOOP, POOL = Loop(), Pool()
MEMORY = Memory()
os.ftruncate(MEMORY.fd, LOW_SIZE + HIGH_SIZE + GUARD)
os.pwrite(MEMORY.fd, MARK * GUARD, LOW_SIZE + HIGH_SIZE)
CLEAN = bytes(0x4000)


class Play:
    """A port without its socket, and what is done to it."""

    def __init__(self, data: atheris.FuzzedDataProvider) -> None:
        self.data = data
        self.events: list[object] = []
        address = parse_address("unix:/nowhere,server")
        self.port = VhostPort("guest", address, LOOP, lambda: 0.0, self.events.append, POOL)
        self.port.take = self.look
        self.port.read_on(True)
        self.device = self.port._device
        MEMORY.write(HIGH, CLEAN)
        self.drivers = {RECEIVE: Driver(MEMORY, HIGH), TRANSMIT: Driver(MEMORY, HIGH + 0x2000)}

    def look(self, found, _now) -> None:  # type: ignore[no-untyped-def]
        for start, end, vnet_len in frames_of(found):
            assert 0 <= start < start + vnet_len < end <= len(found.buf)
            assert vnet_len == 10

    def say(self, request: int, payload: bytes, *fds: int) -> None:
        with contextlib.suppress(BadMessage):
            self.device.handle(request, self.data.PickValueInList([1, 1, 9]), payload, [os.dup(fd) for fd in fds])

    def start(self) -> None:
        """As a driver that does right would have it."""
        features = USUAL | messages.LOG_ALL * self.data.ConsumeBool() | messages.EVENT_IDX * self.data.ConsumeBool()
        if self.data.ConsumeBool():
            features &= ~messages.MRG_RXBUF
        if self.data.ConsumeBool():
            features &= ~messages.OFFLOADS
        self.say(2, struct.pack("<Q", features))
        rows = MEMORY.rows()
        table = struct.pack("<II", len(rows), 0) + b"".join(messages.REGION.pack(*row) for row in rows)
        self.say(5, table, *[MEMORY.fd] * len(rows))
        self.say(6, struct.pack("<QQ", self.data.PickValueInList([LOG_SIZE, 1, 33]), 0), MEMORY.log_fd)
        for number, driver in self.drivers.items():
            self.say(8, struct.pack("<II", number, 8))
            self.say(10, struct.pack("<II", number, 0))
            places = [USER + place for place in (driver.desc, driver.used, driver.avail)]
            self.say(9, struct.pack("<IIQQQQ", number, 1, *places, driver.used))
            self.event(12, number)
            self.event(13, number)
            self.say(18, struct.pack("<II", number, 1))

    def event(self, request: int, number: int) -> None:
        fd = os.eventfd(0)
        self.say(request, struct.pack("<Q", number), fd)
        os.close(fd)

    def message(self) -> None:
        """Any message, of the right length as a rule."""
        request = self.data.PickValueInList([*messages.TABLE, 0, 7, 99])
        known = messages.TABLE.get(request)
        size = struct.calcsize(known.payload) if known and known.payload not in ("", "*") else 40
        payload = self.data.ConsumeBytes(size).ljust(size, b"\0")
        if request == 5:
            count = self.data.ConsumeIntInRange(0, 3)
            rows = [tuple(self.data.ConsumeInt(8) & ~0xFFF for _ in range(4)) for _ in range(count)]
            payload = struct.pack("<II", count, 0) + b"".join(
                messages.REGION.pack(*(value & 0xFFFFFFFFFFFFFFFF for value in row)) for row in rows
            )
        fds = [MEMORY.fd] * self.data.ConsumeIntInRange(0, 3)
        if request in (12, 13, 14) and self.data.ConsumeBool():
            self.event(request, payload[0] & 1)
        else:
            self.say(request, payload, *fds)

    def describe(self) -> None:
        driver = self.drivers[self.data.ConsumeIntInRange(0, 1)]
        address = self.data.PickValueInList(list(PLACES)) + self.data.ConsumeIntInRange(-20, 20)
        driver.describe(
            self.data.ConsumeIntInRange(0, 7), address & 0xFFFFFFFFFFFFFFFF, self.data.PickValueInList(list(SIZES)),
            self.data.PickValueInList(list(FLAGS)), self.data.ConsumeIntInRange(0, 9),
        )  # fmt: skip

    def offer(self) -> None:
        driver = self.drivers[self.data.ConsumeIntInRange(0, 1)]
        if self.data.ConsumeIntInRange(0, 7):
            driver.offer(self.data.ConsumeIntInRange(0, 9))
        else:
            driver.jump(self.data.ConsumeIntInRange(0, 0xFFFF))

    def scribble(self) -> None:
        MEMORY.write(HIGH + self.data.ConsumeIntInRange(0, 0x3000), self.data.ConsumeBytes(16))

    def send(self) -> None:
        size = self.data.PickValueInList([1, 14, 60, 1514, 4000, 65550])
        header = self.data.ConsumeBytes(10).ljust(10, b"\0")
        frame = self.data.ConsumeBytes(60).ljust(size, b"x")
        self.port.batch(batch(header + frame, header + frame, vnet=10), 0.0)

    def turn(self) -> None:
        self.port.read()
        if RECEIVE in self.port._watched:
            self.port._have_buffers(0)

    def end(self) -> None:
        self.port._drop_waiting()
        self.device.close()
        LOOP._timers.clear()  # they keep the port
        assert os.pread(MEMORY.fd, GUARD, LOW_SIZE + HIGH_SIZE) == MARK * GUARD, "written outside the guest's memory"


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    play = Play(data)
    if data.ConsumeIntInRange(0, 7):
        play.start()
    steps = [play.describe, play.describe, play.offer, play.offer, play.turn, play.scribble, play.send, play.message]
    for _ in range(60):
        if not data.remaining_bytes():
            break
        steps[data.ConsumeIntInRange(0, len(steps) - 1)]()
        play.turn()
    play.end()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
