"""What it costs to be watched: one proxy under one load, its pages opened and closed in turn, many times.

    python bench/pages.py [--pairs N] [--pages N] [--seconds S] [--workload W1]... [--out FOLDER]

The proxy and the process that serves its pages share one processor, so that the latter's work is at the former's
expense; the load and the readers (readers.py) have the other. Throughput and processor time are read while pages are
open and while none is, each for S seconds; each such pair lies side by side in time, its halves in changing order, so
that whatever else the machine does falls on both. Prints the medians of both halves, and the median of the pairs'
ratios with an interval that holds it with 95 % (bootstrap, percentiles; Efron and Tibshirani 1993, 13.3).
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

import proxies
from coloproxy.watch.client import Client
from run import HERE, build

SETTLE = 0.5  # seconds after opening and closing
TELL = 10_000  # frames after which the generator says how far it is
ENDLESS = 1 << 32  # frames, and what the generator can multiply by itself
RESAMPLED = 10_000
LARGEST_COST = 0.05  # of the throughput


class Reading(NamedTuple):
    """Frames that came out so far, at this time; processor seconds so far of the proxy, and of what serves pages."""

    time: float
    frames: int
    proxy: float
    service: float


class Half(NamedTuple):
    """Frames a second; processor seconds per million frames of the proxy and of both processes; the share of a
    processor that the service took."""

    rate: float
    proxy: float
    both: float
    service: float


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """What is started within runs on this processor only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Load:
    """The generator, through the proxy of this process id."""

    def __init__(self, generator: subprocess.Popen[str], proxy: int) -> None:
        assert generator.stdout is not None
        self._lines = generator.stdout
        self._proxy = proxy
        (self._service,) = map(int, Path(f"/proc/{proxy}/task/{proxy}/children").read_text().split())

    def after(self, seconds: float) -> Reading:
        """The first reading when so many seconds have passed."""
        due = time.monotonic() + seconds
        line = ""
        for line in self._lines:
            if line.startswith("{"):
                break
            frames, when = line.split()
            if float(when) >= due:
                cpu = [proxies.usage(pid).cpu for pid in (self._proxy, self._service)]
                return Reading(float(when), int(frames), *cpu)
        raise RuntimeError(f"the load ended: {line}")

    def half(self, seconds: float) -> Half:
        """What so many seconds bring, after some to settle."""
        before = self.after(SETTLE)
        after = self.after(seconds)
        passed, frames, proxy, service = (b - a for a, b in zip(before, after))
        return Half(frames / passed, proxy / frames * 1e6, (proxy + service) / frames * 1e6, service / passed)


class Pages:
    """The readers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, word: str) -> None:
        """Have them opened or closed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("the readers ended")


def measure(workload: str, args: argparse.Namespace, programs: Path) -> list[tuple[Half, Half]]:
    """Pairs: without pages, with pages."""
    theirs, ours = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        sockets, log_file = proxies.Sockets.under(Path(name)), Path(name) / "log"
        command = [*proxies.coloproxy_command(sockets, workload == "W5"), "--http", "0"]
        with pinned(ours):
            proxy = stack.enter_context(proxies.running(command, log_file))
        proxies.wait_until_listening(proxy, sockets.all(), log_file)
        port = int(re.findall(r":(\d+)/", log_file.read_text())[0])
        play = [str(programs / "generator"), workload, *map(str, sockets.all())]
        play += ["--frames", str(ENDLESS), "--tell", str(TELL)]
        with pinned(theirs):
            generator = stack.enter_context(piped(play))
            read = [sys.executable, str(HERE / "readers.py"), str(port), str(args.pages), a_stream(port)]
            pages = Pages(stack.enter_context(piped(read)))
        load = Load(generator, proxy.pid)
        load.after(1.0)
        found = []
        for number in range(args.pairs):
            halves = {}
            for word in ("close", "open") if number % 2 else ("open", "close"):
                pages.tell(word)
                halves[word] = load.half(args.seconds)
                told = metrics(port)
                if told["pages_open"] != (args.pages if word == "open" else 0) or told["pages_dropped_total"]:
                    raise RuntimeError(f"pages that do not keep up: {told}")
            found.append((halves["close"], halves["open"]))
        return found


@contextmanager
def piped(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is spoken to; ended with the block."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def a_stream(port: int) -> str:
    """A connection to look into."""
    for name, data in Client(str(port)).live(connections=True):
        if name == "connections" and data["listed"]:
            return str(data["listed"][0]["key"])
    raise RuntimeError("the proxy ended")


def metrics(port: int) -> dict[str, int]:
    """What the service counts of its pages."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode()
    return {name: int(float(value)) for name, value in re.findall(r"^coloproxy_(pages_\w+) (\S+)$", lines, re.M)}


class Estimate(NamedTuple):
    """A ratio less 1, and the ends of the interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def ratio(pairs: list[tuple[float, float]]) -> Estimate:
    """Of the second to the first: the median over all pairs, which what disturbs a few of them does not move."""
    ratios = [b / a for a, b in pairs]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLED))
    low, high = medians[RESAMPLED // 40], medians[-RESAMPLED // 40 - 1]
    return Estimate(*(each - 1 for each in (statistics.median(ratios), low, high)))


def show(workload: str, pairs: list[tuple[Half, Half]], table: Table) -> Estimate:
    """Rows of the table; what pages cost of the throughput."""
    for field, title, form in (
        ("rate", "frames a second", "{:,.0f}"), ("proxy", "CPU s per million, proxy", "{:.3f}"),
        ("both", "CPU s per million, both", "{:.3f}"),
    ):  # fmt: skip
        values = [(getattr(a, field), getattr(b, field)) for a, b in pairs]
        medians = [form.format(statistics.median(column)) for column in zip(*values)]
        table.add_row(workload, title, *medians, str(ratio(values)))
    shares = [f"{statistics.median(half.service for half in column):.1%}" for column in zip(*pairs)]
    table.add_row(workload, "service, of a processor", *shares, "")
    return ratio([(a.rate, b.rate) for a, b in pairs])


def main() -> int:
    """Measure and print; exit status 1 if pages cost too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=50, help="of each workload (default 50)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each half (default 1)")
    parser.add_argument("--pages", type=int, default=50, help="that are opened (default 50)")
    parser.add_argument("--workload", action="append", help="as in run.py (default W1, W3)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for programs (default: out)")
    args = parser.parse_args()
    programs = args.out.resolve() / "programs"
    build(programs)
    table = Table("workload", "", "no page", f"{args.pages} pages", "difference")
    worst = [show(workload, measure(workload, args, programs), table).low for workload in args.workload or ["W1", "W3"]]
    Console(width=110).print(table)
    return 1 if min(worst) < -LARGEST_COST else 0


if __name__ == "__main__":
    raise SystemExit(main())
