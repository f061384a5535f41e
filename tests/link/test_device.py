"""TAP devices and packet sockets in real network namespaces: frames both ways, headers, tags, and what is lost."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from coloproxy.compare.events import Event, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.device import STUCK, VNET_LEN, WAITING, DevicePort, PacketPort, TapPort
from coloproxy.link.loop import Loop
from support import frames
from support.flow import Catch, batch, numbered
from support.netns import Namespace, finished, ip, needs_root, veth
from support.wire import PATIENCE

pytestmark = [pytest.mark.root, needs_root]

EMPTY = bytes(VNET_LEN)
MACS = bytes.fromhex("ffffffffffff" + "020000000099")  # to all: whoever listens may have it


class Bench:
    """A port on a device with a loop of its own, what it brings caught, and what it says."""

    def __init__(self, made: type[DevicePort], device: str, netns: str, **more: bool) -> None:
        self.loop, self.clock, self.pool = Loop(), Clock(), Pool()
        self.events: list[Event] = []
        self.port = made("port", device, netns, self.loop, self.clock.now, self.events.append, self.pool, **more)
        self.caught = Catch()
        self.port.take = self.caught.batch

    def open(self) -> "Bench":
        self.port.open()
        self.port.read_on(True)
        return self

    def turn(self) -> None:
        self.loop.turn(time.monotonic() + 0.05)
        self.port.finish()

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            self.turn()

    def frames(self, count: int) -> list[bytes]:
        """The next so many frames, all with a virtio-net header."""
        self.until(lambda: len(self.caught.frames) >= count)
        assert set(self.caught.vnet_lens) <= {VNET_LEN}
        taken, self.caught.frames = self.caught.frames[:count], self.caught.frames[count:]
        return taken

    def send(self, *sent: bytes, vnet: int = VNET_LEN) -> None:
        self.port.batch(batch(*sent, vnet=vnet), 0.0)

    def idle(self) -> bool:
        """Whether the loop has nothing to do for a while."""
        before = time.process_time()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            self.loop.turn(end)
        return time.process_time() - before < 0.05

    def close(self) -> None:
        self.port.close()
        self.loop.close()


@pytest.fixture
def space() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces; removes them with the test."""
    made: list[Namespace] = []

    def new() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield new
    for each in made:
        each.remove()
        assert each.name not in ip("netns", "list").split()


Kind = Callable[[], tuple[Bench, Namespace, str]]


@pytest.fixture(params=[TapPort, PacketPort], ids=["tap", "packet"])
def pair(request: pytest.FixtureRequest, space: Callable[[], Namespace]) -> Iterator[tuple[Bench, Namespace]]:
    """A port, and the namespace in which device e0 is what its frames come from and go to."""
    there = space()
    if request.param is TapPort:
        there.tap("e0")
        bench = Bench(TapPort, "e0", there.name)
    else:
        here = space()
        veth(there, "e0", here, "v0")
        bench = Bench(PacketPort, "v0", here.name)
    bench.open()
    there.until_up("e0")
    yield bench, there
    bench.close()


def local(count: int, size: int = 60) -> list[bytes]:
    """Frames of an ethertype for experiments."""
    return [MACS + b"\x88\xb5" + frame for frame in numbered(count, size - 14)]


# Frames both ways


