"""The benchmark: coloproxy, QEMU's colo-compare and a relay that compares nothing, on the same load, in turn.

    python bench/run.py [--quick] [--runs N] [--workload W1]... [--proxy qemu]... [--out FOLDER]

Writes bench.json, bench.png and bench.md into FOLDER (default: out) and prints tables. Exit status 1 when a proxy that
must be right was not, 2 when something could not run.
"""

import argparse
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

import coloproxy
import proxies
import report
from coloproxy.compare.engine import COMPILED
from figures import PROXIES, WORKLOADS, Result, Run, ratios, summarise

HERE = Path(__file__).resolve().parent
QUICK = 10  # a quick run sends so many times fewer frames
ATTEMPT_LIMIT = 300.0  # seconds one run may take


def build(folder: Path) -> None:
    """Compile the generator and the relay."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = [os.environ.get("CC", "gcc"), "-O2", "-Wall", "-Wextra"]
    if shutil.which(compiler[0]) is None:
        raise RuntimeError(f"no C compiler {compiler[0]} here (Debian: gcc), which generator and relay need; set CC")
    for program, sources in (("generator", ("generator.c", "workload.c")), ("relay", ("relay.c",))):
        subprocess.run([*compiler, "-o", folder / program, *(HERE / source for source in sources)], check=True)


def command_of(proxy: str, sockets: proxies.Sockets, vnet: bool, programs: Path) -> list[str]:
    """How a proxy is started."""
    if proxy == "relay":
        return proxies.relay_command(sockets, vnet, programs)
    return proxies.qemu_command(sockets, vnet) if proxy == "qemu" else proxies.coloproxy_command(sockets, vnet)


def measure(proxy: str, workload: str, frames: int | None, programs: Path) -> tuple[Run, str]:
    """One run: start the proxy, play the workload through it, read what that cost. Also the workload's title."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        sockets, log = proxies.Sockets.under(folder), folder / "log"
        with proxies.running(command_of(proxy, sockets, workload == "W5", programs), log) as process:
            proxies.wait_until_listening(process, sockets.all(), log)
            before = proxies.settle(process.pid)
            play = [str(programs / "generator"), workload, *map(str, sockets.all())]
            play += ["--frames", str(frames)] if frames else []
            done = subprocess.run(play, capture_output=True, text=True, timeout=ATTEMPT_LIMIT, check=False)
            if not done.stdout:
                raise RuntimeError(f"{workload} through {proxy}: {done.stderr.strip()} {log.read_text().strip()}")
            after = proxies.usage(process.pid)
    said = json.loads(done.stdout)
    return Run(
        workload=workload,
        proxy=proxy,
        frames=said["frames"],
        bytes=said["bytes"],
        seconds=said["seconds"],
        cpu_seconds=after.cpu - before.cpu,
        peak_rss=after.peak,
        out_of_order=said["out_of_order"],
        right=said["right"],
    ), said["title"]


@functools.cache
def full_frames(programs: Path, workload: str) -> int:
    """The primary's frames in a full run, as the generator has them."""
    listing = subprocess.run([str(programs / "generator"), "--list"], capture_output=True, text=True, check=True)
    return int(dict(line.split()[:2] for line in listing.stdout.splitlines())[workload])


def machine() -> dict[str, str]:
    """What the figures depend on."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    program = proxies.qemu_program()
    version = (
        subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.partition(" (")[0]
        if program
        else "no QEMU"
    )
    compiler = subprocess.run([os.environ.get("CC", "gcc"), "--version"], capture_output=True, text=True, check=False)
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": model.partition(":")[2].strip() or platform.processor(),
        "cpus": str(os.cpu_count()),
        "memory_mib": str(int(memory) // 1024),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "coloproxy": coloproxy.__version__,
        "compiled": str(COMPILED).lower(),
        "qemu": version,
        "compiler": compiler.stdout.splitlines()[0],
    }


def wanted(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Workload and proxy of each run of one round; QEMU is left out of W6, which it cannot do right."""
    return [
        (workload, proxy)
        for workload in args.workload or WORKLOADS
        for proxy in args.proxy or PROXIES
        if not (workload == "W6" and proxy == "qemu")
    ]


def play_all(args: argparse.Namespace, programs: Path, console: Console) -> Result:
    """All rounds. The proxies take turns, so that whatever else the machine does falls on all of them."""
    runs: list[Run] = []
    titles: dict[str, str] = {}
    plan = wanted(args)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(plan) * args.runs)
        for _ in range(args.runs):
            for workload, proxy in plan:
                progress.update(task, description=f"{workload} {proxy}")
                frames = full_frames(programs, workload) // QUICK if args.quick else None
                run, titles[workload] = measure(proxy, workload, frames, programs)
                runs.append(run)
                progress.advance(task)
    figures = summarise(runs, titles)
    return Result(machine=machine(), quick=args.quick, figures=figures, ratios=ratios(runs), runs=runs)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, help="runs of each workload through each proxy (default 5, quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this one; may be repeated")
    parser.add_argument("--proxy", action="append", choices=PROXIES, help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results (default: out)")
    args = parser.parse_args()
    args.runs = args.runs or (1 if args.quick else 5)
    return args


def main() -> int:
    """Run the benchmark and show it."""
    args = arguments()
    console = Console(width=80 if not sys.stdout.isatty() else None)
    if proxies.qemu_program() is None and "qemu" in (args.proxy or PROXIES):
        console.print("bench: no qemu-system-x86_64 here (Debian: qemu-system-x86): going on without QEMU")
        args.proxy = [name for name in args.proxy or PROXIES if name != "qemu"]
    programs = args.out.resolve() / "programs"
    try:
        build(programs)
        result = play_all(args, programs, console)
    except (OSError, RuntimeError, subprocess.SubprocessError) as problem:
        console.print(f"bench: {problem}", style="red", markup=False)
        return 2
    report.show(result, console)
    console.print(report.terminal_plot(result.figures), highlight=False, markup=False)
    (args.out / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    (args.out / "bench.md").write_text(report.markdown(result))
    report.picture(result, args.out / "bench.png")
    console.print(f"written: {args.out}/bench.json, bench.md, bench.png")
    wrong = {(run.workload, run.proxy) for run in result.runs if not run.right}
    for workload, proxy in sorted(wrong):
        console.print(f"bench: {workload} through {proxy}: not everything came out right", style="red")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
