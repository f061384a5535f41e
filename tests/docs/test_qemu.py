"""The command lines of docs/qemu.md, run: two guests' firmware asks for an address through QEMU's filters and us."""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import DOCS, blocks, commands
from support.process import COMMAND
from support.wire import PATIENCE

PAGE = DOCS / "qemu.md"
VIRTIO = ",vnet_hdr_support=on"
# Firmware that boots from the network is guest enough; no packet leaves the machine.
GUEST = ["-accel", "tcg", "-m", "128", "-boot", "n", "-display", "none", "-monitor", "none", "-serial", "none"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for the paths of unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="colo-"))
    yield path
    shutil.rmtree(path)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def adapted(words: list[str], places: dict[str, str], virtio: bool) -> list[str]:
    """A command of the page, on this folder's sockets, these ports, and a network that leads nowhere."""
    made = []
    for word in words:
        for old, new in places.items():
            word = word.replace(old, new)
        if virtio:
            word = word.replace("e1000", "virtio-net-pci") + (VIRTIO if word.startswith("filter-") else "")
        made.append(word)
    return made


@pytest.mark.qemu
@pytest.mark.parametrize("virtio", [False, True], ids=["e1000", "virtio"])
def test_the_command_lines_join_two_guests(folder: Path, virtio: bool) -> None:
    (rule,) = [block.text for block in blocks(PAGE) if block.language == "toml"]
    (folder / "rules.toml").write_text(rule)
    events = folder / "events.jsonl"
    places = {
        "/run/colo": str(folder), "9003": str(free_port()), "9004": str(free_port()), "192.0.2.1": "127.0.0.1",
        "/var/log/coloproxy.jsonl": str(events),
        "tap,id=hn0,vhost=off,script=no,downscript=no": "user,id=hn0,restrict=on",
    }  # fmt: skip
    primary, compare, secondary = (adapted(words, places, virtio) for words in commands(PAGE))
    compare = [*COMMAND, *compare[1:], "--rules", str(folder / "rules.toml"), *(["--vnet-hdr"] if virtio else [])]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in ([*primary, *GUEST], compare, [*secondary, *GUEST]):
            processes.append(subprocess.Popen(command, stderr=subprocess.PIPE))
            time.sleep(0.5)  # as QEMU's connecting chardevs want it: the listener first
        passed = watch(processes[1], events)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert passed


def watch(proxy: "subprocess.Popen[bytes]", events: Path) -> bool:
    """Whether frames of both guests came, and the primary's left."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert proxy.poll() is None
        time.sleep(0.2)
        happened = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
        if happened:
            proxy.send_signal(signal.SIGUSR1)
        assert not [event for event in happened if event["event"] == "frame_refused"]
        roles = {event["role"] for event in happened if event["event"] == "peer_connected"}
        states = [event["accounting"] for event in happened if event["event"] == "state"]
        if roles == {"primary_in", "secondary_in", "outdev"} and states:
            received = [states[-1][side]["received"]["frames"] for side in ("primary", "secondary")]
            if min(received) and states[-1]["primary"]["passed"]["frames"]:
                return True
    return False
