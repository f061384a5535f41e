"""The back end of a guest's network card; front end and driver live in the test.

Frames both ways, what is marked in the log, what waits, and every way in which a driver can be wrong.
"""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coloproxy import trace
from coloproxy.compare.events import Counts, Event, GuestRingBroken, PeerLost, Warned
from coloproxy.link.address import parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.loop import Loop
from coloproxy.link.vhost import messages
from coloproxy.link.vhost.device import RECEIVE, TRANSMIT
from coloproxy.link.vhost.port import LOG_LATE, SELDOM, SOON, STUCK, VhostPort
from support.flow import Catch, batch
from support.frames import tcp
from support.vhost import (
    EVENTS,
    HIGH,
    HIGH_SIZE,
    INDIRECT,
    LOG_SIZE,
    LOW_SIZE,
    NEED_REPLY,
    NEXT,
    PAGE,
    USER,
    USUAL,
    WRITABLE,
    Driver,
    Front,
    Memory,
)
from support.wire import PATIENCE, connect

HEADER = bytes(12)
EMPTY = bytes(10)
BUFFERS = HIGH + 0x1_0000  # where a test puts its buffers
SIZE = 0x2_0000  # of one


class Bench:
    """A port with a loop of its own, and a guest."""

    def __init__(self, folder: Path, beside: "Bench | None" = None, **more: bool) -> None:
        """beside: another, in the same process."""
        self.clock = Clock()
        self.loop, self.pool = (beside.loop, beside.pool) if beside is not None else (Loop(), Pool())
        self.events: list[Event] = []
        self.place = str(folder / "card")
        address = parse_address(f"unix:{self.place},server")
        self.port = VhostPort("guest", address, self.loop, self.clock.now, self.events.append, self.pool, **more)
        self.caught = Catch()
        self.port.take = self.caught.batch
        self.port.open()
        self.port.read_on(True)
        self.memory = Memory()
        self.front = self.meet()
        self.rx = Driver(self.memory, HIGH)
        self.tx = Driver(self.memory, HIGH + 0x2000)

    def meet(self) -> Front:
        front = Front(connect(self.place), self.memory)
        self.turn()
        return front

    def turn(self) -> None:
        self.loop.turn(time.monotonic() + 0.02)
        self.port.finish()

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.events
            self.turn()

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def settle(self) -> None:
        """Until the port has heard all that was said."""
        for _ in range(3):
            self.turn()

    def up(self, features: int = USUAL, *, flags: int = 0) -> "Bench":
        """A driver has started both rings."""
        self.front.features(features)
        self.front.table()
        for number, driver in ((RECEIVE, self.rx), (TRANSMIT, self.tx)):
            self.front.start(number, driver, flags)
        self.settle()
        return self

    def stop(self, number: int) -> int:
        self.front.say(11, struct.pack("<II", number, 0))
        self.turn()
        _, payload = self.front.answer()
        return int(struct.unpack("<II", payload)[1])

    def frames(self, count: int) -> list[bytes]:
        self.until(lambda: len(self.caught.frames) >= count)
        assert set(self.caught.vnet_lens) <= {10}
        return self.caught.take()

    def send(self, *frames: bytes, vnet: int = 10) -> None:
        self.port.batch(batch(*frames, vnet=vnet), self.clock.now())

    def received(self) -> list[bytes]:
        """What lies in the buffers that came back to the driver, one behind the other."""
        found = []
        for head, size in self.rx.returned():
            address, _ = struct.unpack("<QI", self.memory.read(self.rx.desc + 16 * head, 12))
            found.append(self.memory.read(address, size))
        return found

    def broken(self) -> list[GuestRingBroken]:
        return [event for event in self.events if isinstance(event, GuestRingBroken)]

    def close(self) -> None:
        self.port.close()
        self.front.close()
        self.memory.close()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def frame(size: int, fill: int = 0x5A) -> bytes:
    return bytes(12) + b"\x08\x00" + bytes([fill]) * (size - 14)


# Frames


def test_what_the_guest_sends_arrives_with_the_header_that_all_have(bench: Bench) -> None:
    bench.up()
    header = struct.pack("<BBHHHHH", 1, 1, 54, 1448, 34, 16, 7)
    bench.tx.send(header + frame(60), BUFFERS)
    bench.tx.send(HEADER + frame(65549), BUFFERS + SIZE, [12, 4000, 4000, 50000])
    bench.front.kick(TRANSMIT)
    assert bench.frames(2) == [header[:10] + frame(60), EMPTY + frame(65549)]
    assert [size for _, size in bench.tx.returned()] == [0, 0]
    assert bench.front.called(TRANSMIT)


