"""The soak: every load at once on two replicas for minutes, while the proxy's memory is watched.

    python bench/soak.py [--seconds N] [--out FOLDER]

Writes soak.json into FOLDER (default: out) and prints a table. Exit status 1 when not every byte was right, memory grew
by more than 5 % from the middle third of the time to the last, the accounts do not add up, or the replicas were found
to differ.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

LOADS = ("ftp-get:20M", "ftp-put:20M", "http:5M", "many", "rr", "udp", "ping")
# Replicas, client and proxy share the processors with whatever else runs here: slow is not different.
COMMAND = (*LOADS, "-4", "-6", "--parallel", "2", "--skew", "--compare", "compare_timeout=60000", "--json")
ENDS = ("released", "passed", "held", "dropped", "refused")
GROWTH = 0.05
EVERY = 1.0  # seconds


class Soak(msgspec.Struct, kw_only=True):
    """What soak.json holds: the proxy's resident memory in bytes, once a second; what grew from the middle third of the
    time to the last; and what else must be so."""

    seconds: float
    resident: list[int]
    growth: float
    bytes: int
    connections: int
    divergences: int
    adds_up: bool
    right: bool


def children(pid: int) -> list[int]:
    """The children of a process, in the namespaces that it made or not."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def proxy_of(pid: int) -> int | None:
    """The proxy among the descendants of a process."""
    for child in children(pid):
        if b"\0run\0" in Path(f"/proc/{child}/cmdline").read_bytes() and not children(child):
            return child
        if (found := proxy_of(child)) is not None:
            return found
    return None


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watch(lab: subprocess.Popen[bytes]) -> list[int]:
    """The proxy's memory until the work is done."""
    samples = []
    proxy = None
    while lab.poll() is None:
        try:
            proxy = proxy or proxy_of(lab.pid)
            if proxy is not None:
                samples.append(resident(proxy))
        except (FileNotFoundError, ProcessLookupError):
            proxy = None
        time.sleep(EVERY)
    return samples


def growth_of(samples: list[int]) -> float:
    """By what fraction the median of the last third is larger than that of the middle one."""
    third = len(samples) // 3
    return median(samples[-third:]) / median(samples[third : 2 * third]) - 1


def soak(seconds: float) -> Soak:
    """Run it. Raises RuntimeError if that could not be."""
    command = [sys.executable, "-m", "coloproxy", "lab", "run", *COMMAND, "--seconds", str(seconds)]
    with subprocess.Popen([*command, "--timeout", str(seconds + 120)], stdout=subprocess.PIPE) as lab:
        samples = watch(lab)
        assert lab.stdout is not None
        said = lab.stdout.read()
    if not said or len(samples) < 3:
        raise RuntimeError("the load could not be run: see above")
    result = msgspec.json.decode(said)
    summary = next(each for each in result["proxy"]["summaries"] if each["event"] == "summary")
    sides = [summary["accounting"][side] for side in ("primary", "secondary")]
    return Soak(
        seconds=result["seconds"],
        resident=samples,
        growth=growth_of(samples),
        bytes=sum(work["bytes"] for work in result["workloads"]),
        connections=summary["accounting"]["connections_opened"],
        divergences=result["proxy"]["divergences"],
        adds_up=all(
            side["received"][what] == sum(side[end][what] for end in ENDS)
            for side in sides
            for what in ("frames", "bytes")
        ),
        right=result["ok"],
    )


def show(found: Soak, console: Console) -> None:
    """Print the table."""
    table = Table(box=None, show_header=False)
    table.add_row("work", f"{found.seconds:.0f} s, {found.bytes / 1e9:.1f} GB, {found.connections:,} connections")
    table.add_row("every byte right", "yes" if found.right else "no")
    table.add_row("divergences", str(found.divergences))
    table.add_row("accounts add up", "yes" if found.adds_up else "no")
    table.add_row(
        "memory at the end", f"{found.resident[-1] / (1 << 20):.1f} MiB, {found.growth:+.1%} since the middle"
    )
    console.print(table)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--out", type=Path, default=Path("out"))
    given = options.parse_args()
    found = soak(given.seconds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "soak.json").write_bytes(msgspec.json.encode(found))
    show(found, Console())
    return 0 if found.right and found.adds_up and not found.divergences and found.growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
