"""A pair in COLO, beside each QEMU a `coloproxy run` that has the guest's card: each is killed and started anew."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coloproxy.guest import image, qemu
from coloproxy.guest.config import Guest
from coloproxy.link.netns import inside
from support.download import SOURCE, download
from support.netns import Namespace
from support.pair import ECHO, RANDOM
from support.qmp import qmp

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(150)]

ADDRESS, OURS = "10.179.2.1", "10.179.2.2"
MIBS = 100  # of a download
GUEST = Guest(memory="160M", mac="52:54:00:12:34:57", kernel="k", accelerator="tcg", network="vhost-user")
COLOPROXY = [sys.executable, "-m", "coloproxy"]
PRIMARY = """
wires = [
  "network -> strip -> mirror -> guest",
  "mirror.copy -> rewriter.client -> to-secondary",
  "guest -> compare.primary",
  "from-secondary -> rewriter.secondary -> compare.secondary",
  "compare -> network",
]
[port.network]
tap = "colo0"
[port.guest]
vhost_user = "unix:DIR/primary/guest"
[port.to-secondary]
socket = "unix:DIR/red0,server"
vnet_hdr = true
untaken = "drop"
[port.from-secondary]
socket = "unix:DIR/red1,server"
vnet_hdr = true
[element.strip]
type = "strip"
[element.mirror]
type = "mirror"
[element.rewriter]
type = "rewriter"
[element.compare]
type = "comparator"
notify_dev = "unix:DIR/notify,server"
"""
SECONDARY = """
wires = ["from-primary -> guest", "guest -> to-primary"]
[port.guest]
vhost_user = "unix:DIR/secondary/guest"
[port.from-primary]
socket = "unix:DIR/red0"
vnet_hdr = true
[port.to-primary]
socket = "unix:DIR/red1"
vnet_hdr = true
untaken = "drop"
"""
TOPOLOGIES = {"primary": PRIMARY, "secondary": SECONDARY}


def until(done: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


class Colo:
    """Both QEMUs, their proxies and the driver, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.proxies: dict[str, subprocess.Popen[bytes]] = {}
        self.net = Namespace()

    def start(self) -> None:
        made = image.build(self.folder, f"{ADDRESS}/24")
        found = qemu.find(GUEST)
        for name, text in TOPOLOGIES.items():
            (self.folder / name).mkdir()
            (self.folder / f"{name}.toml").write_text(text.replace("DIR", str(self.folder)))
            guest = Guest(
                memory=GUEST.memory, mac=GUEST.mac, kernel=str(made.kernel), initrd=str(made.initrd),
                append="console=ttyS0 quiet panic=1", accelerator="tcg", network="vhost-user",
            )  # fmt: skip
            place = self.folder / name
            self.proxy(name)
            command = qemu.command(guest, found, place, f"unix:{self.folder}/copy" if name == "secondary" else None)
            self._start(*command, env=qemu.environment(guest, found, place))
        console = self.folder / "primary" / "console.log"
        until(lambda: console.exists() and image.READY in console.read_text(), 60)
        self._address()
        self._protect()
        self.made = self.folder / "made.jsonl"
        self._start(
            *COLOPROXY, "guest", "drive", "--primary", f"unix:{self.folder}/primary/qmp", "--secondary",
            f"unix:{self.folder}/secondary/qmp", "--notify", f"unix:{self.folder}/notify", "--events", str(self.made),
        )  # fmt: skip

    def proxy(self, name: str) -> None:
        """Start a proxy, or start it anew."""
        words = [*COLOPROXY, "run", str(self.folder / f"{name}.toml"), "--events", str(self.folder / f"{name}.jsonl")]
        if name in self.proxies:
            self.proxies[name].kill()
            self.proxies[name].wait()
        self.proxies[name] = self._start(*words)

    def restart(self, name: str) -> None:
        """Kill a proxy and start another, until that has the guest's card."""
        before = self.connections(name)
        self.proxy(name)
        until(lambda: self.connections(name) > before)
        if name == "primary":  # its device went with it
            self._address()

    def _address(self) -> None:
        """The client is at the device itself; another one is still the same neighbour to the guest."""
        self.net.ip("link set colo0 address 02:00:00:00:00:02")
        self.net.ip(f"address add {OURS}/24 dev colo0")
        self.net.ip("link set colo0 up")

    def _start(self, *words: str, **more: Any) -> "subprocess.Popen[bytes]":
        with inside(self.net.name):
            self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, **more))
        return self.processes[-1]

    def _protect(self) -> None:
        able = ("migrate-set-capabilities", {"capabilities": [{"capability": "x-colo", "state": True}]})
        until(lambda: (self.folder / "secondary" / "qmp").exists())
        qmp(self.folder / "secondary" / "qmp", able)
        fast = ("migrate-set-parameters", {"max-bandwidth": 1 << 33, "x-checkpoint-delay": 86_400_000})
        primary = self.folder / "primary" / "qmp"
        qmp(primary, able, fast, ("migrate", {"uri": f"unix:{self.folder / 'copy'}"}))
        until(lambda: qmp(primary, ("query-migrate", {}))["status"] == "colo")

    def events(self, name: str, kind: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [event for event in found if event["event"] == kind]

    def connections(self, name: str) -> int:
        """How often a guest's card was connected to."""
        return len([event for event in self.events(name, "peer_connected") if event["role"] == "guest"])

    def connect(self, port: int) -> socket.socket:
        with inside(self.net.name):
            sock = socket.create_connection((ADDRESS, port), 20)
        sock.settimeout(20)
        return sock

    def differ(self) -> None:
        """Ask for something that the two answer differently."""
        with self.connect(RANDOM) as sock:
            sock.sendall(b"go\n")
            said = b""
            while part := sock.recv(4096):
                said += part
            assert len(said) == 1000

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.net.remove()


@pytest.fixture
def colo() -> Iterator[Colo]:
    folder = Path(tempfile.mkdtemp(prefix="colo-"))  # a short path: sockets are in it
    made = Colo(folder)
    try:
        made.start()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)


def echoes(sock: socket.socket, rounds: int) -> None:
    for number in range(rounds):
        sock.sendall(b"%08d" % number)
        assert sock.recv(100) == b"%08d" % number


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_proxy_that_is_started_anew_finds_its_guest_in_colo(colo: Colo, name: str) -> None:
    """Idle: the primary's has forgotten its connections, so it is given a checkpoint at once, from which it goes on."""
    with colo.connect(ECHO) as sock:
        echoes(sock, 50)
        colo.restart(name)
        echoes(sock, 100)
    with colo.connect(ECHO) as sock:
        echoes(sock, 20)
    made = colo.events("made", "guest_checkpoint")
    assert any("connected" in event["asked"] for event in made) == (name == "primary")
    for _ in range(5):  # copies may draw the same numbers for a while
        colo.differ()
    assert len(colo.events("made", "guest_checkpoint")) > len(made)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_proxy_is_started_anew_in_colo_under_load(colo: Colo, name: str) -> None:
    came: list[float] = []
    with colo.connect(SOURCE) as sock:
        load = threading.Thread(target=lambda: came.append(download(sock, MIBS)))
        load.start()
        for _ in range(2):
            time.sleep(0.3)
            colo.restart(name)
        load.join()
    assert came, "not every byte came, and was right"
    with colo.connect(ECHO) as sock:
        echoes(sock, 20)
