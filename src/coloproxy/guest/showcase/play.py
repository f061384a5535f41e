"""The play: a guest starts, is protected, its host is switched off under load, and it is protected again."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from coloproxy.errors import ColoproxyError
from coloproxy.guest import client, config, here, image, sample
from coloproxy.guest.config import File
from coloproxy.guest.showcase.load import Download, Echo

BOOT, SOON = 90.0, 30.0  # seconds
QUIET, WATCH = 4.0, 8.0  # seconds unprotected, and protected, under load
STEP = 0.02
WILLING = "waiting", "failed"  # states of an agent that may become a secondary


class Moment(NamedTuple):
    """Something that happened: seconds since the clients began."""

    when: float
    what: str
    loud: bool = False


class Story(NamedTuple):
    """What happened, and what the clients saw."""

    begin: float
    end: float
    moments: list[Moment]
    echo: Echo
    download: Download
    gap: float

    @property
    def right(self) -> bool:
        """Whether the clients noticed nothing but a gap."""
        return self.echo.error is None and self.download.error is None


@contextmanager
def hosts(folder: Path) -> Iterator[tuple[File, Path]]:
    """Two hosts with agents. Raises ColoproxyError if they cannot be."""
    path = sample.make(folder, "manual")
    file = config.load(path)
    here.make(file)
    try:
        for host in file.host:
            here.start(file, path, host)
        until(lambda: len(client.statuses(file)) == 2, SOON, "the agents do not answer")
        yield file, path
    finally:
        here.remove(file)


def play(folder: Path, tell: Callable[[str], None]) -> Story:
    """All of it; `tell` is told what is being done. Raises ColoproxyError for what goes wrong with the hosts."""
    with hosts(folder) as (file, path):
        first, second = file.host
        tell("the guest boots")
        client.ask(file, first, "up")
        console = file.place(first) / "console.log"
        until(lambda: console.exists() and image.READY in console.read_text(), BOOT, "the guest does not boot")
        echo, download = Echo(sample.GUEST), Download(sample.GUEST)
        begin = time.monotonic()
        moments = [Moment(0.0, "clients begin: echoes on one connection, downloads by HTTP")]

        def happens(what: str, loud: bool = False) -> None:
            moments.append(Moment(time.monotonic() - begin, what, loud))
            tell(what)

        for each in (echo, download):
            each.start()
        tell("clients talk to it, unprotected")
        time.sleep(QUIET)
        _protect(file, first, happens)
        time.sleep(WATCH)
        off = time.monotonic()
        happens(f"host {first} is switched off", loud=True)
        here.switch_off(file, first)
        client.until(file, second, {"alone"}, SOON)
        moments += _steps(file, second, begin)
        time.sleep(WATCH / 2)
        gap = echo.gap(off - 0.5, time.monotonic())
        happens(f"host {first} is switched on again")
        here.switch_on(file, path, first)
        until(lambda: client.ask(file, second, "status")["peer"] in WILLING, SOON, "the agent does not come back")
        _protect(file, second, happens)
        time.sleep(WATCH / 2)
        end = time.monotonic()
        for each in (echo, download):
            each.end()
        return Story(begin, end, sorted(moments), echo, download, gap)


def _protect(file: File, host: str, happens: Callable[..., None]) -> None:
    happens(f"protect: memory is copied from {host} to {file.other(host)}")
    until(lambda: _protected(file, host), SOON, "the guest is not protected")
    happens("protected: what leaves now, both copies have said", loud=True)


def _protected(file: File, host: str) -> bool:
    """Whether it is; a copy that failed, on a machine that does much else, is begun again."""
    status = client.ask(file, host, "status")
    if status["state"] == "alone" and status["peer"] in WILLING:
        client.ask(file, host, "protect")
    return status["state"] in ("protected", "checkpointing")


def _steps(file: File, host: str, begin: float) -> list[Moment]:
    """What the agent that took over says of it. Its clock is the machine's monotonic one, as ours."""
    taken = _last(file, host, "taken_over")
    steps = taken["steps"]
    lost = taken["time"] - steps["network"] - begin
    found = [Moment(lost, f"host {host} notices: {taken['why']}")]
    found += [Moment(lost + seconds, f"  {step}") for step, seconds in steps.items() if step != "network"]
    return [*found, Moment(lost + steps["network"], f"the guest lives on host {host}", True)]


def _events(file: File, host: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (file.place(host) / "events.jsonl").read_text().splitlines()]


def _last(file: File, host: str, kind: str) -> dict[str, Any]:
    """The newest event of a kind. Raises ColoproxyError if there is none."""
    found = [event for event in _events(file, host) if event["event"] == kind]
    if not found:
        raise ColoproxyError(f"host {host} says nothing of {kind}.")
    return found[-1]


def until(done: Callable[[], bool], seconds: float, why: str) -> None:
    """Wait for something. Raises ColoproxyError if it does not come."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise ColoproxyError(f"{why} within {seconds:.0f} s.")
        time.sleep(STEP)
