"""A real guest whose card is a port of `coloproxy run`: every byte, whatever its driver takes; what comes and goes."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.guest import ECHO, Guest, echoed, fetched, network, pinged, shared, taken, topology
from support.netns import Namespace
from support.topology import Topology

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]

DATA = random.Random(1).randbytes(5_000_000)
NO_OFFLOAD = (
    ",csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,guest_tso4=off,guest_tso6=off"
    ",guest_ecn=off"
)  # fmt: skip
DRIVERS = {
    "usual": ("", True), "no merged buffers": (",mrg_rxbuf=off", True), "no offload": (NO_OFFLOAD, True),
    "neither": (NO_OFFLOAD + ",mrg_rxbuf=off", True), "no offload offered": ("", False),
    "before virtio 1": (",disable-modern=on,mrg_rxbuf=off", True),
}  # fmt: skip


@pytest.fixture
def netns() -> Iterator[Namespace]:
    with network() as made:
        yield made


Start = Callable[..., tuple[Topology, Guest]]


@pytest.fixture
def start(tmp_path: Path, netns: Namespace) -> Iterator[Start]:
    """Starts a proxy and a guest behind it."""
    ends: list[Callable[[], object]] = []

    def begin(device: str = "", offload: bool = True) -> tuple[Topology, Guest]:
        running = topology(tmp_path, netns, offload=offload)
        ends.append(running.process.kill)
        guest = Guest(tmp_path, shared(tmp_path), netns, device)
        ends.append(guest.end)
        return running, guest.booted()

    yield begin
    for end in reversed(ends):
        end()


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_byte_is_right_both_ways(start: Start, driver: str) -> None:
    device, offload = DRIVERS[driver]
    running, guest = start(device, offload)
    assert pinged(guest)
    assert fetched(guest, 20)
    assert taken(guest, DATA)
    assert echoed(guest, DATA)
    ports = running.stop()["ports"]
    assert ports["guest"]["received"]["frames"] == ports["network"]["sent"]["frames"]
    size = ports["guest"]["received"]["bytes"] / ports["guest"]["received"]["frames"]
    assert (size > 2000) == (offload and NO_OFFLOAD not in device)


def talk(sock: socket.socket, rounds: int = 20) -> None:
    """Echoes, each of them right."""
    for _ in range(rounds):
        block = os.urandom(100)
        sock.sendall(block)
        back = b""
        while len(back) < len(block):
            part = sock.recv(len(block) - len(back))
            assert part
            back += part
        assert back == block


def test_a_proxy_that_is_started_anew_finds_its_guest_again(start: Start, tmp_path: Path, netns: Namespace) -> None:
    running, guest = start()
    with guest.connect(ECHO) as sock:
        talk(sock)
        downloads: list[bool] = []
        load = threading.Thread(target=lambda: downloads.append(fetched(guest, 60)))
        load.start()
        for _ in range(2):
            time.sleep(0.3)
            running.process.kill()
            running.process.wait()
            running = topology(tmp_path, netns)
            running.wait("peer_connected", running.count("peer_connected") + 1)
        try:
            load.join()
            assert downloads == [True]
            talk(sock)
        finally:
            running.process.kill()


def test_a_proxy_that_stands_still_goes_on(start: Start) -> None:
    running, guest = start()
    with guest.connect(ECHO) as sock:
        talk(sock)
        running.process.send_signal(signal.SIGSTOP)
        sock.sendall(b"waits")
        time.sleep(1)
        running.process.send_signal(signal.SIGCONT)
        assert sock.recv(5) == b"waits"
        talk(sock)
    assert fetched(guest, 5)
    running.stop()