def test_a_driver_says_nothing_while_it_is_listened_to_anyway(bench: Bench) -> None:
    bench.up()
    seen: list[bool] = []
    bench.port.take = lambda *_: seen.append(bench.tx.hushed)
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.until(lambda: seen)
    assert not bench.tx.hushed


def test_each_side_is_told_where_it_asked_to_be(bench: Bench) -> None:
    bench.up(EVENTS)
    assert bench.front.called(TRANSMIT), "what was used before may not have been told"
    bench.tx.call_at(0)
    for number in range(4):
        assert bench.tx.kick_at() == number
        bench.tx.send(HEADER + frame(60), BUFFERS + number * SIZE)
        bench.front.kick(TRANSMIT)
        bench.frames(1)
        bench.settle()
        if number == 0:
            assert bench.front.called(TRANSMIT)
            bench.tx.call_at(2)
        else:
            assert bench.front.called(TRANSMIT) == (number == 2)
    assert len(bench.tx.returned()) == 4
    assert not bench.tx.hushed


def test_the_guest_is_told_at_the_end_of_a_turn_of_all_that_happened_in_it(bench: Bench) -> None:
    bench.up()
    bench.front.called(RECEIVE), bench.front.called(TRANSMIT)
    bench.rx.give(BUFFERS, SIZE)
    bench.tx.send(HEADER + frame(60), BUFFERS + SIZE)
    bench.send(EMPTY + frame(60))
    assert bench.port.read()
    assert bench.rx.returned()
    assert bench.tx.returned()
    assert not bench.front.called(RECEIVE)
    assert not bench.front.called(TRANSMIT)
    bench.port.finish()
    assert bench.front.called(RECEIVE)
    assert bench.front.called(TRANSMIT)


def test_the_guest_is_told_before_a_ring_is_stopped(bench: Bench) -> None:
    bench.up()
    bench.front.called(RECEIVE)
    bench.rx.give(BUFFERS, SIZE)
    bench.send(EMPTY + frame(60))
    bench.front.say(11, struct.pack("<II", RECEIVE, 0))
    bench.loop.turn(time.monotonic() + PATIENCE)
    bench.front.answer()
    assert bench.front.called(RECEIVE)


def test_frames_lie_as_packet_sockets_have_them(bench: Bench) -> None:
    """So another port sends them on without a copy."""
    bench.up()
    ranges: list[bytes] = []

    def look(got: Any, _now: float) -> None:
        assert got.headroom == 8
        ranges.append(bytes(got.buf[got.index[0] - 8 : got.index[3 * got.count - 2]]))

    bench.port.take = look
    sizes = (60, 61, 3000)
    for number, size in enumerate(sizes):
        bench.tx.send(HEADER + frame(size), BUFFERS + number * SIZE)
    assert bench.port.read()
    assert ranges == [b"".join(struct.pack(">II", 10 + size, 10) + EMPTY + frame(size) for size in sizes)]


def test_a_guest_with_too_few_buffers_is_heard_when_it_has_more(bench: Bench) -> None:
    bench.up(EVENTS)
    bench.rx.give(BUFFERS, 1536)
    bench.send(EMPTY + frame(3000))
    bench.settle()
    assert bench.port.pending
    assert bench.rx.kick_at() == 1
    bench.rx.give(BUFFERS + SIZE, 1536)
    bench.front.kick(RECEIVE)
    bench.until(lambda: not bench.port.pending)
    assert len(bench.received()) == 2


def test_an_indirect_table(bench: Bench) -> None:
    bench.up()
    table, data = BUFFERS, BUFFERS + 0x1000
    bench.memory.write(data, HEADER + frame(100))
    bench.memory.write(table, struct.pack("<QIHHQIHH", data, 12, NEXT, 1, data + 12, 100, 0, 0))
    bench.tx.describe(3, table, 32, INDIRECT)
    bench.tx.offer(3)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(100)]
    assert bench.tx.returned() == [(3, 0)]


def test_many_frames_in_one_go_come_in_order(bench: Bench) -> None:
    bench.tx = Driver(bench.memory, HIGH + 0x2000, 128)
    bench.up()
    sent = [frame(60 + number, number) for number in range(100)]
    for number, each in enumerate(sent):
        bench.tx.send(HEADER + each, BUFFERS + 256 * number)
    bench.front.kick(TRANSMIT)
    assert bench.frames(100) == [EMPTY + each for each in sent]


