"""Ports on sockets with QEMU's framing: what is passed on as it came, what is made anew, and the memory that takes."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.compare.events import Event
from coloproxy.link.address import parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.flow import Frames, frames_of, grouped, resized
from coloproxy.link.framed import FramedPort
from coloproxy.link.loop import Loop
from coloproxy.link.output import Outbox
from coloproxy.link.port import FULL
from support import frames
from support.flow import Catch, batch, numbered
from support.wire import PATIENCE, Peer, framed


class Bench:
    """Ports that listen in a folder, on one loop."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.loop, self.clock, self.pool = folder, Loop(), Clock(), Pool()
        self.events: list[Event] = []
        self.ports: list[FramedPort] = []
        self.peers: list[Peer] = []

    def port(self, name: str, vnet_hdr: bool | int = False, *, patient: bool = True) -> FramedPort:
        address = parse_address(f"unix:{self.folder}/{name},server")
        port = FramedPort(
            name, address, self.loop, self.clock.now, self.events.append, self.pool, vnet_hdr=vnet_hdr, patient=patient
        )
        port.open()
        port.read_on(True)
        self.ports.append(port)
        return port

    def peer(self, port: FramedPort) -> Peer:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{self.folder}/{port.name}")
        self.until(lambda: port.connected)
        self.peers.append(Peer(sock, port.vnet_hdr))
        return self.peers[-1]

    def turn(self) -> None:
        self.loop.turn(time.monotonic() + 0.05)
        for port in self.ports:
            port.finish()

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            self.turn()

    def close(self) -> None:
        for port in self.ports:
            port.close()
        for peer in self.peers:
            peer.close()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_frames_come_in_batches_with_their_framing_in_front(bench: Bench) -> None:
    port, seen = bench.port("a", vnet_hdr=True), list[tuple[int, int]]()
    caught = Catch()

    def take(batch: Frames, now: float) -> None:
        seen.append((batch.headroom, batch.count))
        caught.batch(batch, now)

    port.take = take  # type: ignore[assignment]
    peer = bench.peer(port)
    sent = [bytes(12) + frame for frame in numbered(50)]
    peer.send(*sent, vnet_len=12)
    bench.until(lambda: len(caught.frames) == 50)
    assert caught.frames == sent
    assert set(caught.vnet_lens) == {12}
    assert {headroom for headroom, _ in seen} == {8}
    assert (port.received.frames, port.received.bytes) == (50, 50 * 76)


@pytest.mark.parametrize(("one", "other"), [(False, False), (True, True), (False, True)])
def test_what_comes_by_one_socket_leaves_by_another(bench: Bench, one: bool, other: bool) -> None:
    a, b = bench.port("a", one), bench.port("b", other)
    a.take = b.batch
    peer_a, peer_b = bench.peer(a), bench.peer(b)
    sent = numbered(100, 200)
    peer_a.send(*sent)
    bench.until(lambda: b.sent.frames == 100 and not b.pending)
    assert peer_b.frames(100) == sent
    assert (b.sent.frames, b.sent.bytes) == (100, 20000)


@pytest.mark.parametrize("wanted", [10, 12, 20])
@pytest.mark.parametrize("length", [0, 10, 12, 20])
def test_headers_are_sent_in_the_length_that_is_wanted(bench: Bench, wanted: int, length: int) -> None:
    port = bench.port("a", wanted)
    peer = bench.peer(port)
    frame = frames.tcp(b"x" * 3000, vnet=length, gso=1448 if length else 0)
    port.batch(batch(frame, vnet=length), 0.0)
    port.outputs([(frame, 0, len(frame), length, None)], 0.0)
    bench.until(lambda: not port.pending)
    data = b""
    while len(data) < 2 * (8 + wanted + len(frame) - length):
        data += peer.sock.recv(65536)
    assert data == 2 * framed(frame[: min(length, 10)].ljust(wanted, b"\0") + frame[length:], wanted)


def test_a_socket_without_headers_is_sent_frames_without_them(bench: Bench) -> None:
    port = bench.port("a")
    peer = bench.peer(port)
    one, two = numbered(2)
    port.batch(batch(bytes(10) + one, vnet=10), 0.0)
    port.outputs([(bytes(12) + two, 0, 76, 12, None)], 0.0)
    bench.until(lambda: not port.pending)
    assert peer.frames(2) == [one, two]


def test_what_waits_does_not_keep_the_buffers_it_came_in(bench: Bench) -> None:
    a, b = bench.port("a"), bench.port("b")
    peer = bench.peer(a)
    kept = [0]

    def take(arrived: Frames, now: float) -> None:
        """Of each batch the first frame waits."""
        one = Frames(arrived.buf, arrived.lease)
        one.add(*next(frames_of(arrived)))
        b.batch(one, now)
        kept[0] += 1

    a.take = take  # type: ignore[assignment]
    rng = random.Random(1)
    for _ in range(60):
        before = kept[0]
        peer.send(*[rng.randbytes(60000)] * 2)
        bench.until(lambda before=before: kept[0] > before)  # type: ignore[misc]
    assert b.sent.frames == kept[0] >= 60
    assert bench.pool.lent <= 12


