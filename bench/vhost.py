"""Measures a guest's network through shared memory, as root: `python bench/vhost.py` (all), or `one`, `pair`.

one: a guest's download and upload, with the processor time that QEMU and the proxy take for them, over vhost-user,
over QEMU's framing, and over QEMU's own TAP device; all three guests are there, and asked in turn.
pair: a protected guest's download over vhost-user and over QEMU's framing, in turn.

Every byte of a download is looked at. Medians.
"""

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from coloproxy.guest.image import block
from support.download import MIB, SOURCE, download
from support.guest import SINK, Guest, network, shared, stream, topology
from support.pair import PROTECTED, Pair, running

TICK = os.sysconf("SC_CLK_TCK")
TAP = ["-netdev", "tap,id=hn0,ifname=e0,vhost=off,script=no,downscript=no"]


class Taken(NamedTuple):
    """MB a second, and seconds of processor time."""

    rate: float
    qemu: float
    proxy: float


class Way:
    """A guest, and how its frames come to it."""

    def __init__(self, name: str, stack: contextlib.ExitStack) -> None:
        self.name = name
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coloproxy-vhost-")))
        netns = stack.enter_context(network())
        self.pids: list[int | None] = [None, None]
        if name != "tap":
            proxy = topology(folder, netns, card=name == "vhost-user")
            stack.callback(proxy.process.wait)
            stack.callback(proxy.process.kill)
            self.pids[1] = proxy.process.pid
        netdev = {"tap": TAP, "stream": stream(folder)}.get(name) or shared(folder)
        self.guest = Guest(folder, netdev, netns)
        stack.callback(self.guest.end)
        self.pids[0] = self.guest.process.pid
        self.figures: dict[str, list[Taken]] = {"download": [], "upload": []}

    def measure(self, what: str, size: int) -> None:
        before = [cpu(pid) for pid in self.pids]
        begin = time.monotonic()
        (self._download if what == "download" else self._upload)(size)
        rate = size * MIB / (time.monotonic() - begin) / 1e6
        self.figures[what].append(Taken(rate, *(cpu(pid) - was for pid, was in zip(self.pids, before, strict=True))))

    def _download(self, size: int) -> None:
        with self.guest.connect(SOURCE) as sock:
            download(sock, size)

    def _upload(self, size: int) -> None:
        data = block()
        with self.guest.connect(SINK) as sock:
            for _ in range(size):
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            said = b""
            while part := sock.recv(4096):
                said += part
        assert said.startswith(b"%d+0 records in" % (16 * size)), said

    def median(self, what: str) -> Taken:
        return Taken(*(statistics.median(values) for values in zip(*self.figures[what], strict=True)))


def cpu(pid: int | None) -> float:
    """Seconds of processor time (proc(5), utime and stime)."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def one(arguments: argparse.Namespace) -> None:
    """One guest each."""
    with contextlib.ExitStack() as stack:
        ways = [Way(name, stack) for name in ("vhost-user", "stream", "tap")]
        for way in ways:
            way.guest.booted()
        for _ in range(arguments.runs):
            for what in ("download", "upload"):
                for way in ways:
                    way.measure(what, arguments.size)
        for what in ("download", "upload"):
            for way in ways:
                taken = way.median(what)
                print(
                    f"{what:9}{way.name:11}{taken.rate:6.0f} MB/s, CPU: QEMU {taken.qemu:.2f} s,"
                    f" proxy {taken.proxy:.2f} s",
                    flush=True,
                )  # fmt: skip


def pair(arguments: argparse.Namespace) -> None:
    """Protected guests; one pair at a time, for each is two guests."""
    for name in ("vhost-user", "stream"):
        with (
            tempfile.TemporaryDirectory(prefix="coloproxy-vhost-") as folder,
            running(Path(folder), network=name) as two,
        ):
            two.wait_state(two.primary(), *PROTECTED)
            before = made(two)
            rates = [protected(two, arguments.size) for _ in range(arguments.runs)]
            checkpoints = made(two) - before
            took = [checkpoint(two) for _ in range(30)]
        print(
            f"pair     {name:11}{statistics.median(rates):6.1f} MB/s, {checkpoints} checkpoints in {len(rates)};"
            f" one when idle: median {1000 * statistics.median(took):.1f} ms",
            flush=True,
        )  # fmt: skip


def made(two: Pair) -> int:
    """Checkpoints so far."""
    return int(two.ask(two.primary())["checkpoints"])


def checkpoint(two: Pair) -> float:
    """Seconds from a request until the guest runs again."""
    before = made(two)
    two.ask(two.primary(), "checkpoint")
    two.wait(lambda: made(two) > before)
    time.sleep(0.1)
    return float(two.ask(two.primary())["checkpoint"]["took"])


def protected(two: Pair, size: int) -> float:
    """MB a second of a download."""
    with two.connect(SOURCE) as sock:
        return download(sock, size) * MIB / 1e6


PARTS = {"one": one, "pair": pair}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="MiB of each")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for part in arguments.parts:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