def test_what_is_sent_to_the_guest_lies_in_its_buffers(bench: Bench) -> None:
    bench.up()
    for number in range(3):
        bench.rx.give(BUFFERS + number * SIZE, SIZE)
    header = struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)
    bench.send(header + frame(3000), EMPTY + frame(60))
    bench.send(frame(61), vnet=0)
    one = struct.pack("<H", 1)
    assert bench.received() == [header + one + frame(3000), EMPTY + one + frame(60), EMPTY + one + frame(61)]
    assert bench.front.called(RECEIVE)
    assert bench.port.sent.counts() == Counts(3, 10 + 3000 + 10 + 60 + 61)


def test_outputs_of_a_comparator_are_sent_as_batches_are(bench: Bench) -> None:
    bench.up()
    bench.rx.give(BUFFERS, SIZE)
    bench.rx.give(BUFFERS + SIZE, SIZE)
    one, two = EMPTY + frame(60), frame(70)
    bench.port.outputs([(one, 0, len(one), 10, None), (bytearray(two), 0, len(two), 0, None)], 0.0)
    assert [each[12:] for each in bench.received()] == [frame(60), frame(70)]


def test_a_large_frame_fills_several_buffers_if_they_may_be_merged(bench: Bench) -> None:
    bench.up()
    for number in range(4):
        bench.rx.give(BUFFERS + number * SIZE, 1536)
    data = os.urandom(4000)
    bench.send(EMPTY + data)
    parts = bench.received()
    assert [len(part) for part in parts] == [1536, 1536, 940]
    assert b"".join(parts) == EMPTY + struct.pack("<H", 3) + data


def test_without_merged_buffers_a_frame_that_is_too_large_is_dropped(bench: Bench) -> None:
    bench.up(USUAL & ~messages.MRG_RXBUF)
    for number in range(4):
        bench.rx.give(BUFFERS + number * SIZE, 1536)
    bench.send(EMPTY + frame(4000), EMPTY + frame(60))
    assert [each[12:] for each in bench.received()] == [frame(60)]
    assert bench.port.dropped.counts() == Counts(1, 0)
    assert bench.port.sent.frames == 1


def test_a_driver_of_before_virtio_1_has_the_short_header(bench: Bench) -> None:
    bench.up(USUAL & ~messages.MRG_RXBUF & ~messages.VERSION_1)
    bench.rx.give(BUFFERS, SIZE)
    bench.tx.send(EMPTY + frame(60), BUFFERS + SIZE)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(60)]
    bench.send(EMPTY + frame(70))
    assert bench.received() == [EMPTY + frame(70)]


def test_what_the_driver_has_not_accepted_is_finished_for_it(bench: Bench) -> None:
    bench.up(USUAL & ~messages.OFFLOADS)
    for number in range(4):
        bench.rx.give(BUFFERS + number * SIZE, SIZE)
    whole = bytearray(tcp(seq=1000, payload=bytes(3000)))
    header = struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)
    bench.send(header + whole, struct.pack("<BBHHHH", 2, 0, 0, 0, 0, 0) + frame(60))
    parts = bench.received()
    assert [len(part) - 12 for part in parts] == [54 + 1448, 54 + 1448, 54 + 104, 60]
    assert all(part[:10] == EMPTY for part in parts)
    assert parts[1][12 + 38 : 12 + 42] == struct.pack(">I", 2448)


# What waits


def test_what_the_guest_has_no_buffers_for_waits_for_them(bench: Bench) -> None:
    bench.up()
    bench.send(EMPTY + frame(60), EMPTY + frame(61))
    bench.settle()
    assert bench.port.pending == 10 + 60 + 10 + 61
    assert not bench.rx.hushed
    bench.rx.give(BUFFERS, SIZE)
    bench.rx.give(BUFFERS + SIZE, SIZE)
    bench.front.kick(RECEIVE)
    bench.until(lambda: not bench.port.pending)
    assert [each[12:] for each in bench.received()] == [frame(60), frame(61)]
    assert bench.rx.hushed


def test_a_guest_that_gives_no_buffers_is_not_waited_for_long(bench: Bench) -> None:
    bench.up()
    bench.send(EMPTY + frame(60))
    bench.until(lambda: not bench.port.pending)
    bench.send(EMPTY + frame(60))
    assert (bench.port.pending, bench.port.dropped.frames) == (0, 2)
    bench.rx.give(BUFFERS, SIZE)
    bench.send(EMPTY + frame(62))
    assert [each[12:] for each in bench.received()] == [frame(62)]