def test_a_peer_that_goes_in_the_middle_of_a_frame_is_followed_by_one_who_gets_all_of_it(bench: Bench) -> None:
    port = bench.port("a")
    peer = bench.peer(port)
    sent = numbered(100, 60000)
    port.batch(batch(*sent), 0.0)
    bench.turn()
    assert port.pending
    first = peer.frames(3)
    peer.close()
    bench.until(lambda: not port.connected)
    second = bench.peer(port)
    got: list[bytes] = []
    while port.pending:
        bench.turn()
        got += second.frames(1)
    rest = second.frames(100 - sent.index(got[0]) - len(got))
    assert got + rest == sent[sent.index(got[0]) :]  # what was in the first one's socket is gone with it
    assert first == sent[:3]


def test_what_is_sent_to_a_port_that_does_not_wait_is_dropped_without_a_peer(bench: Bench) -> None:
    port = bench.port("a", patient=False)
    port.batch(batch(*numbered(5)), 0.0)
    port.outputs([(numbered(1)[0], 0, 64, 0, None)], 0.0)
    assert (port.pending, port.sent.frames) == (0, 0)
    assert (port.dropped.frames, port.dropped.bytes) == (6, 6 * 64)
    peer = bench.peer(port)
    port.batch(batch(*numbered(5)), 0.0)
    bench.until(lambda: not port.pending)
    assert peer.frames(5) == numbered(5)


def test_a_port_that_does_not_wait_is_never_full(bench: Bench) -> None:
    port = bench.port("a", patient=False)
    peer = bench.peer(port)
    for frame in numbered(200, 60000):  # of which nobody reads any
        port.batch(batch(frame), 0.0)
        port.finish()
        assert not port.full
    assert FULL <= port.pending <= FULL + 60004
    count = port.sent.frames
    assert count + port.dropped.frames == 200
    got: list[bytes] = []
    while len(got) < count:
        bench.turn()
        got += peer.frames(1)
    assert got == numbered(200, 60000)[:count]


def test_with_its_peer_goes_what_waits_for_it_and_is_counted(bench: Bench) -> None:
    port = bench.port("a", patient=False)
    peer = bench.peer(port)
    port.batch(batch(*numbered(100, 60000)), 0.0)
    bench.turn()
    assert 0 < port.pending < 100 * 60004
    peer.close()
    bench.until(lambda: not port.connected)
    assert port.pending == 0
    assert port.sent.frames + port.dropped.frames == 100
    assert port.sent.bytes + port.dropped.bytes == 100 * 60000
    assert port.dropped.frames > 0


@given(st.lists(st.tuples(st.integers(1, 9000), st.booleans()), min_size=1, max_size=30), st.integers(0, 10**6))
def test_what_is_forgotten_is_counted_in_frames(sizes: list[tuple[int, bool]], taken: int) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    outbox = Outbox(False, Pool())
    for size, as_it_came in sizes:
        data = framed(bytes(size)) if as_it_came else bytes(size)
        outbox.add([(data, 0, len(data), -1 if as_it_came else 0, None)])
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096 + taken % 20000)
    outbox.flush(ours)
    outbox.peer_lost()
    ours.close()
    whole, at = 0, 0
    data = b""
    while piece := theirs.recv(1 << 20):
        data += piece
    while whole < len(sizes) and len(data) - at >= 4 + sizes[whole][0]:
        at += 4 + sizes[whole][0]
        whole += 1
    theirs.close()
    left = [size for size, _ in sizes[whole:]]
    assert outbox.pending == sum(left) + 4 * len(left)
    assert outbox.forget() == (len(left), sum(left))
    assert outbox.pending == 0


@given(st.lists(st.integers(0, 2), max_size=20))
def test_single_frames_become_batches_of_those_that_share_a_buffer(which: list[int]) -> None:
    buffers = [bytearray(b"a" * 100), bytearray(b"b" * 100), b"c" * 100]
    outputs = [(buffers[n], at, at + 1, 0, None) for at, n in enumerate(which)]
    made = list(grouped(outputs))  # type: ignore[arg-type]
    assert b"".join(bytes(each.buf[start:end]) for each in made for start, end, _ in frames_of(each)) == b"".join(
        bytes(buf[start:end]) for buf, start, end, _, _ in outputs
    )
    for one, other in pairwise(made):
        assert one.buf is not other.buf


@given(st.binary(max_size=40), st.integers(0, 2**32 - 1), st.sampled_from([10, 12, 20]))
def test_any_header_can_be_made_longer_or_shorter(frame: bytes, vnet_len: int, wanted: int) -> None:
    made = resized(memoryview(frame), vnet_len, wanted)
    assert made[:10] == frame[: min(vnet_len, 10)].ljust(10, b"\0")
    assert not any(made[10:wanted])
    assert made[wanted:] == frame[vnet_len:]
