"""The proxy of a run: the real command, `coloproxy run FILE`, watched through its events."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

from coloproxy.errors import ColoproxyError
from coloproxy.lab.network import Host
from coloproxy.lab.process import Process, python
from coloproxy.lab.result import ProxyFigures

START = 30.0  # seconds in which it must be there
STOP = 10.0  # and be gone
ANSWER = 5.0  # and answer a command
SUMMARIES = ("summary", "element_summary", "topology_summary")


class Proxy:
    """Started at once; `until_running` waits for it. page: the descriptor of a socket that listens, where it serves
    its page."""

    def __init__(self, file: Path, events: Path, control: Path, host: Host, page: int | None = None) -> None:
        self._events = events
        self._control = control
        kept = [] if page is None else [page]
        command = python("coloproxy", "run", str(file), *(f"--http=fd:{each}" for each in kept))
        self._process = Process("proxy", command, host, file.parent / "proxy.log", keep=kept)
        self._cpu = 0.0

    def until_running(self) -> None:
        """Raises ColoproxyError if it does not come to that."""
        end = time.monotonic() + START
        while not self._running():
            if self._process.status is not None:
                raise ColoproxyError(f"the proxy did not start: {self._process.last_words()}")
            if time.monotonic() > end:
                raise ColoproxyError(f"the proxy was not ready after {START:.0f} s: {self._process.last_words()}")
            time.sleep(0.01)

    def _running(self) -> bool:
        return any(event["event"] == "running" for event in self.events())

    def events(self) -> list[dict[str, Any]]:
        """All that it told so far."""
        try:
            lines = self._events.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def begin(self) -> None:
        """The work begins: processor time is counted from here."""
        self._cpu = self._process.cpu_seconds()

    def spent(self) -> float:
        """Seconds of processor time since then."""
        return self._process.cpu_seconds() - self._cpu

    def command(self, text: str) -> None:
        """Give it a command. Raises ColoproxyError if it does not do that."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER)
            try:
                sock.connect(str(self._control))
                sock.sendall(text.encode() + b"\n")
                answer = json.loads(sock.makefile("rb").readline() or b'{"error": "it hung up"}')
            except OSError as error:
                raise ColoproxyError(f"the proxy did not take '{text}': {error}.") from None
        if not answer.get("ok"):
            raise ColoproxyError(f"the proxy did not take '{text}': {answer.get('error')}")

    def alive(self) -> None:
        """Raises ColoproxyError if it has ended."""
        if self._process.status is not None:
            raise ColoproxyError(f"the proxy ended in the middle of the work: {self._process.last_words()}")

    def end(self) -> int | None:
        """End it; its exit status, None if it does not end."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(STOP)

    def stop(self, cpu_seconds: float) -> ProxyFigures:
        """End it; what it did. Raises ColoproxyError if it does not end as it should."""
        if self.end() != 0:
            raise ColoproxyError(f"the proxy did not end as it should: {self._process.last_words()}")
        return figures(self.events(), cpu_seconds)


def figures(events: list[dict[str, Any]], cpu_seconds: float) -> ProxyFigures:
    """The account of a proxy's events."""
    made = ProxyFigures(cpu_seconds=cpu_seconds)
    for event in events:
        kind = event["event"]
        made.events[kind] = made.events.get(kind, 0) + 1
        if kind == "divergence":
            made.divergences += 1
            made.reasons[event["reason"]] = made.reasons.get(event["reason"], 0) + 1
        if kind in SUMMARIES:
            made.summaries.append(event)
    made.checkpoints_requested = made.events.get("checkpoint_requested", 0)
    return made