def test_while_its_ring_is_stopped_frames_wait(bench: Bench) -> None:
    bench.up()
    bench.rx.give(BUFFERS, SIZE)
    assert bench.stop(RECEIVE) == 0
    bench.send(EMPTY + frame(60))
    assert bench.port.pending == 70
    bench.front.start(RECEIVE, bench.rx, base=0)
    bench.until(lambda: not bench.port.pending)
    assert [each[12:] for each in bench.received()] == [frame(60)]


def test_without_a_guest_frames_are_dropped_after_a_while(bench: Bench) -> None:
    bench.send(EMPTY + frame(60))
    begin = time.monotonic()
    bench.until(lambda: not bench.port.pending)
    assert time.monotonic() - begin > STUCK / 2
    assert bench.port.dropped.counts() == Counts(1, 70)


def test_a_port_that_is_not_to_be_read_leaves_frames_to_the_guest(bench: Bench) -> None:
    bench.up()
    bench.port.read_on(False)
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.settle()
    assert not bench.caught.frames
    bench.port.read_on(True)
    assert bench.frames(1) == [EMPTY + frame(60)]


# Stopping and starting


def test_a_stopped_ring_says_where_it_was_and_goes_on_from_there(bench: Bench) -> None:
    bench.up()
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.frames(1)
    assert bench.stop(TRANSMIT) == 1
    bench.tx.send(HEADER + frame(61), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.settle()
    assert not bench.caught.frames, "what comes after it was stopped belongs to the next epoch"
    bench.front.start(TRANSMIT, bench.tx, base=1)
    assert bench.frames(1) == [EMPTY + frame(61)]
    assert bench.tx.returned() == [(0, 0), (1, 0)]


def test_a_ring_whose_driver_was_told_to_be_silent_is_listened_to_all_the_same(bench: Bench) -> None:
    """As after a checkpoint: the flag was copied with the memory."""
    bench.memory.write(bench.tx.used, b"\x01")
    bench.up()
    assert not bench.tx.hushed


def test_a_ring_is_not_looked_at_before_it_is_enabled(bench: Bench) -> None:
    bench.up()
    bench.front.say(18, struct.pack("<II", TRANSMIT, 0))
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.settle()
    assert not bench.caught.frames
    bench.front.say(18, struct.pack("<II", TRANSMIT, 1))
    assert bench.frames(1) == [EMPTY + frame(60)]


def test_the_index_wraps_around(bench: Bench) -> None:
    bench.rx = Driver(bench.memory, HIGH, index=0xFFFF)
    bench.tx = Driver(bench.memory, HIGH + 0x2000, index=0xFFFE)
    bench.up()
    for number in range(4):
        bench.tx.send(HEADER + frame(60, number), BUFFERS + number * SIZE)
        bench.rx.give(BUFFERS + (4 + number) * SIZE, SIZE)
    bench.front.kick(TRANSMIT)
    bench.frames(4)
    bench.send(EMPTY + frame(60), EMPTY + frame(60))
    assert len(bench.tx.returned()) == 4
    assert len(bench.received()) == 2
    assert (bench.stop(TRANSMIT), bench.stop(RECEIVE)) == (2, 1)


def test_a_front_end_that_comes_again_finds_a_card_as_new(bench: Bench) -> None:
    bench.up()
    bench.front.close()
    bench.until(lambda: any(isinstance(event, PeerLost) for event in bench.events))
    bench.front = bench.meet()
    bench.up()
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(60)]


def test_a_front_end_that_hangs_up_again_and_again_does_not_fill_the_log(bench: Bench) -> None:
    """As QEMU does that wants several queue pairs."""

    def lost() -> int:
        return sum(isinstance(event, PeerLost) for event in bench.events)

    begin = time.monotonic()
    while time.monotonic() < begin + 3 * SOON:
        before = lost()
        bench.front.close()
        bench.until(lambda before=before: lost() > before)
        bench.front = bench.meet()
    assert 1 < lost() <= (time.monotonic() - begin) / SOON + 2  # the first at once; each is later than its connection
    bench.up()
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(60)]


