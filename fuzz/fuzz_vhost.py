"""Fuzzes the back end of a guest's card: messages, and rings that a driver writes as it likes.

Most drivers here do nearly everything right, or their rings would be stopped before anything is moved. What must hold:
nothing outside the guest's memory is written, each page that is written is marked while a log is kept, and no
descriptor stays open.

    python fuzz/fuzz_vhost.py -max_total_time=120 [CORPUS]
"""

import array
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import atheris

with atheris.instrument_imports(include=["coloproxy.link.vhost", "coloproxy.packet.offload"]):
    from coloproxy.link.vhost import messages
    from coloproxy.link.vhost.channel import BadMessage, Channel, drop
    from coloproxy.link.vhost.device import RECEIVE, TRANSMIT
    from coloproxy.link.vhost.port import VhostPort

from coloproxy.link.address import parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.device import VNET_LEN
from coloproxy.link.flow import frames_of
from coloproxy.link.loop import Loop
from support.flow import batch
from support.frames import tcp
from support.vhost import (
    HIGH,
    HIGH_SIZE,
    INDIRECT,
    LOG_SIZE,
    LOW_SIZE,
    NEXT,
    PAGE,
    USER,
    USUAL,
    WRITABLE,
    Driver,
    Memory,
)

ENTRIES = 8  # of a ring
BUFFERS = HIGH + 0x8000  # where good buffers are
TABLES = HIGH + 0x4000  # and indirect tables
SEEN = 0x60000  # bytes from HIGH on in which all is that a good driver has
END = HIGH + HIGH_SIZE
PLACES = (0, 16, HIGH, HIGH + 0x1000, HIGH + 0x2000, HIGH + 0x8000, LOW_SIZE - 8, END - 16, END - 8, END, 2**64 - 8)
SIZES = (0, 1, 12, 16, 26, 32, 72, 1536, 65536, 65570, 0xFFFFFFFF)
GOOD = (1, 12, 26, 72, 1536, 4096, 65562)
FLAGS = (0, 1, 2, 3, 4, 5, 6, 0xFFFF)
FOLLOWING = (0, 1, 2, 8, 9)
FRAMES = (14, 60, 1514, 4000, 65549)
GUARD = 64 << 10  # bytes behind the guest's memory in its file, which are not the guest's
MARK = b"\xa5"
LOOP, POOL = Loop(), Pool()
MEMORY = Memory()
os.ftruncate(MEMORY.fd, LOW_SIZE + HIGH_SIZE + GUARD)
os.pwrite(MEMORY.fd, MARK * GUARD, LOW_SIZE + HIGH_SIZE)
CLEAN = bytes(0x8000)
SEGMENT = tcp(seq=1000, payload=bytes(range(256)) * 12)


def lowest() -> int:
    """The lowest descriptor that is free."""
    fd = os.dup(0)
    os.close(fd)
    return fd


