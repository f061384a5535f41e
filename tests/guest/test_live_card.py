"""A real pair with the guest's card in shared memory: checkpoints under load, what is written past QEMU, failover."""

import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from coloproxy.guest.image import block
from support.pair import PROTECTED, Pair, running, talking

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]

LATE = 7005
ROUNDS = 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running(tmp_path_factory.mktemp("pair"), network="vhost-user") as made:
        yield made


@pytest.fixture
def protected(pair: Pair) -> Pair:
    pair.secured()
    return pair


class Download(threading.Thread):
    """Mebibytes over HTTP, looked at as they come."""

    def __init__(self, address: str, count: int) -> None:
        super().__init__(daemon=True)
        self._url, self._count = f"http://{address}/cgi-bin/blocks?{count}", count
        self.right: bool | None = None
        self.start()

    def run(self) -> None:
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            self.right = answer.read() == block() * self._count


def test_checkpoints_under_load_leave_every_byte_right(protected: Pair) -> None:
    primary = protected.primary()
    before = protected.ask(primary)
    with talking(protected) as talk:
        download = Download(protected.address, 60)
        while download.is_alive():
            protected.ask(primary, "checkpoint")
            time.sleep(0.1)
        assert download.right, protected.story()
        talk.goes_on(protected, 20)
    after = protected.ask(primary)
    assert after["checkpoints"] - before["checkpoints"] >= 5
    assert after["verified_bytes"] - before["verified_bytes"] > 1 << 20  # a checkpoint lets go what it finds


def test_failovers_under_load(protected: Pair) -> None:
    with talking(protected) as talk:
        for _ in range(ROUNDS):
            protected.secured()
            primary = protected.primary()
            survivor = protected.file.other(primary)
            download = Download(protected.address, 20)
            talk.goes_on(protected, 10)
            protected.kill_host(primary)
            protected.wait_state(survivor, "alone")
            talk.goes_on(protected, 20)
            download.join(60)
            assert download.right, protected.story()


def test_the_secondary_dies_and_the_primary_goes_on(protected: Pair) -> None:
    primary = protected.primary()
    with talking(protected) as talk:
        os.kill(protected.qemu(protected.file.other(primary)), signal.SIGKILL)
        protected.wait_state(primary, "alone")
        talk.goes_on(protected, 20)


def test_a_guest_outlives_its_agent_and_one_that_stands_still(protected: Pair) -> None:
    primary = protected.primary()
    with talking(protected) as talk:
        os.kill(protected.qemu(protected.file.other(primary)), signal.SIGKILL)
        protected.wait_state(primary, "alone")
        qemu = protected.qemu(primary)
        os.kill(protected.agent_pid(primary), signal.SIGKILL)
        protected.agent(primary)
        protected.wait_state(primary, "alone")
        assert protected.qemu(primary) == qemu
        talk.goes_on(protected, 20)
        agent = protected.agent_pid(primary)
        os.kill(agent, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(agent, signal.SIGCONT)
        talk.goes_on(protected, 20)


# What is written into the guest's memory past QEMU

WINDOW = 60_000  # bytes that a guest takes and does not read
SLOW = """
import coloproxy.guest.colo
coloproxy.guest.colo.FAST = 32 << 20
"""
FORGETFUL = """
import sys
from importlib.abc import MetaPathFinder
class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "coloproxy.link.vhost.port":
            from coloproxy.link.vhost.device import Device
            tell = Device._tell
            def forget(self, queue):
                tell(self, queue)
                queue.ring.logging = False
            Device._tell = forget
sys.meta_path.insert(0, Finder())
"""


def reached(pair: Pair) -> bool:
    """Whether the network leads to the guest by now."""
    try:
        urllib.request.urlopen(f"http://{pair.address}/block", timeout=5).close()
    except OSError:
        return False
    return True


def unread(pair: Pair) -> bytes | None:
    """What the guest has of bytes that came all the time during the first copy of its memory and were not read before
    the secondary took over, compared to what they were: all zero, if it is right; None if it says nothing."""
    primary, data = "a", b""
    pair.wait(lambda: reached(pair))
    with socket.create_connection((pair.address, LATE), 10) as sock:
        sock.settimeout(10)
        pair.ask(primary, "protect")
        pair.wait(lambda: pair.ask(primary)["copy"] is not None)
        while pair.state(primary) == "copying" and len(data) < WINDOW:
            piece = os.urandom(1400)  # behind less there is room for what Linux writes, which marks the page as well
            sock.sendall(piece)
            data += piece
            time.sleep(0.02)
        try:
            pair.wait_state(primary, *PROTECTED)
            pair.kill_host(primary)
            pair.wait_state("b", "alone")
            urllib.request.urlopen(f"http://{pair.address}/cgi-bin/listen", timeout=10).close()
            got = b""
            while len(got) < len(data) and (part := sock.recv(65536)):
                got += part
        except OSError:
            return None
    return bytes(a ^ b for a, b in zip(got, data))


@pytest.fixture
def slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first copy takes its time, so that bytes come meanwhile; what agents do differently is read from here."""
    custom = tmp_path / "sitecustomize.py"
    custom.write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return custom


@pytest.mark.usefixtures("slowly")
def test_what_came_during_the_first_copy_is_there_after_a_failover(tmp_path: Path) -> None:
    with running(tmp_path, protect=False, network="vhost-user") as pair:
        said = unread(pair)
        assert said
        assert not any(said)


def test_that_this_would_be_noticed(tmp_path: Path, slowly: Path) -> None:
    slowly.write_text(FORGETFUL + SLOW)
    for attempt in range(3):  # the page that the bytes came to may have been copied last of all
        folder = tmp_path / f"{attempt}"
        folder.mkdir()
        with running(folder, protect=False, network="vhost-user") as pair:
            said = unread(pair)
        if said is None or any(said):
            return
    pytest.fail("nobody noticed that pages were not marked")
