"""`coloproxy demo`: one download, four ways: what comparing two replicas costs, measured here and now."""

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TransferSpeedColumn

from coloproxy import COMPILED, __version__
from coloproxy.cli.compare import UNCOMPILED, page_at
from coloproxy.errors import ColoproxyError
from coloproxy.lab import result
from coloproxy.lab.plan import bits_of, bytes_of
from coloproxy.lab.run import equipped, ports_here
from coloproxy.lab.showcase import picture, qemu, record, screen
from coloproxy.lab.showcase.record import TITLES, WAYS, Measurement, Published, Report, Task
from coloproxy.lab.showcase.run import measure

USUAL, LARGE = 200 << 20, 1 << 30  # bytes
RATES = (None, 1e9)  # bits a second
WHAT = "One address, two servers: what both say is compared, and leaves once it agrees."
NO_PICTURE = "no picture: matplotlib is not installed (pip install 'coloproxy[plot]')"


def demo(
    full: Annotated[bool, typer.Option("--full", help="1 GiB as well as 200 MiB.")] = False,
    size: Annotated[
        str | None, typer.Option(help="Another size, such as 50M.", metavar="SIZE", show_default=False)
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="One rate only, such as 500M, or none: unshaped.", show_default=False)
    ] = None,
    runs: Annotated[int, typer.Option(help="Downloads each way; the median counts.", min=1, max=99)] = 3,
    budget: Annotated[
        float, typer.Option(help="Seconds for each way; what is slower is measured on the part that came.", min=0.5)
    ] = 10.0,
    checkpoint_cost: Annotated[
        float, typer.Option(help="Milliseconds for which a checkpoint stops both replicas.", min=0.0, max=10_000.0)
    ] = 50.0,
    ports: Annotated[
        str | None,
        typer.Option(help="tap or packet; root has TAPs by default, others packet sockets.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="A folder for ftp.svg and ftp.png.")] = Path("out"),
    http: Annotated[
        str | None,
        typer.Option(help="Serve the page of the proxy at work at HOST:PORT, or at PORT of this machine only."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Download a file by FTP from two replicas behind one address, four ways, unshaped and at 1 Gbit/s.

    Native: one server, nothing compared. By packet: as was done before 2018. By sequence number: QEMU's colo-compare,
    if QEMU is installed, and coloproxy. Exits with status 1 if not every byte was right.
    """
    if ports not in (None, "tap", "packet"):
        raise ColoproxyError(f"--ports '{ports}' is unknown; there are tap, packet.")
    equipped()
    page = page_at(http)
    sizes = [bytes_of(size)] if size is not None else [USUAL, LARGE] if full else [USUAL]
    report = Report(
        ports=ports_here(ports),  # type: ignore[arg-type]
        runs=runs,
        budget_seconds=budget,
        checkpoint_cost_ms=checkpoint_cost,
        machine=machine(),
        published=Published(),
    )
    rates = RATES if rate is None else (None if rate == "none" else bits_of(rate),)
    console = Console(width=min(screen.WIDTH, Console().width), highlight=False, stderr=as_json)
    folder(out)
    if not COMPILED:
        print(UNCOMPILED, file=sys.stderr)
    begun = time.monotonic()
    if not as_json:
        console.print(f"[bold]{WHAT}[/]", soft_wrap=True)
    for task in tasks(sizes, rates, report, page.fileno() if page is not None else None):
        report.add(watched(task, report))
    report.seconds = time.monotonic() - begun
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        screen.show(report, console)
    pictures(report, out, console)
    if not report.right:
        raise typer.Exit(1)


def tasks(
    sizes: Sequence[int], rates: Sequence[float | None], report: Report, page: int | None = None
) -> Iterator[Task]:
    """All that is to be measured, in order: native first, for each load."""
    for size in sizes:
        for rate in rates:
            for way in WAYS:
                yield Task(
                    way=way, size=size, rate=rate, runs=report.runs, budget=report.budget_seconds,
                    checkpoint_cost=report.checkpoint_cost_ms, page=page,
                )  # fmt: skip


def machine() -> dict[str, str | int]:
    """What all this runs on."""
    names = [line.partition(":")[2].strip() for line in cpu_information() if line.startswith("model name")]
    facts: dict[str, str | int] = {
        "cpu": names[0] if names else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "coloproxy": __version__,
    }
    found = qemu.version()
    return facts | ({"qemu": found} if found else {})


def cpu_information() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def folder(out: Path) -> None:
    """Raises ColoproxyError if pictures cannot be put there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ColoproxyError(f"folder {out} cannot be made: {error.strerror}; name another with --out.") from None


# While it runs


def watched(task: Task, report: Report) -> Measurement:
    """Measure, with a line that says how far it is and then how it went, if anybody looks."""
    if not sys.stderr.isatty():
        return measure(task, report.ports)
    columns = TextColumn("{task.description}"), BarColumn(14), TaskProgressColumn(), TransferSpeedColumn()
    console = Console(stderr=True, highlight=False)
    text = f"{record.load(task)}, {TITLES[task.way]}"
    # Without a thread of its own, which would be in the way of processes to come.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        shown = progress.add_task(text, total=task.size)
        progress.refresh()

        def told(news: result.Progress) -> None:
            if news.bytes < progress.tasks[shown].completed:  # it is downloaded again
                progress.reset(shown)
            progress.update(shown, completed=news.bytes, refresh=True)

        found = measure(task, report.ports, told)
    speed = "not measured" if found.bits_per_second is None else record.rate(found.bits_per_second)
    console.print(f"{record.load(task):26}{TITLES[task.way]:{screen.NAME}}{speed:>13}")
    return found


# The pictures


def pictures(report: Report, out: Path, console: Console) -> None:
    """Draw them, or say why not."""
    files = [out / "ftp.svg", out / "ftp.png"]
    try:
        picture.draw(report, files)
    except ImportError:
        console.print(NO_PICTURE)
    except OSError as error:
        raise ColoproxyError(f"{error.filename or out}: {error.strerror}; name another folder with --out.") from None
    else:
        text = f"\nIn {report.seconds:.0f} s. The picture: [bold]{files[0]}[/], [bold]{files[1]}[/]"
        console.print(text, soft_wrap=True)