def test_what_happens_is_traced(bench: Bench, tmp_path: Path) -> None:
    said = tmp_path / "trace"
    trace.open_backend("log", said)
    trace.enable("vhost_*")
    try:
        bench.front.close()
        bench.until(lambda: any(isinstance(event, PeerLost) for event in bench.events))
        bench.front = bench.meet()
        bench.up()
        bench.tx.jump(9)
        bench.front.kick(TRANSMIT)
        bench.until(bench.broken)
        bench.stop(RECEIVE)
    finally:
        trace.enable("-vhost_*")
        trace.close()
    assert said.read_text().splitlines() == [
        "vhost_user_event chr: guest got event: 4",
        "vhost_user_event chr: guest got event: 1",
        "vhost_ring_start : guest, ring 0 of 8 entries, from 0",
        "vhost_ring_start : guest, ring 1 of 8 entries, from 0",
        "vhost_ring_stop : guest, ring 1, at 0",
        "vhost_ring_error : guest, ring 1: its index jumped by 9, and the ring has 8 entries",
        "vhost_ring_stop : guest, ring 0, at 0",
    ]


def test_nothing_stays_open_behind_a_front_end(bench: Bench) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    bench.up()
    before = descriptors()
    for _ in range(5):
        bench.front.close()
        bench.turn()
        bench.front = bench.meet()
        bench.up(USUAL | messages.LOG_ALL)
        bench.front.say(6, struct.pack("<QQ", LOG_SIZE, 0), [bench.memory.log_fd])
        bench.settle()
    assert descriptors() <= before + 1  # the log is mapped


# The log of written pages


