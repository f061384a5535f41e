"""A real `coloproxy run`, its sockets, its control socket and its events."""

import json
import signal
import subprocess
from pathlib import Path

from support.process import COMMAND, Event, Running
from support.wire import PATIENCE, Peer, connect


class Topology(Running):
    """A topology whose sockets are in its folder, which the file may call DIR; so are events.jsonl and stderr."""

    def __init__(self, folder: Path, text: str, *options: str) -> None:
        self.folder = folder
        self._events = folder / "events.jsonl"
        self.file = folder / "topology.toml"
        self.file.write_text(text.replace("DIR", str(folder)))
        self._stderr = open(folder / "stderr", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*COMMAND, "run", str(self.file), "--events", str(self._events), *options], stderr=self._stderr
        )

    def running(self) -> "Topology":
        """Wait until all ports are open."""
        self.wait("running")
        return self

    def peer(self, role: str, vnet_hdr: bool = False) -> Peer:
        """Connect to the port that listens on the socket of its name; returns when it has noticed."""
        before = self.count("peer_connected", role=role)
        found = Peer(connect(str(self.folder / role)), vnet_hdr)
        self.until(lambda: self.count("peer_connected", role=role) > before)
        return found

    def commands(self) -> "Commands":
        """Connect to the control socket, DIR/control."""
        return Commands(self.folder / "control")

    def state(self) -> Event:
        """Ask for the state."""
        before = self.count("topology_state")
        self.process.send_signal(signal.SIGUSR1)
        return self.wait("topology_state", before + 1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Event:
        """End it by a signal; returns the summary."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> Event:
        """Wait for its end; returns the summary."""
        assert self.process.wait(PATIENCE) == 0, self.errors()
        assert "Traceback" not in self.errors()
        last = self.events()[-1]
        assert last["event"] == "topology_summary"
        return last


class Commands:
    """A conversation on a control socket."""

    def __init__(self, path: Path) -> None:
        self.sock = connect(str(path))
        self.sock.settimeout(PATIENCE)
        self._lines = self.sock.makefile("rb")

    def ask(self, command: str) -> Event:
        """Say a command; its answer."""
        self.sock.sendall(command.encode() + b"\n")
        return self.answer()

    def answer(self) -> Event:
        """The next answer."""
        found: Event = json.loads(self._lines.readline())
        return found

    def close(self) -> None:
        self._lines.close()
        self.sock.close()
