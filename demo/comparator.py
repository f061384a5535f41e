"""A running `coloproxy compare`, and this side's ends of its four sockets."""

import errno
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

import proxies

PATIENCE = 20.0  # seconds in which the proxy must answer, and take what it is sent
ROLES = ("primary-in", "secondary-in", "outdev", "notify-dev")

# Frames are to leave as they came, byte for byte, or not at all: no acknowledgement lowered, no frame in parts.
# After a checkpoint nothing old comes late here.
OPTIONS = ("--ack-rule", "hold", "--no-prefix-release", "--epoch-grace", "0")


class Comparator:
    """The process, the sockets by role, and the events it has written."""

    def __init__(self, process: Popen[bytes], sockets: dict[str, socket.socket], log: Path, words: Path) -> None:
        self._process = process
        self._log = log
        self._words = words
        self.sockets = sockets

    def page(self) -> str:
        """Where its page is, if it was started with `--http`. Raises RuntimeError if it does not say."""
        found = re.search(r"http://\S+/", self._words.read_text())
        if found is None:
            raise RuntimeError("coloproxy compare did not say where its page is")
        return found[0]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name so far."""
        lines = self._log.read_bytes().split(b"\n")[:-1]
        return [event for event in map(msgspec.json.decode, lines) if event["event"] == name]

    def stop(self) -> dict[str, Any]:
        """End it; returns its accounting. Raises RuntimeError if it does not end well."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE)
        except TimeoutExpired:
            raise RuntimeError(f"coloproxy compare did not end within {PATIENCE:.0f} s of SIGTERM") from None
        if status:
            raise RuntimeError(f"coloproxy compare ended with status {status}")
        accounting: dict[str, Any] = self.events("summary")[0]["accounting"]
        return accounting


@contextmanager
def running(*options: str) -> Iterator[Comparator]:
    """Start it with unix sockets in a folder of its own; process and folder are gone when the block is left.

    Raises RuntimeError with its own words when it does not start.
    """
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        paths = {role: folder / role for role in ROLES}
        log, events = folder / "log", folder / "events"
        command = [sys.executable, "-m", "coloproxy", "compare", "--events", str(events), *OPTIONS, *options]
        for role, path in paths.items():
            command += [f"--{role}", f"unix:{path},server"]
        process = stack.enter_context(proxies.running(command, log))
        proxies.wait_until_listening(process, tuple(paths.values()), log)
        sockets = {role: stack.enter_context(connected(path)) for role, path in paths.items()}
        yield Comparator(process, sockets, events, log)


def connected(path: Path) -> socket.socket:
    """A unix socket connected to the one at `path`, whose file may be there a moment before it listens."""
    sock = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + PATIENCE
    while (problem := sock.connect_ex(str(path))) == errno.ECONNREFUSED and time.monotonic() < end:
        time.sleep(0.01)
    if problem:
        sock.close()
        raise OSError(problem, os.strerror(problem), str(path))
    sock.settimeout(PATIENCE)
    return sock