def pages(*ranges: tuple[int, int]) -> set[int]:
    return {page for at, size in ranges for page in range(at // PAGE, (at + size - 1) // PAGE + 1)}


def test_every_page_that_is_written_is_marked(bench: Bench) -> None:
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.front.say(6, struct.pack("<QQ", LOG_SIZE, 0), [bench.memory.log_fd])
    bench.settle()
    assert bench.front.answer() == (6, b"")
    bench.memory.dirty()
    bench.rx.give(BUFFERS + 100, 5000)
    bench.rx.give(BUFFERS + SIZE + 100, 5000)
    bench.send(EMPTY + frame(8000))
    written = [(BUFFERS + 100, 5000), (BUFFERS + SIZE + 100, 8012 - 5000), (bench.rx.used, 20)]
    assert bench.memory.dirty() == pages(*written)
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.frames(1)
    assert bench.memory.dirty() == pages((bench.tx.used, 20))


def test_logging_may_begin_while_the_rings_are_at_work(bench: Bench) -> None:
    bench.up()
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.front.kick(TRANSMIT)
    bench.frames(1)
    bench.rx.give(BUFFERS, SIZE)
    bench.front.say(6, struct.pack("<QQ", LOG_SIZE, 0), [bench.memory.log_fd])
    bench.front.features(USUAL | messages.LOG_ALL)
    bench.front.address(RECEIVE, bench.rx, 1)
    bench.front.address(TRANSMIT, bench.tx, 1)
    bench.settle()
    bench.memory.dirty()
    bench.send(EMPTY + frame(60))
    bench.tx.send(HEADER + frame(61), BUFFERS + SIZE)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(61)]
    assert bench.memory.dirty() == pages((BUFFERS, 72), (bench.rx.used, 20), (bench.tx.used, 20))
    bench.front.features(USUAL)
    bench.settle()
    bench.rx.give(BUFFERS, SIZE)
    bench.send(EMPTY + frame(60))
    assert bench.memory.dirty() == set()


def test_with_logging_on_nothing_is_written_before_there_is_a_log(bench: Bench) -> None:
    """As after a checkpoint: the log comes last."""
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.rx.give(BUFFERS, SIZE)
    bench.send(EMPTY + frame(60))
    bench.settle()
    assert bench.received() == []
    bench.front.say(6, struct.pack("<QQ", LOG_SIZE, 0), [bench.memory.log_fd])
    bench.until(lambda: not bench.port.pending)
    assert bench.memory.dirty() >= pages((BUFFERS, 72), (bench.rx.used, 20))


def warnings(bench: Bench) -> list[str]:
    return [event.text for event in bench.events if isinstance(event, Warned)]


def test_a_front_end_that_never_gives_its_log_is_told_of_once(bench: Bench) -> None:
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.until(lambda: warnings(bench))
    bench.front.say(1)
    bench.rest(LOG_LATE * 1.5)
    (text,) = warnings(bench)
    assert "LOG_ALL" in text
    assert "gives no log" in text


def test_that_a_log_is_missing_is_said_whatever_else_was_said_of_late(bench: Bench) -> None:
    bench.front.say(16, struct.pack("<Q", messages.REPLY_ACK))
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.rest(LOG_LATE / 2)
    bench.front.say(8, struct.pack("<II", RECEIVE, 9), flags=NEED_REPLY)
    bench.rest(LOG_LATE)
    assert ["power of two" in text for text in warnings(bench)] == [True, False]


def test_a_log_that_is_not_missing_for_long_is_not_asked_for(bench: Bench) -> None:
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.front.say(6, struct.pack("<QQ", LOG_SIZE, 0), [bench.memory.log_fd])
    bench.settle()
    bench.front.answer()
    assert bench.stop(RECEIVE) == bench.stop(TRANSMIT) == 0
    bench.rest(LOG_LATE / 2)
    bench.up(USUAL | messages.LOG_ALL, flags=1)  # as after a checkpoint: missing again, and that is not the same time
    bench.rest(LOG_LATE * 0.8)
    assert not warnings(bench)


def test_a_log_that_has_no_bit_for_a_page_stops_the_ring(bench: Bench) -> None:
    bench.up(USUAL | messages.LOG_ALL, flags=1)
    bench.front.say(6, struct.pack("<QQ", 1, 0), [bench.memory.log_fd])
    bench.settle()
    assert "log" in bench.broken()[0].text


# A driver that does what it must not


def outside(bench: Bench) -> None:
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.tx.describe(0, LOW_SIZE + 0x1000, 72)


def at_the_end(bench: Bench) -> None:
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.tx.describe(0, HIGH + HIGH_SIZE - 71, 72)


def around(bench: Bench) -> None:
    bench.tx.send(HEADER + frame(60), BUFFERS)
    bench.tx.describe(0, 2**64 - 16, 72)


def loop(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 1, NEXT, 1)
    bench.tx.describe(1, BUFFERS, 1, NEXT, 0)
    bench.tx.offer(0)


def empty_loop(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 0, NEXT, 0)
    bench.tx.offer(0)


def no_such_head(bench: Bench) -> None:
    bench.tx.offer(8)


def no_such_next(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 20, NEXT, 8)
    bench.tx.offer(0)


def jump(bench: Bench) -> None:
    bench.tx.jump(9)


def jump_back(bench: Bench) -> None:
    bench.tx.jump(0xFFFF)


def writable(bench: Bench) -> None:
    bench.tx.give(BUFFERS, 72)


def indirect_of_odd_size(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 24, INDIRECT)
    bench.tx.offer(0)


def indirect_of_none(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 0, INDIRECT)
    bench.tx.offer(0)


def indirect_too_long(bench: Bench) -> None:
    bench.tx.describe(0, BUFFERS, 16 * 1025, INDIRECT)
    bench.tx.offer(0)


def indirect_outside(bench: Bench) -> None:
    bench.tx.describe(0, HIGH + HIGH_SIZE - 16, 32, INDIRECT)
    bench.tx.offer(0)


def indirect_of_indirect(bench: Bench) -> None:
    bench.memory.write(BUFFERS, struct.pack("<QIHH", BUFFERS, 16, INDIRECT, 0))
    bench.tx.describe(0, BUFFERS, 16, INDIRECT)
    bench.tx.offer(0)


def indirect_loop(bench: Bench) -> None:
    bench.memory.write(BUFFERS, struct.pack("<QIHHQIHH", BUFFERS, 9, NEXT, 1, BUFFERS, 9, NEXT, 0))
    bench.tx.describe(0, BUFFERS, 32, INDIRECT)
    bench.tx.offer(0)


WRONG = {
    outside: "not in the guest's memory", at_the_end: "not in the guest's memory", around: "more than there can be",
    loop: "has no end", empty_loop: "has no end", no_such_head: "no descriptor 8", no_such_next: "leads to descriptor",
    jump: "jumped by 9", jump_back: "jumped by 65535", writable: "for writing", indirect_of_odd_size: "24 bytes",
    indirect_of_none: "0 bytes", indirect_too_long: "16400 bytes", indirect_outside: "not all in",
    indirect_of_indirect: "where none may", indirect_loop: "has no end",
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG, ids=lambda how: how.__name__)
def test_a_driver_that_does_wrong_has_its_ring_stopped_and_nothing_else(
    bench: Bench, how: Callable[[Bench], None]
) -> None:
    bench.up()
    bench.rx.give(BUFFERS + SIZE, SIZE)
    how(bench)
    bench.front.kick(TRANSMIT)
    bench.until(bench.broken)
    (event,) = bench.broken()
    assert (event.port, event.ring) == ("guest", "transmit ring")
    assert WRONG[how] in event.text
    bench.send(EMPTY + frame(60))
    assert len(bench.received()) == 1, "the other ring goes on"
    bench.front.kick(TRANSMIT)
    bench.settle()
    assert len(bench.broken()) == 1
    assert bench.stop(TRANSMIT) in (0, 1)
    bench.tx = Driver(bench.memory, HIGH + 0x2000)
    bench.front.start(TRANSMIT, bench.tx)
    bench.settle()
    bench.tx.send(HEADER + frame(61), BUFFERS)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(61)], "a driver that starts anew is given another chance"


