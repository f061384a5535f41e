"""A real pair with QEMU's own filters, by the command lines of the manual."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coloproxy.guest import image, qemu
from coloproxy.guest.config import Guest
from coloproxy.link.netns import inside
from support.netns import Namespace
from support.pages import DOCS, blocks, commands
from support.qmp import qmp

PAGE = DOCS / "guest.md"
ADDRESS, OURS = "10.179.1.1", "10.179.1.2"
GUEST = Guest(memory="160M", mac="52:54:00:12:34:56", kernel="k", accelerator="tcg")
COLOPROXY = [sys.executable, "-m", "coloproxy"]

# What QEMU needs besides the manual's lines to compare by itself.
OWN = {
    "primary": [
        "-chardev", "socket,id=compare1,path=/run/colo/red1,server=on,wait=off",
        "-chardev", "socket,id=compare0-0,path=/run/colo/primary",
        "-chardev", "socket,id=compare_out0,path=/run/colo/out",
        "-object", "iothread,id=iothread1",
        "-object", "colo-compare,id=comp0,primary_in=compare0-0,secondary_in=compare1,outdev=compare_out0,"
                   "iothread=iothread1",
    ],
    "secondary": ["-object", "filter-rewriter,id=rew0,netdev=hn0,queue=all"],
}  # fmt: skip


def until(done: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


class Filters:
    """Both QEMUs, the topology and the driver, all in one folder. own: QEMU's own comparator and rewriter in the place
    of ours, and nobody needs to ask for checkpoints."""

    def __init__(self, folder: Path, own: bool = False) -> None:
        self.folder = folder
        self.own = own
        self.made = folder / "made.jsonl"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.qemus: dict[str, subprocess.Popen[bytes]] = {}
        self.net = Namespace()

    def start(self) -> None:
        folder = self.folder
        made = image.build(folder, f"{ADDRESS}/24")
        found = qemu.find(GUEST)
        environment = qemu.environment(GUEST, found, folder)
        rest = ["-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", qemu.memory(GUEST, "tcg"), "-nodefaults",
                "-display", "none", "-kernel", str(made.kernel), "-initrd", str(made.initrd), "-append",
                "console=ttyS0 quiet panic=1"]  # fmt: skip
        if not self.own:
            self._start_ours()
        for words in commands(PAGE):
            if words[:1] == ["qemu-system-x86_64"]:
                name = words[2]
                more = [*rest, "-serial", f"file:{folder}/{name}.log"]
                if self.own:
                    words = [word.replace("/red0", "/mirror") for word in words] + OWN[name]
                words = [self._here(word) for word in (*words, *more)]
                with inside(self.net.name), (folder / f"{name}.err").open("wb") as said:
                    self.qemus[name] = self._start(*words, env=environment, stderr=said)
                until((folder / f"{name}.qmp").exists)
        console = folder / "primary.log"
        until(lambda: console.exists() and image.READY in console.read_text(), 60)
        self.net.ip(f"address add {OURS}/24 dev colo0")
        self.net.ip("link set colo0 up")

    def _start_ours(self) -> None:
        (topology,) = [block.text for block in blocks(PAGE) if "beside QEMU's filters" in block.text]
        path, events = self.folder / "filters.toml", self.folder / "events.jsonl"
        path.write_text(self._here(topology))
        self._start(*COLOPROXY, "run", str(path), "--events", str(events))
        until(events.exists)

    def _here(self, text: str) -> str:
        return text.replace("/run/colo", str(self.folder))

    def _start(self, *words: str, **more: Any) -> "subprocess.Popen[bytes]":
        self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, **more))
        return self.processes[-1]

    def protect(self) -> None:
        """Have the guest copied, and checkpoints made."""
        able = ("migrate-set-capabilities", {"capabilities": [{"capability": "x-colo", "state": True}]})
        qmp(self.folder / "secondary.qmp", able)
        fast = ("migrate-set-parameters", {"max-bandwidth": 1 << 33, "x-checkpoint-delay": 86_400_000})
        primary = self.folder / "primary.qmp"
        qmp(primary, able, fast, ("migrate", {"uri": f"unix:{self.folder / 'copy'}"}))
        until(lambda: qmp(primary, ("query-migrate", {}))["status"] == "colo")
        if not self.own:
            (words,) = [words for words in commands(PAGE) if words[:3] == ["coloproxy", "guest", "drive"]]
            self.drive = self._start(*COLOPROXY, *map(self._here, words[1:-1]), str(self.made))

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


@contextmanager
def beside(own: bool = False) -> Iterator[Filters]:
    """Such a pair, protected."""
    folder = Path(tempfile.mkdtemp(prefix="colo-"))  # a short path: sockets are in it
    made = Filters(folder, own)
    try:
        made.start()
        made.protect()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)