def test_frames_go_both_ways_unaltered_and_are_counted(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    came = local(500)
    assert raw.send(*came) == 500
    assert bench.frames(500) == [EMPTY + frame for frame in came]
    sent = local(300, 200)
    bench.send(*[EMPTY + frame for frame in sent])
    assert raw.frames(300) == sent
    bench.port.settle()
    received, away = bench.port.received.counts(), bench.port.sent.counts()
    assert (received.frames, received.bytes) == (500, 500 * (60 + VNET_LEN))
    assert (away.frames, away.bytes) == (300, 300 * (200 + VNET_LEN))
    assert bench.port.dropped.counts().frames == 0
    raw.close()


def test_frames_that_stand_alone_leave_as_those_of_a_batch_do(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    one, two, three = local(3)
    bench.port.outputs(
        [(EMPTY + one, 0, 70, VNET_LEN, None), (bytearray(b"??" + two), 2, 62, 0, None),
         (bytes(12) + three, 0, 72, 12, None)], 0.0
    )  # fmt: skip
    assert raw.frames(3) == [one, two, three]
    assert bench.port.sent.counts().bytes == 3 * 70
    raw.close()


def test_nothing_is_read_before_it_is_wanted_and_nothing_is_lost_by_that(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    bench.port.read_on(False)
    came = local(100)
    raw.send(*came)
    for _ in range(3):
        bench.turn()
    assert bench.caught.frames == []
    bench.port.read_on(True)
    assert bench.frames(100) == [EMPTY + frame for frame in came]
    assert bench.port.read() is False
    raw.close()


@pytest.mark.parametrize("length", [0, 10, 12, 20])
def test_headers_of_any_length_become_the_devices_and_keep_what_they_say(
    pair: tuple[Bench, Namespace], length: int
) -> None:
    bench, there = pair
    raw = there.raw("e0", vnet_hdr=True)
    gso = 1448 if length else 0
    sent = [frames.tcp(b"x" * size, vnet=length, gso=gso, seq=size) for size in (5, 1000, 1400)]
    sent += [frames.tcp(b"x" * 9000, vnet=length, gso=gso)] if length else []
    mixed = batch(*sent, vnet=length)
    bench.port.batch(mixed, 0.0)
    for frame, came in zip(sent, raw.frames(len(sent)), strict=True):
        assert came[VNET_LEN:] == frame[length:]
        if length:
            assert said(came) == said(frame)
    assert bench.port.dropped.counts().frames == 0
    raw.close()


def said(frame: bytes) -> tuple[int, ...]:
    """What a virtio-net header says that the kernel does not make anew: checksum wanted, kind, size, checksum's place.

    DATA_VALID (2) is no promise of the sender's.
    """
    flags, kind, _, size, start, offset = struct.unpack_from("<BBHHHH", frame)
    return (flags & 1, kind, size, start, offset)


def test_headers_of_different_lengths_in_one_batch(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    sent = local(6)
    made = batch(*[bytes(length) + frame for length, frame in zip((10, 0, 10, 12, 10, 0), sent, strict=True)])
    for number, length in enumerate((10, 0, 10, 12, 10, 0)):
        made.index[3 * number + 2] = length
    bench.port.batch(made, 0.0)
    assert raw.frames(6) == sent
    raw.close()


@pytest.mark.parametrize(("family", "size"), [(4, 65535 - 54), (6, 65535 - 74)])
def test_the_largest_frames_go_both_ways(pair: tuple[Bench, Namespace], family: int, size: int) -> None:
    bench, there = pair
    addresses: dict[str, object] = {"src": "fd00::2", "dst": "fd00::9"} if family == 6 else {}
    large = frames.tcp(os.urandom(size), vnet=10, gso=1400, **addresses)  # type: ignore[arg-type]
    raw = there.raw("e0", vnet_hdr=True)
    assert raw.send(large) == 1
    (came,) = bench.frames(1)
    assert came[VNET_LEN:] == large[VNET_LEN:]
    assert said(came) == said(large)
    bench.send(large)
    (back,) = raw.frames(1)
    assert back[VNET_LEN:] == large[VNET_LEN:]
    raw.close()


@pytest.mark.parametrize("vlan", [(5,), (0x2005,), (100, 5)])
def test_tags_stay_in_frames_though_the_kernel_takes_them_off(
    pair: tuple[Bench, Namespace], vlan: tuple[int, ...]
) -> None:
    bench, there = pair
    raw = there.raw("e0", vnet_hdr=True)
    large = frames.tcp(b"x" * 4000, vnet=10, gso=1400, vlan=vlan)
    small = frames.udp(b"y" * 100, vnet=10, vlan=vlan)
    assert raw.send(small, large) == 2
    came = bench.frames(2)
    assert [frame[VNET_LEN:] for frame in came] == [small[VNET_LEN:], large[VNET_LEN:]]
    assert said(came[1]) == said(large)
    assert finished(came[1]) == frames.tcp(b"x" * 4000, vlan=vlan)
    bench.send(small, large)
    assert [frame[VNET_LEN:] for frame in raw.frames(2)] == [small[VNET_LEN:], large[VNET_LEN:]]
    raw.close()


# Without offloads


def test_a_tap_without_offload_gives_frames_as_the_wire_would_have_them(space: Callable[[], Namespace]) -> None:
    there = space()
    there.tap("e0")
    bench = Bench(TapPort, "e0", there.name, offload=False).open()
    assert bench.port.plain
    there.ip("addr add 10.9.0.1/24 dev e0")
    there.ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:99 dev e0 nud permanent")
    sock = there.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"x" * 1000, ("10.9.0.2", 6000))
    bench.until(lambda: any(frame[VNET_LEN + 12 :][:2] == b"\x08\x00" for frame in bench.caught.frames))
    (came,) = (frame for frame in bench.caught.frames if frame[VNET_LEN + 12 :][:2] == b"\x08\x00")
    assert came[:VNET_LEN] == EMPTY
    udp = came[VNET_LEN + 34 :]
    pseudo = frames.pseudo("10.9.0.1", "10.9.0.2", 17, len(udp))
    assert frames.ones(pseudo + udp) == 0xFFFF
    sock.close()
    bench.close()


# What is lost is counted


def test_what_a_packet_socket_has_no_room_for_is_counted(space: Callable[[], Namespace]) -> None:
    there, here = space(), space()
    veth(there, "e0", here, "v0")
    bench = Bench(PacketPort, "v0", here.name).open()
    bench.port._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # type: ignore[attr-defined]
    raw = there.raw("e0")
    assert raw.send(*local(2000)) == 2000
    while bench.port.read():
        pass
    bench.port.settle()
    bench.port.settle()
    received, dropped = bench.port.received.counts().frames, bench.port.dropped.counts().frames
    assert received + dropped == 2000
    assert dropped > 0
    raw.close()
    bench.close()


def test_what_a_tap_has_no_room_for_is_counted(space: Callable[[], Namespace]) -> None:
    there = space()
    there.tap("e0", queue=20)
    raw = there.raw("e0")
    raw.send(*local(7))  # nobody has the device open: dropped, and none of our affairs
    bench = Bench(TapPort, "e0", there.name).open()
    there.until_up("e0")
    raw.send(*local(100))
    while bench.port.read():
        pass
    bench.port.settle()
    bench.port.settle()
    assert (bench.port.received.counts().frames, bench.port.dropped.counts().frames) == (20, 80)
    raw.close()
    bench.close()


def test_what_a_device_refuses_is_counted_and_the_rest_goes_on(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    good = local(3)
    bad = struct.pack("<BBHHHH", 1, 0, 0, 0, 60000, 16) + good[1]  # a checksum outside the frame
    bench.send(EMPTY + good[0], bad, EMPTY + b"short", EMPTY + good[2])
    assert raw.frames(2) == [good[0], good[2]]
    assert bench.port.sent.counts().frames == 2
    assert bench.port.dropped.counts().frames == 2
    assert bench.events == []
    raw.close()


@pytest.mark.parametrize("vnet_len", [1, 9, 11, 60, 61, 2**31, 2**32 - 1])
def test_any_header_length_is_survived(pair: tuple[Bench, Namespace], vnet_len: int) -> None:
    bench, there = pair
    raw = there.raw("e0")
    good = local(2)
    bench.send(good[0], vnet=vnet_len)
    bench.send(EMPTY + good[1])
    while raw.frames(1) != [good[1]]:
        pass
    raw.close()


def test_what_a_slow_device_does_not_take_waits_and_leaves_in_order(space: Callable[[], Namespace]) -> None:
    there, here = space(), space()
    veth(there, "e0", here, "v0")
    here.tc("qdisc add dev v0 root tbf rate 20mbit burst 3000 limit 10000")
    bench = Bench(PacketPort, "v0", here.name).open()
    raw = there.raw("e0")
    sent = local(200, 1000)
    bench.send(*[EMPTY + frame for frame in sent])
    assert bench.port.pending > 0
    bench.until(lambda: not bench.port.pending)
    assert raw.frames(200) == sent
    assert (bench.port.sent.counts().frames, bench.port.dropped.counts().frames) == (200, 0)
    raw.close()
    bench.close()


def test_more_than_may_wait_is_dropped_and_counted(space: Callable[[], Namespace]) -> None:
    there, here = space(), space()
    veth(there, "e0", here, "v0")
    here.tc("qdisc add dev v0 root tbf rate 8kbit burst 3000 limit 3000")
    bench = Bench(PacketPort, "v0", here.name).open()
    frame = EMPTY + local(1, 1500)[0]
    count = WAITING // len(frame) + 1000
    for _ in range(0, count, 1000):
        bench.send(*[frame] * 1000)
    assert WAITING - len(frame) < bench.port.pending <= WAITING
    assert bench.port.full
    port, waiting = bench.port, bench.port.pending // len(frame)
    assert port.sent.counts().frames + waiting + port.dropped.counts().frames == -(-count // 1000) * 1000
    assert port.dropped.counts().frames > 0
    bench.close()


# Devices that go


def test_a_device_that_is_removed_is_told_of_once_and_the_port_is_quiet(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    raw = there.raw("e0")
    raw.send(*local(3))
    bench.frames(3)
    there.ip("link del e0")
    for _ in range(3):
        bench.send(EMPTY + local(1)[0])
        bench.turn()
    assert bench.port.gone
    assert bench.port.dropped.counts().frames == 3
    assert bench.port.pending == 0
    (event,) = bench.events
    assert isinstance(event, Warned)
    assert event.text.startswith(f"port port: device '{bench.port.device}' is gone: ")
    assert bench.port.read() is False
    bench.port.read_on(False)
    bench.port.read_on(True)
    bench.port.settle()
    assert bench.idle()
    raw.close()


def test_a_namespace_that_is_removed_is_survived(space: Callable[[], Namespace]) -> None:
    there = space()
    there.tap("e0")
    bench = Bench(TapPort, "e0", there.name).open()
    there.remove()
    bench.send(EMPTY + local(1)[0])  # the descriptor keeps the namespace, or the device has gone with it
    bench.turn()
    assert bench.idle()
    bench.close()


def test_a_device_that_is_down_for_a_while_goes_on_afterwards(pair: tuple[Bench, Namespace]) -> None:
    bench, there = pair
    there.ip("link set e0 down")
    frame = local(1)[0]
    bench.send(*[EMPTY + frame] * 9)
    bench.until(lambda: not bench.port.pending)
    assert bench.port.sent.counts().frames + bench.port.dropped.counts().frames == 9
    assert bench.idle()
    there.ip("link set e0 up")
    raw = there.raw("e0")

    def passes() -> bool:
        """Whether frames pass again: a device needs a moment."""
        bench.send(EMPTY + frame)
        return not raw.silent(0.05)

    bench.until(passes)
    raw.send(frame)
    assert bench.frames(1) == [EMPTY + frame]
    assert bench.events == []
    raw.close()


def test_a_device_that_takes_nothing_is_waited_for_a_little_and_then_no_more(space: Callable[[], Namespace]) -> None:
    """As one without a carrier, whose driver says that its queue is full."""
    there, here = space(), space()
    veth(there, "e0", here, "v0")
    here.tc("qdisc add dev v0 root pfifo limit 0")
    bench = Bench(PacketPort, "v0", here.name).open()
    frame = EMPTY + local(1)[0]
    bench.send(*[frame] * 5)
    assert bench.port.pending == 5 * len(frame)
    began = time.monotonic()
    bench.until(lambda: not bench.port.pending)
    assert STUCK / 2 < time.monotonic() - began < 20 * STUCK
    bench.send(*[frame] * 5)
    assert (bench.port.pending, bench.port.dropped.counts().frames) == (0, 10)
    assert bench.idle()
    here.tc("qdisc del dev v0 root")
    raw = there.raw("e0")
    bench.send(*[frame] * 5)
    assert raw.frames(5) == [frame[VNET_LEN:]] * 5
    here.tc("qdisc add dev v0 root pfifo limit 0")
    bench.send(*[frame] * 5)
    assert bench.port.pending == 5 * len(frame)
    raw.close()
    bench.close()


# What cannot be opened


def test_what_cannot_be_opened_says_which_and_where(space: Callable[[], Namespace]) -> None:
    there = space()
    there.tap("e0")
    first = Bench(TapPort, "e0", there.name).open()
    for made, device, why in (
        (TapPort, "e0", "Device or resource busy; see that it is there and free."),
        (PacketPort, "e9", "No such device; see that it is there and free."),
    ):
        bench = Bench(made, device, there.name)
        with pytest.raises(ColoproxyError) as caught:
            bench.port.open()
        assert str(caught.value) == f"port port: device '{device}' in namespace {there.name}: {why}"
        bench.close()
    first.close()


def test_a_tap_that_is_not_there_is_made_and_goes_with_us(space: Callable[[], Namespace]) -> None:
    there = space()
    bench = Bench(TapPort, "new0", there.name).open()
    assert "new0" in there.ip("link show")
    bench.close()
    assert "new0" not in there.ip("link show")


def test_a_namespace_may_be_named_by_its_path(space: Callable[[], Namespace]) -> None:
    there = space()
    here = os.readlink("/proc/self/ns/net")
    bench = Bench(TapPort, "e0", f"/run/netns/{there.name}").open()
    assert "e0" in there.ip("link show")
    assert os.readlink("/proc/self/ns/net") == here
    bench.close()


def test_segments_that_were_merged_come_out_of_another_device_as_they_were(space: Callable[[], Namespace]) -> None:
    there = space()
    for command in ("link add br0 type bridge mcast_snooping 0", "link set br0 up"):  # else it speaks itself
        there.ip(command)
    benches = []
    for device in ("e0", "e1"):
        there.tap(device)
        there.ip(f"link set {device} master br0")
        benches.append(Bench(TapPort, device, there.name, offload=False).open())
        there.until_up(device)
    data = bytes(range(250)) * 4
    sent = [
        frames.tcp(data, seq=1 + 1000 * number, ident=9 + number, options=frames.timestamp(3, 4))
        for number in range(30)
    ]
    try:
        benches[0].send(*sent, vnet=0)
        came = benches[1].frames(30)
        assert came == [EMPTY + frame for frame in sent]
    finally:
        for bench in benches:
            bench.close()
