"""The live benchmark: real clients and servers, joined directly, by a forwarder, and by the whole scheme, in turn.

    python bench/live.py [--runs N] [--quick] [--only NAME]... [--out FOLDER]

Writes live.json into FOLDER (default: out) and prints a table. Everything runs in network namespaces of its own on this
machine's cores: client, both replicas and the proxy share them. Exit status 1 when not every byte was right.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import msgspec
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

LAB = [sys.executable, "-m", "coloproxy", "lab", "run", "--json"]
ATTEMPT_LIMIT = 300.0  # seconds one run may take

Path_ = Literal["direct", "forward", "compare"]


class Case(NamedTuple):
    """A load, and what is asked of the whole scheme: (measured against, at least that fraction of it) each; for a
    latency: at most so many microseconds more at the median and at the 99th percentile. get and put are FTP's; 1G is a
    rate of 1 Gbit/s; a connection is opened, carries one byte, and ends; a round trip is one byte back and forth."""

    name: str
    load: tuple[str, ...]
    quick: tuple[str, ...]
    wanted: tuple[tuple[Path_, float], ...]
    figure: Literal["rate", "per_second", "latency"] = "rate"


CASES = (
    Case("get 200 MB, 1G", ("ftp-get", "--size", "200M", "--rate", "1G"), ("--size", "50M"),
         (("direct", 0.95),)),
    Case("get 1 GB, 1G", ("ftp-get", "--size", "1G", "--rate", "1G"), ("--size", "50M"), (("direct", 0.95),)),
    Case("get 200 MB", ("ftp-get", "--size", "200M"), (), (("direct", 0.30), ("forward", 0.50))),
    Case("get 1 GB", ("ftp-get", "--size", "1G"), ("--size", "200M"), (("direct", 0.30), ("forward", 0.50))),
    Case("HTTP 200 MB", ("http", "--size", "200M"), (), (("direct", 0.30),)),
    Case("put 200 MB", ("ftp-put", "--size", "200M"), (), (("direct", 0.30),)),
    Case("connections", ("many", "--count", "2000"), ("--count", "300"), (("forward", 0.45),), "per_second"),
    Case("round trips", ("rr", "--count", "5000"), ("--count", "1000"), (("forward", 60.0),
         ("forward", 300.0)), "latency"),
)  # fmt: skip


class Run(msgspec.Struct, kw_only=True):
    """One run: bits a second, work a second, the latency's median and 99th percentile in microseconds, the CPU seconds
    of the proxy."""

    case: str
    path: str
    bits_per_second: float
    per_second: float
    p50: float
    p99: float
    cpu_seconds: float
    divergences: int
    right: bool


class Ratio(msgspec.Struct, kw_only=True):
    """The whole scheme against something: a fraction, or microseconds more; and what is asked for."""

    case: str
    against: str
    value: float
    limit: float
    met: bool


class Result(msgspec.Struct, kw_only=True):
    """What live.json holds."""

    runs: list[Run]
    ratios: list[Ratio]


def measure(case: Case, path: str, quick: bool) -> Run:
    """Run a load over one path. Raises RuntimeError if it could not be run."""
    command = [*LAB, *case.load, *(case.quick if quick else ()), "--path", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ATTEMPT_LIMIT, check=False)
    if done.returncode == 2 or not done.stdout:
        raise RuntimeError(f"{case.name} ({path}): {done.stderr.strip()}")
    said = msgspec.json.decode(done.stdout)
    figures, proxy = said["workloads"][0], said.get("proxy") or {}
    latency = figures["latency"] or {}
    return Run(
        case=case.name,
        path=path,
        bits_per_second=figures["bits_per_second"],
        per_second=figures["per_second"],
        p50=latency.get("p50", 0.0),
        p99=latency.get("p99", 0.0),
        cpu_seconds=proxy.get("cpu_seconds", 0.0),
        divergences=proxy.get("divergences", 0),
        right=said["ok"],
    )


def middle(runs: list[Run], case: str, path: str, figure: str) -> float:
    """The median of a figure."""
    return median(getattr(run, figure) for run in runs if (run.case, run.path) == (case, path))


def ratios(runs: list[Run], cases: list[Case]) -> list[Ratio]:
    """The whole scheme against what is asked of it."""
    found = []
    for case in cases:
        for number, (path, limit) in enumerate(case.wanted):
            if case.figure == "latency":
                figure = ("p50", "p99")[number]
                ours, theirs = (middle(runs, case.name, each, figure) for each in ("compare", path))
                value, against = ours - theirs, f"{path}, us more ({figure})"
                met = value <= limit
            else:
                figure = {"rate": "bits_per_second"}.get(case.figure, case.figure)
                ours, theirs = (middle(runs, case.name, each, figure) for each in ("compare", path))
                value, against = ours / theirs, path
                met = value >= limit
            found.append(Ratio(case=case.name, against=against, value=value, limit=limit, met=met))
    return found


def cell(runs: list[Run], case: Case, path: str) -> str:
    """A median as it is shown."""
    if not any((run.case, run.path) == (case.name, path) for run in runs):
        return ""
    if case.figure == "latency":
        return " / ".join(f"{middle(runs, case.name, path, figure):.0f}" for figure in ("p50", "p99")) + " us"
    if case.figure == "per_second":
        return f"{middle(runs, case.name, path, 'per_second'):.0f} /s"
    return f"{middle(runs, case.name, path, 'bits_per_second') / 1e9:.2f} Gbit/s"


def show(result: Result, cases: list[Case], console: Console) -> None:
    """The tables."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("", "direct", "forwarder", "two replicas"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    for case in cases:
        table.add_row(case.name, *(cell(result.runs, case, path) for path in ("direct", "forward", "compare")))
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("two replicas", "against", "is", "asked for", ""):
        table.add_column(title, no_wrap=True)
    for ratio in result.ratios:
        form = "{:.0f}" if ratio.limit > 1 else "{:.2f}"
        asked = f"{'at most' if ratio.limit > 1 else 'at least'} {form.format(ratio.limit)}"
        mark = "[green]met[/]" if ratio.met else "[red]not met[/]"
        table.add_row(ratio.case, ratio.against, form.format(ratio.value), asked, mark)
    console.print(table)


def main() -> int:
    """Run the benchmark and show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5, help="runs of each load over each path (default 5)")
    parser.add_argument("--quick", action="store_true", help="smaller loads")
    parser.add_argument("--only", action="append", choices=[case.name for case in CASES], help="may be repeated")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for live.json (default: out)")
    args = parser.parse_args()
    cases = [case for case in CASES if not args.only or case.name in args.only]
    console = Console(width=80 if not sys.stdout.isatty() else None)
    runs: list[Run] = []
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("", total=3 * args.runs * len(cases))
            for case in cases:
                for _ in range(args.runs):
                    for path in ("direct", "forward", "compare"):
                        progress.update(task, description=f"{case.name}: {path}")
                        runs.append(measure(case, path, args.quick))
                        progress.advance(task)
    except (RuntimeError, subprocess.SubprocessError) as problem:
        console.print(f"bench: {problem}", style="red", markup=False)
        return 2
    result = Result(runs=runs, ratios=ratios(runs, cases))
    show(result, cases, console)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "live.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    return 0 if all(run.right and not run.divergences for run in runs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
