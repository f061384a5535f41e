"""A real pair with QEMU's own filters, by the command lines of the manual: comparator, rewriter and driver are ours."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coloproxy.guest import image, qemu
from coloproxy.guest.config import Guest
from coloproxy.link.netns import inside
from support.netns import Namespace
from support.pages import DOCS, blocks, commands
from support.pair import ECHO, RANDOM
from support.qmp import qmp

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(120)]

PAGE = DOCS / "guest.md"
ADDRESS, OURS = "10.179.1.1", "10.179.1.2"
GUEST = Guest(memory="160M", mac="52:54:00:12:34:56", kernel="k", accelerator="tcg")
COLOPROXY = [sys.executable, "-m", "coloproxy"]


def until(done: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


class Filters:
    """Both QEMUs, the topology and the driver, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.net = Namespace()

    def start(self) -> None:
        folder = self.folder
        made = image.build(folder, f"{ADDRESS}/24")
        found = qemu.find(GUEST)
        environment = qemu.environment(GUEST, found, folder)
        rest = ["-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", qemu.memory(GUEST, "tcg"), "-nodefaults",
                "-display", "none", "-kernel", str(made.kernel), "-initrd", str(made.initrd), "-append",
                "console=ttyS0 quiet panic=1"]  # fmt: skip
        (topology,) = [block.text for block in blocks(PAGE) if "beside QEMU's filters" in block.text]
        (folder / "filters.toml").write_text(self._here(topology))
        self.events = folder / "events.jsonl"
        self._start(*COLOPROXY, "run", str(folder / "filters.toml"), "--events", str(self.events))
        until(self.events.exists)
        for words in commands(PAGE):
            if words[:1] == ["qemu-system-x86_64"]:
                with inside(self.net.name):
                    serial = ["-serial", f"file:{folder}/{words[2]}.log"]
                    self._start(*[self._here(word) for word in words], *rest, *serial, env=environment)
        console = folder / "primary.log"
        until(lambda: console.exists() and image.READY in console.read_text(), 60)
        self.net.ip(f"address add {OURS}/24 dev colo0")
        self.net.ip("link set colo0 up")
        self._protect()
        (words,) = [words for words in commands(PAGE) if words[:3] == ["coloproxy", "guest", "drive"]]
        self.made = folder / "made.jsonl"
        self.drive = self._start(*COLOPROXY, *map(self._here, words[1:-1]), str(self.made))

    def _here(self, text: str) -> str:
        return text.replace("/run/colo", str(self.folder))

    def _start(self, *words: str, **more: Any) -> "subprocess.Popen[bytes]":
        self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, **more))
        return self.processes[-1]

    def _protect(self) -> None:
        able = ("migrate-set-capabilities", {"capabilities": [{"capability": "x-colo", "state": True}]})
        qmp(self.folder / "secondary.qmp", able)
        fast = ("migrate-set-parameters", {"max-bandwidth": 1 << 33, "x-checkpoint-delay": 86_400_000})
        primary = self.folder / "primary.qmp"
        qmp(primary, able, fast, ("migrate", {"uri": f"unix:{self.folder / 'copy'}"}))
        until(lambda: qmp(primary, ("query-migrate", {}))["status"] == "colo")

    def checkpoints(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.made.read_text().splitlines()] if self.made.exists() else []
        return [event for event in found if event["event"] == "guest_checkpoint"]

    def connect(self, port: int) -> socket.socket:
        with inside(self.net.name):
            sock = socket.create_connection((ADDRESS, port), 20)
        sock.settimeout(20)
        return sock

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.net.remove()


@pytest.fixture(scope="module")
def filters() -> Iterator[Filters]:
    folder = Path(tempfile.mkdtemp(prefix="colo-"))  # a short path: sockets are in it
    made = Filters(folder)
    try:
        made.start()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)


def test_answers_that_are_alike_need_no_checkpoint_and_are_right(filters: Filters) -> None:
    with filters.connect(ECHO) as sock:
        sock.sendall(b"first")
        assert sock.recv(100) == b"first"
        before = len(filters.checkpoints())
        for number in range(100):
            sock.sendall(b"%08d" % number)
            assert sock.recv(100) == b"%08d" % number
        assert len(filters.checkpoints()) <= before + 1


def test_answers_that_differ_are_healed_by_a_checkpoint(filters: Filters) -> None:
    before = len(filters.checkpoints())
    with filters.connect(ECHO) as echo:
        for _ in range(5):
            with filters.connect(RANDOM) as sock:
                sock.sendall(b"go\n")
                said = b""
                while part := sock.recv(4096):
                    said += part
                assert len(said) == 1000
            echo.sendall(b"still there")
            assert echo.recv(100) == b"still there"
    made = until(lambda: filters.checkpoints()[before:])
    assert any(each["asked"] == {"notify": 1} for each in made)


def test_the_driver_ends_with_the_pair(filters: Filters) -> None:
    secondary = filters.processes[2]
    secondary.send_signal(signal.SIGKILL)
    assert filters.drive.wait(20) == 2
