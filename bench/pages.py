"""What it costs to be watched: the same load without `--http`, with it, and with open pages, in turn.

    python bench/pages.py [--runs N] [--pages N] [--frames N] [--workload W1]... [--out FOLDER]

Prints a table: throughput, and processor seconds of the proxy (without the process that serves the pages) per million
frames; medians, and the ratio to the first.
"""

import argparse
import json
import re
import selectors
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

import proxies
from run import ATTEMPT_LIMIT, build

WARM = 1.5  # seconds from starting the proxy until the service is there, and the pages are open


class Cost(NamedTuple):
    """Frames a second through the proxy, its processor seconds per million frames, and bytes that the pages read."""

    rate: float
    cpu: float
    read: int


@contextmanager
def readers(port: int, count: int) -> Iterator[list[int]]:
    """Open pages that read what they are sent, half of them with the list of connections."""
    stop = threading.Event()
    read = [0]

    def work() -> None:
        with selectors.DefaultSelector() as selector, ExitStack() as stack:
            for number in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                query = "connections" if number % 2 else ""
                sock.sendall(f"GET /api/live?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                selector.register(sock, selectors.EVENT_READ)
            while not stop.is_set():
                for key, _ in selector.select(0.1):
                    read[0] += len(key.fileobj.recv(1 << 18))  # type: ignore[union-attr]

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield read
    finally:
        stop.set()
        thread.join()


def measure(workload: str, pages: int | None, frames: int, programs: Path) -> Cost:
    """One run. pages: how many are open; None: without `--http`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        sockets, log = proxies.Sockets.under(Path(name)), Path(name) / "log"
        command = proxies.coloproxy_command(sockets, workload == "W5")
        command += [] if pages is None else ["--http", "0"]
        process = stack.enter_context(proxies.running(command, log))
        proxies.wait_until_listening(process, sockets.all(), log)
        read = [0]
        if pages is not None:
            time.sleep(WARM)
            port = int(re.findall(r":(\d+)/", log.read_text())[0])
            read = stack.enter_context(readers(port, pages))
        time.sleep(WARM)
        before = proxies.usage(process.pid)
        play = [str(programs / "generator"), workload, *map(str, sockets.all()), "--frames", str(frames)]
        done = subprocess.run(play, capture_output=True, text=True, timeout=ATTEMPT_LIMIT, check=True)
        cpu = proxies.usage(process.pid).cpu - before.cpu
        said = json.loads(done.stdout)
        return Cost(said["frames"] / said["seconds"], cpu / said["frames"] * 1e6, read[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5, help="of each (default 5)")
    parser.add_argument("--pages", type=int, default=50, help="that are open (default 50)")
    parser.add_argument("--frames", type=int, default=5_000_000, help="of the primary in each (default 5000000)")
    parser.add_argument("--workload", action="append", help="as in run.py (default W1, W3)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for programs (default: out)")
    args = parser.parse_args()
    programs = args.out.resolve() / "programs"
    build(programs)
    ways = {"without --http": None, "with --http": 0, f"{args.pages} open pages": args.pages}
    table = Table("workload", "", "frames a second", "", "CPU s per million", "", "pages read")
    for workload in args.workload or ["W1", "W3"]:
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        for _ in range(args.runs):
            for way, pages in ways.items():
                costs[way].append(measure(workload, pages, args.frames, programs))
        medians = {way: Cost(*map(statistics.median, zip(*found))) for way, found in costs.items()}  # type: ignore[arg-type]
        first = medians["without --http"]
        for way, cost in medians.items():
            table.add_row(
                workload, way, f"{cost.rate:,.0f}", f"{100 * (cost.rate / first.rate - 1):+.1f} %", f"{cost.cpu:.3f}",
                f"{100 * (cost.cpu / first.cpu - 1):+.1f} %", f"{cost.read / 1e6:.1f} MB",
            )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
