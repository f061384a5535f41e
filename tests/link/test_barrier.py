"""What lies in the sockets when a checkpoint has been made belongs before it, within bounds."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

from support.frames import udp
from support.process import Running
from support.wire import framed

Start = Callable[..., Running]
SO_SNDBUFFORCE = 32  # asm-generic/socket.h: beyond net.core.wmem_max, for root
COMPLETED = framed(b"COLO_CHECKPOINT")


def test_all_that_the_primary_said_before_a_checkpoint_is_released_by_it(proxy: Start) -> None:
    running = proxy(notify=True)
    p, _, o = running.peers()
    n = running.peer("notify_dev")
    try:
        p.sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
    except PermissionError:
        pytest.skip("only root may have a socket hold more than net.core.wmem_max")
    said = [udp(bytes(1400), dport=1000 + at) for at in range(2500)]
    running.process.send_signal(signal.SIGSTOP)
    p.send(*said)
    n.raw(COMPLETED)
    running.process.send_signal(signal.SIGCONT)
    assert o.frames(len(said)) == said
    assert running.stop()["accounting"]["primary"]["held"]["frames"] == 0


def test_checkpoints_without_end_do_not_fill_the_memory_for_a_reader_that_takes_nothing(proxy: Start) -> None:
    running = proxy(notify=True)
    p, _, _ = running.peers()
    n = running.peer("notify_dev")
    before, end = running.memory(), time.monotonic() + 3
    said = b"".join(framed(udp(bytes(1400), dport=1000 + at)) for at in range(700))

    def goes_on() -> None:
        p.sock.settimeout(0.2)
        rest = memoryview(said)
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                rest = rest[p.sock.send(rest) :] or memoryview(said)

    speaker = threading.Thread(target=goes_on)
    speaker.start()
    n.sock.settimeout(0.2)
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            n.sock.send(50 * COMPLETED)
    speaker.join()
    assert running.memory() < before + (96 << 20)
    n.sock.settimeout(None)
    running.stop()