def test_other_guests_go_on(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other", beside=bench)
    bench.up()
    other.up()
    for how in WRONG:
        bench.stop(TRANSMIT)
        bench.tx = Driver(bench.memory, HIGH + 0x2000)
        bench.front.start(TRANSMIT, bench.tx, base=0)
        bench.settle()
        how(bench)
        bench.front.kick(TRANSMIT)
        other.tx.send(HEADER + frame(60), BUFFERS)
        other.front.kick(TRANSMIT)
        assert other.frames(1) == [EMPTY + frame(60)]
    assert bench.broken()
    assert not other.broken()
    other.port.close()
    other.front.close()
    other.memory.close()


def test_a_frame_in_too_many_pieces_stops_the_ring(bench: Bench) -> None:
    bench.up()
    rows = [struct.pack("<QIHH", BUFFERS, 1, WRITABLE | NEXT * (n < 1023), n + 1) for n in range(1024)]
    bench.memory.write(BUFFERS + SIZE, b"".join(rows))
    for number in range(3):
        bench.rx.describe(number, BUFFERS + SIZE, 16 * 1024, INDIRECT)
        bench.rx.offer(number)
    bench.send(EMPTY + frame(4000))
    assert "more than 2048 pieces" in bench.broken()[0].text


def test_a_buffer_for_reading_cannot_be_written(bench: Bench) -> None:
    bench.up()
    bench.rx.send(HEADER + frame(60), BUFFERS)
    bench.send(EMPTY + frame(60))
    assert "for reading" in bench.broken()[0].text
    assert bench.memory.read(BUFFERS, 72) == HEADER + frame(60)


def test_frames_that_are_none_are_dropped_and_their_buffers_come_back(bench: Bench) -> None:
    bench.up()
    bench.tx.send(HEADER + bytes(13), BUFFERS)
    bench.tx.send(HEADER + frame(65559), BUFFERS + SIZE)
    bench.tx.send(HEADER + frame(60), BUFFERS + 3 * SIZE)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(60)]
    assert len(bench.tx.returned()) == 3
    assert bench.port.dropped.frames == 2


def test_a_buffer_may_go_over_from_one_region_to_the_next(bench: Bench) -> None:
    rows = [(HIGH, 0x8000, USER + HIGH, LOW_SIZE), (HIGH + 0x8000, 0x8000, USER + HIGH + 0x8000, LOW_SIZE + 0x8000)]
    bench.memory.rows = lambda: rows  # type: ignore[method-assign]
    bench.up()
    bench.tx.send(HEADER + frame(6000), HIGH + 0x8000 - 3000)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(6000)]


def test_a_guest_that_goes_on_doing_wrong_is_told_of_seldom(bench: Bench) -> None:
    bench.up()
    for _ in range(20):
        bench.stop(TRANSMIT)
        bench.tx = Driver(bench.memory, HIGH + 0x2000)
        bench.tx.jump(9)
        bench.front.start(TRANSMIT, bench.tx, base=0)
        bench.settle()
    assert 1 <= len(bench.broken()) <= 20 * 3 * 0.02 / SELDOM + 2


# Messages


def refused(bench: Bench, request: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> str:
    """Why the front end is hung up on."""
    bench.front.say(request, payload, fds)
    bench.until(lambda: any(isinstance(event, PeerLost) for event in bench.events))
    with pytest.raises((EOFError, ConnectionError)):
        bench.front.answer()
    return next(event.reason for event in bench.events if isinstance(event, PeerLost))


def state(number: int, value: int) -> bytes:
    return struct.pack("<II", number, value)


def test_what_is_offered(bench: Bench) -> None:
    for request in (1, 15, 17):
        bench.front.say(request)
    bench.settle()
    features, protocol, queues = (struct.unpack("<Q", bench.front.answer()[1])[0] for _ in range(3))
    assert features == EVENTS | messages.LOG_ALL
    assert (protocol, queues) == (messages.LOG_SHMFD | messages.REPLY_ACK, 1)


def test_without_offload_none_is_offered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, offload=False)
    bench.front.say(1)
    bench.settle()
    assert not struct.unpack("<Q", bench.front.answer()[1])[0] & messages.OFFLOADS
    assert bench.port.plain
    bench.close()


