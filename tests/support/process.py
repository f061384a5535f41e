"""A real `coloproxy compare`, its sockets and its events."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.wire import PATIENCE, Peer, connect

COMMAND = [sys.executable, "-c", "from coloproxy.cli import main; main()"]
NAMES = {"primary_in": "p", "secondary_in": "s", "outdev": "o", "notify_dev": "n"}

Event = dict[str, Any]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that comes to an end by itself."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


class Running:
    """A proxy that listens on p, s, o and, with `notify`, n in a folder, and writes events.jsonl there."""

    def __init__(
        self, folder: Path, *options: str, notify: bool = False, addresses: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.vnet_hdr = "--vnet-hdr" in options
        self._events = folder / "events.jsonl"
        roles = [role for role in NAMES if notify or role != "notify_dev"]
        places = {role: f"unix:{folder / NAMES[role]},server" for role in roles} | (addresses or {})
        sockets = [part for role, place in places.items() for part in (f"--{role.replace('_', '-')}", place)]
        self._stderr = open(folder / "stderr", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*COMMAND, "compare", *sockets, "--events", str(self._events), *options], stderr=self._stderr
        )

    def peer(self, role: str) -> Peer:
        """Connect to one of its sockets; returns when the proxy has noticed."""
        before = self.count("peer_connected", role=role)
        found = Peer(connect(str(self.folder / NAMES[role])), self.vnet_hdr and role != "notify_dev")
        self.until(lambda: self.count("peer_connected", role=role) > before)
        return found

    def peers(self) -> tuple[Peer, Peer, Peer]:
        """The ends of primary_in, secondary_in and outdev."""
        return self.peer("primary_in"), self.peer("secondary_in"), self.peer("outdev")

    # Events

    def events(self, name: str | None = None, **fields: object) -> list[Event]:
        """The events so far that are called so and have these values."""
        try:
            lines = self._events.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        return [
            event for event in found
            if (name is None or event["event"] == name)
            and all(event.get(key) == value for key, value in fields.items())
        ]  # fmt: skip

    def count(self, name: str, **fields: object) -> int:
        return len(self.events(name, **fields))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"the proxy ended with {self.process.returncode}: {self.errors()}"
            assert time.monotonic() < end, f"waited in vain; events: {self.events()}, errors: {self.errors()}"
            time.sleep(0.005)

    def wait(self, name: str, count: int = 1, **fields: object) -> Event:
        """Wait for the so-manieth event of a kind."""
        self.until(lambda: self.count(name, **fields) >= count)
        return self.events(name, **fields)[count - 1]

    def state(self) -> Event:
        """Ask for the state."""
        before = self.count("state")
        self.process.send_signal(signal.SIGUSR1)
        return self.wait("state", before + 1)

    def account(self, side: str, **columns: int) -> Callable[[], bool]:
        """Whether so many frames of a side ended so, as a condition to wait for."""
        return lambda: {
            column: self.state()["accounting"][side][column]["frames"] for column in columns
        } == columns  # fmt: skip

    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    def memory(self) -> int:
        """Bytes in memory at the most so far."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

    # The end

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Event:
        """End it by a signal; returns the summary."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.errors()
        assert "Traceback" not in self.errors(), self.errors()
        last = self.events()[-1]
        assert last["event"] == "summary"
        return last

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._stderr.close()


def socket_exists(folder: Path, role: str) -> bool:
    return os.path.exists(folder / NAMES[role])