def marked(address: int) -> bool:
    return bool(MEMORY.log[address // PAGE >> 3] >> (address // PAGE & 7) & 1)


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
        self.logged = self.strange = False  # a log is kept of all; something was said that a front end would not say
        self.features = USUAL
        self.fresh()

    def fresh(self) -> None:
        """Drivers that begin."""
        self.drivers = {RECEIVE: Driver(MEMORY, HIGH, ENTRIES), TRANSMIT: Driver(MEMORY, HIGH + 0x2000, ENTRIES)}

    def pick(self, values: Sequence[int]) -> int:
        return self.data.PickValueInList(list(values))

    def look(self, found, _now) -> None:  # type: ignore[no-untyped-def]
        for start, end, vnet_len in frames_of(found):
            assert 0 <= start < start + vnet_len < end <= len(found.buf)
            assert vnet_len == 10

    def say(self, request: int, payload: bytes, *fds: int, flags: int = messages.VERSION) -> bytes | None:
        with contextlib.suppress(BadMessage):
            return self.device.handle(request, flags, payload, [os.dup(fd) for fd in fds])
        return None

    def agree(self) -> None:
        """Features and memory, as a driver that does right would have them."""
        self.logged = self.data.ConsumeBool()
        self.features = USUAL | messages.LOG_ALL * self.logged | messages.EVENT_IDX * self.data.ConsumeBool()
        for feature in (messages.MRG_RXBUF, messages.OFFLOADS, messages.VERSION_1, messages.PROTOCOL_FEATURES):
            if not self.data.ConsumeIntInRange(0, 3):
                self.features &= ~feature
        self.say(2, struct.pack("<Q", self.features))
        rows = MEMORY.rows()
        table = struct.pack("<II", len(rows), 0) + b"".join(messages.REGION.pack(*row) for row in rows)
        self.say(5, table, *[MEMORY.fd] * len(rows))
        if self.logged:
            self.strange = not self.data.ConsumeIntInRange(0, 7)  # the log is too short
            self.say(6, struct.pack("<QQ", 33 if self.strange else LOG_SIZE, 0), MEMORY.log_fd)
        self.start({number: driver.index for number, driver in self.drivers.items()})

    def start(self, bases: dict[int, int]) -> None:
        """Both rings, as QEMU says it."""
        for number, driver in self.drivers.items():
            self.say(8, struct.pack("<II", number, ENTRIES))
            self.say(10, struct.pack("<II", number, bases[number]))
            places = [USER + place for place in (driver.desc, driver.used, driver.avail)]
            self.say(9, struct.pack("<IIQQQQ", number, int(self.logged), *places, driver.used))
            self.event(12, number)
            self.event(13, number)
            self.say(18, struct.pack("<II", number, 1))

    def again(self) -> None:
        """Stopped and started, as for a checkpoint; or with drivers that begin anew."""
        stopped = [self.say(11, struct.pack("<II", number, 0)) for number in self.drivers]
        bases = dict(struct.unpack("<II", answer) for answer in stopped if answer is not None)
        if self.data.ConsumeBool():
            self.fresh()
            bases = dict.fromkeys(bases, 0)
        if self.logged:
            self.say(6, struct.pack("<QQ", LOG_SIZE, 0), MEMORY.log_fd)
        self.start(bases)

    def enable(self) -> None:
        self.say(18, struct.pack("<II", self.data.ConsumeIntInRange(0, 1), self.data.ConsumeIntInRange(0, 1)))

    def event(self, request: int, number: int) -> None:
        fd = os.eventfd(0)
        self.say(request, struct.pack("<Q", number), fd)
        os.close(fd)

    def message(self) -> None:
        """Any message, of the right length as a rule."""
        self.strange = True
        request = self.pick((*messages.TABLE, 0, 7, 99))
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
            self.say(request, payload, *fds, flags=self.pick((1, 1, 9)))

    def chain(self) -> None:
        """A buffer that is good, in a few pieces, perhaps by an indirect table; or good but for one thing."""
        number = self.data.ConsumeIntInRange(0, 1)
        driver, flags = self.drivers[number], WRITABLE if number == RECEIVE else 0
        at = BUFFERS + 0x12000 * self.data.ConsumeIntInRange(0, 3)
        pieces = []
        for _ in range(self.data.ConsumeIntInRange(1, 4)):
            pieces.append((at, self.pick(GOOD)))
            at += pieces[-1][1]
        if number == TRANSMIT:
            MEMORY.write(pieces[0][0], self.data.ConsumeBytes(24).ljust(24, b"\0"))
        rows = [
            [address, size, flags | NEXT * (n + 1 < len(pieces)), n + 1] for n, (address, size) in enumerate(pieces)
        ]
        if not self.data.ConsumeIntInRange(0, 7):
            row = rows[self.data.ConsumeIntInRange(0, len(rows) - 1)]
            what = self.data.ConsumeIntInRange(0, 3)
            row[what] = self.pick((PLACES, SIZES, FLAGS, FOLLOWING)[what])
        if self.data.ConsumeIntInRange(0, 3):
            first = driver.free
            for n, (address, size, how, following) in enumerate(rows):
                driver.describe((first + n) % ENTRIES, address, size, how, (first + following) % ENTRIES)
            driver.free = (first + len(rows)) % ENTRIES
        else:
            first, table = driver.free, TABLES + 256 * driver.free
            MEMORY.write(table, b"".join(struct.pack("<QIHH", *row) for row in rows))
            place = table if self.data.ConsumeIntInRange(0, 7) else self.pick(PLACES)
            driver.describe(first, place, 16 * len(rows), INDIRECT)
            driver.free = (first + 1) % ENTRIES
        driver.offer(first)

    def describe(self) -> None:
        driver = self.drivers[self.data.ConsumeIntInRange(0, 1)]
        address = self.pick(PLACES) + self.data.ConsumeIntInRange(-20, 20)
        driver.describe(
            self.data.ConsumeIntInRange(0, 7), address & 0xFFFFFFFFFFFFFFFF, self.pick(SIZES),
            self.pick(FLAGS), self.data.ConsumeIntInRange(0, 9),
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
        """Frames for the guest, with headers that nobody has looked at, or a large segment that must perhaps be cut."""
        if self.data.ConsumeBool():
            frame = struct.pack("<BBHHHH", 1, 1, 54, self.pick((0, 100, 1448)), 34, 16) + SEGMENT
        else:
            frame = self.data.ConsumeBytes(VNET_LEN).ljust(VNET_LEN, b"\0")
            frame += self.data.ConsumeBytes(60).ljust(self.pick(FRAMES), b"x")
        frames = [frame] * self.data.ConsumeIntInRange(1, 3)
        if self.data.ConsumeBool():
            self.port.batch(batch(*frames, vnet=VNET_LEN), 0.0)
        else:
            self.port.outputs([(each, 0, len(each), self.pick((0, VNET_LEN)), None) for each in frames], 0.0)

    def wanted(self) -> None:
        self.port.read_on(self.data.ConsumeBool())

    def turn(self) -> None:
        self.port.read()
        if RECEIVE in self.port._watched:
            self.port._have_buffers(0)
        self.port.finish()

    def step(self, do) -> None:  # type: ignore[no-untyped-def]
        """Do something, and what follows of it; look at what was written meanwhile by other than the driver."""
        ours = do in (self.send, self.enable, self.wanted)
        if not ours:
            do()
        looked_at = self.logged and not self.strange
        if looked_at:
            MEMORY.log[:] = bytes(LOG_SIZE)
            before = MEMORY.read(HIGH, SEEN)
        if ours:
            do()
        self.turn()
        if looked_at and before != (after := MEMORY.read(HIGH, SEEN)):
            for at in range(0, SEEN, PAGE):
                assert before[at : at + PAGE] == after[at : at + PAGE] or marked(HIGH + at), "written, and not marked"

    def end(self) -> None:
        self.port._give_up_at = 0.0
        self.port._give_up()
        self.device.close()
        LOOP._timers.clear()  # they keep the port
        assert os.pread(MEMORY.fd, GUARD, LOW_SIZE + HIGH_SIZE) == MARK * GUARD, "written outside the guest's memory"


def wire(data: atheris.FuzzedDataProvider) -> None:
    """Bytes and descriptors, cut anywhere, to where messages are read."""
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    theirs.setblocking(False)
    try:
        while data.remaining_bytes():
            text = data.ConsumeBytes(data.ConsumeIntInRange(0, 300))
            if data.ConsumeIntInRange(0, 3):
                text = messages.HEADER.pack(data.ConsumeIntInRange(0, 20), messages.VERSION, len(text)) + text
            fds = array.array("i", [MEMORY.fd] * data.ConsumeIntInRange(0, 10))
            ours.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            while (came := channel.read()) is not None:
                drop(came[3])
    except (BadMessage, EOFError):
        pass
    finally:
        channel.close()
        ours.close()
        theirs.close()


def rings(data: atheris.FuzzedDataProvider) -> None:
    """A port, its front end and its guest's driver."""
    play = Play(data)
    if data.ConsumeIntInRange(0, 15):
        play.agree()
    good = [play.chain, play.send, play.again, play.enable, play.wanted]
    steps = [play.chain, play.chain, play.chain, play.send, play.send, *good] * 2
    if not data.ConsumeIntInRange(0, 2):
        steps += [play.describe, play.offer, play.offer, play.scribble, play.message]
    for _ in range(60):
        if not data.remaining_bytes():
            break
        play.step(steps[data.ConsumeIntInRange(0, len(steps) - 1)])
    play.end()


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    before = lowest()
    (rings if data.ConsumeIntInRange(0, 15) else wire)(data)
    assert lowest() == before, "a descriptor stays open"


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], "-len_control=0", *sys.argv[1:]], one_input)  # what matters is long
    atheris.Fuzz()