REFUSED = {
    "packed rings": (2, struct.pack("<Q", 1 << 34 | 1 << 32), "packed rings"),
    "queue pairs": (18, state(2, 1), "several queue pairs"),
    "an unknown feature": (2, struct.pack("<Q", 1 << 40), "feature 40"),
    "an unknown protocol feature": (16, struct.pack("<Q", 1), "protocol features feature 0"),
    "an unknown message": (99, b"", "message 99 is not known"),
    "half a message": (2, b"1234", "must have 8"),
    "a size that is no power of two": (8, state(0, 100), "power of two"),
    "a size of none": (8, state(0, 0), "power of two"),
    "a size that is too large": (8, state(0, 65536), "power of two"),
    "a base that is too large": (10, state(0, 65536), "begin at 65536"),
    "a start without a descriptor": (12, struct.pack("<Q", 0), "event descriptor is missing"),
    "a start to be polled": (12, struct.pack("<Q", 1 << 8), "polled"),
    "a table without memory": (5, struct.pack("<II", 0, 0), "0 regions"),
    "a table without descriptors": (5, struct.pack("<II", 1, 0) + bytes(32), "0 descriptors"),
    "a log without a descriptor": (6, struct.pack("<QQ", 4096, 0), "without a descriptor"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_words(bench: Bench, what: str) -> None:
    request, payload, words = REFUSED[what]
    assert words in refused(bench, request, payload)
    bench.front = bench.meet()
    bench.up()


ROWS = {
    "half a page": ((0, 100, USER, 0), "whole pages"),
    "an end beyond all": ((2**64 - 8192, 8192, USER, 0), "beyond all addresses"),
    "more than the file has": ((0, 1 << 30, USER, 0), "cannot be mapped"),
}


@pytest.mark.parametrize("what", ROWS)
def test_memory_that_cannot_be_is_refused_in_words(bench: Bench, what: str) -> None:
    row, words = ROWS[what]
    text = struct.pack("<II", 1, 0) + messages.REGION.pack(*row)
    assert words in refused(bench, 5, text, (bench.memory.fd,))


def test_a_descriptor_that_is_no_event_is_refused(bench: Bench) -> None:
    assert "event descriptor" in refused(bench, 13, struct.pack("<Q", 0), (bench.memory.fd,))


def test_a_ring_that_is_not_in_memory_is_broken_from_the_start(bench: Bench) -> None:
    bench.tx.desc, where = LOW_SIZE + 0x4000, bench.tx.desc
    bench.up()
    assert "descriptor table" in bench.broken()[0].text
    bench.tx.desc = where
    bench.front.start(TRANSMIT, bench.tx)
    bench.settle()
    bench.tx.send(HEADER + frame(61), BUFFERS)
    bench.front.kick(TRANSMIT)
    assert bench.frames(1) == [EMPTY + frame(61)]


def test_who_asks_is_told_whether_it_was_done(bench: Bench) -> None:
    bench.front.say(16, struct.pack("<Q", messages.REPLY_ACK))
    bench.front.say(8, state(0, 8), flags=NEED_REPLY)
    bench.front.say(8, state(0, 9), flags=NEED_REPLY)
    bench.settle()
    assert [bench.front.answer() for _ in range(2)] == [(8, struct.pack("<Q", 0)), (8, struct.pack("<Q", 1))]
    assert any(isinstance(event, Warned) and "power of two" in event.text for event in bench.events)


def test_messages_may_be_cut_anywhere(bench: Bench) -> None:
    text = messages.HEADER.pack(1, messages.VERSION, 0) + messages.HEADER.pack(15, messages.VERSION, 0)
    for byte in text:
        bench.front.sock.send(bytes([byte]))
        bench.turn()
    assert [bench.front.answer()[0] for _ in range(2)] == [1, 15]


def test_something_else_than_messages_is_hung_up_on(bench: Bench) -> None:
    bench.front.sock.send(b"GET / HTTP/1.1\r\n\r\n")
    bench.until(lambda: any(isinstance(event, PeerLost) for event in bench.events))


def test_descriptors_that_are_not_asked_for_are_closed(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    one, two = socket.socketpair()
    assert "came with 2 descriptors" in refused(bench, 1, b"", (one.fileno(), two.fileno()))
    one.close()
    two.close()
    assert len(os.listdir("/proc/self/fd")) <= before
