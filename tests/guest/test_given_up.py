"""A copy that is given up, whatever QEMU is doing at that moment, leaves a QEMU of which a copy can be made."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coloproxy.guest.channel import Channel
from coloproxy.guest.colo import Colo
from coloproxy.guest.config import Host
from coloproxy.guest.mirror import Mirror
from coloproxy.guest.monitor import Aio, Monitor
from coloproxy.guest.tls import for_qemu, make_keys
from coloproxy.link.address import parse_address
from coloproxy.link.loop import Loop
from support.etcd import free_ports
from support.pair import running, talking

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(120)]

FOUND = 60  # signs of life that may be missed: the secondary waits for longer than the copy takes


class Bench:
    """One QEMU without a guest, with keys, and who speaks to it."""

    def __init__(self, folder: Path) -> None:
        self.loop, self.failed, self.ready = Loop(), list[str](), False
        self._aio = Aio(self.loop)
        place = parse_address(f"unix:{folder / 'qmp'}")
        self._monitor = Monitor(self._aio, place, lambda *_: None, self._answers, lambda: None)
        self.colo = Colo(self._monitor, self.loop, self.failed.append, Mirror(), "b")
        self.until(lambda: self.ready)

    def _answers(self) -> None:
        self.ready = True

    def until(self, done: Callable[[], Any]) -> None:
        """Work until something is so."""
        end = time.monotonic() + 20
        while not done():
            assert time.monotonic() < end, f"it did not come to that; {self.failed}"
            self.loop.turn(time.monotonic() + 0.05)

    def copy(self) -> socket.socket:
        """Have a copy begin; the other end, which has not said a word."""
        (port,) = free_ports(1)
        with socket.create_server(("127.0.0.1", port)) as server:
            there = Host(address="127.0.0.1", port=port - 1, tap="", bridge="")
            channel: Channel
            channel = Channel(there, False, self.loop, lambda sock: self.colo.copy(channel, sock))
            server.settimeout(20)
            other, _ = server.accept()
        other.setblocking(False)
        heard = b""

        def speaks() -> bytes:
            nonlocal heard
            with contextlib.suppress(BlockingIOError):
                heard = other.recv(1 << 16)
            return heard

        self.until(speaks)
        return other

    def status(self) -> str:
        """What QEMU says of the copy."""
        said: list[Any] = []
        self._monitor.execute("query-migrate", None, lambda answer, _why: said.append(answer))
        self.until(lambda: said)
        return str(said[0].get("status"))

    def close(self) -> None:
        self._monitor.close()
        self._aio.close()
        self.loop.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="colo-"))  # a short path: a socket is in it
    make_keys(folder, ["a", "b"])
    command = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none",
               "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", *for_qemu(folder, "a", "b", folder)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            made = Bench(folder)
            yield made
            made.close()
        finally:
            process.kill()
    shutil.rmtree(folder)


def test_qemu_answers_while_the_other_does_not_show_who_it_is(bench: Bench) -> None:
    with bench.copy():
        assert bench.status() == "setup"


def test_a_copy_begins_after_one_whose_other_end_never_spoke(bench: Bench) -> None:
    with bench.copy():
        bench.colo.cancel()
        with bench.copy():
            assert bench.status() == "setup"


def test_a_copy_that_ended_while_the_agent_slept_is_given_up_and_made_anew(tmp_path: Path) -> None:
    with running(tmp_path, protect=False, misses=FOUND) as pair, talking(pair) as talk:
        primary, other = pair.alone()
        pair.ask(primary, "protect")
        pair.wait(lambda: pair.quietly(other) == "receiving" and pair.events(primary, "copy_progress"))
        agent = pair.agent_pid(primary)
        os.kill(agent, signal.SIGSTOP)
        time.sleep(2.6)  # the copy ends, and the lease: what the agent sees first is that it must be silent
        os.kill(agent, signal.SIGCONT)
        pair.wait_state(primary, "alone")
        pair.secured()
        talk.goes_on(pair)
