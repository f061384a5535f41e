"""`coloproxy lab`: one address, two replicas, a client, and what goes wrong between them, on one machine."""

import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from coloproxy import tables
from coloproxy.cli.compare import page_at
from coloproxy.errors import ColoproxyError
from coloproxy.lab import plan as plans
from coloproxy.lab import result as results
from coloproxy.lab.run import run as run_plan
from coloproxy.lab.run import show as show_plan
from coloproxy.lab.scratch import clean as remove_leftovers
from coloproxy.topology.config import ComparatorElement

WORK = "Work"
PATH = "Way between client and server"
TROUBLE = "Trouble"
REPORTS = "Reports"
WIDTH = 80

app = typer.Typer(
    help="Two real servers behind one address, on this machine: run a load, break things.", no_args_is_help=True
)

Family = Literal[4, 6]
Texts = list[str] | None
CHOICES: dict[str, tuple[str, ...]] = {
    "path": get_args(plans.Path_),
    "ports": get_args(plans.Ports),
    "timestamps": get_args(plans.Timestamps),
    "ftp": get_args(plans.Ftp),
    "web": get_args(plans.Web),
}


def option(*names: str, text: str, panel: str, metavar: str | None = None, least: float | None = None) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, min=least, show_default=False)


@app.command()
def run(
    context: typer.Context,
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help=f"One or more of {', '.join(plans.WORKLOADS)}, all at once.", metavar="WORKLOAD[:SIZE]"),
    ] = None,
    size: Annotated[
        str | None, option(text="Bytes of a transfer or datagram (200M; 1000).", panel=WORK, metavar="SIZE")
    ] = None,
    count: Annotated[
        int | None, option(text="Transfers, connections, round trips, datagrams.", panel=WORK, least=1)
    ] = None,
    seconds: Annotated[
        float | None, option(text="Go on for so long, in place of --count.", panel=WORK, least=0.1)
    ] = None,
    parallel: Annotated[int, typer.Option(help="As many at a time.", rich_help_panel=WORK, min=1, max=1000)] = 1,
    ipv4: Annotated[bool, option("-4", text="Over IPv4 (default).", panel=WORK)] = False,
    ipv6: Annotated[bool, option("-6", text="Over IPv6; with -4, over both.", panel=WORK)] = False,
    server: Annotated[
        str | None,
        option(text="A command for both replicas, in place of a workload; $SERVER is its address.", panel=WORK),
    ] = None,
    client: Annotated[str | None, option(text="And one for the client.", panel=WORK)] = None,
    ftp: Annotated[str, typer.Option(help="pyftpdlib or vsftpd.", rich_help_panel=WORK)] = "pyftpdlib",
    web: Annotated[str, typer.Option(help="own or nginx.", rich_help_panel=WORK)] = "own",
    timeout: Annotated[float, typer.Option(help="Seconds for all of it.", rich_help_panel=WORK, min=1)] = 300.0,
    path: Annotated[
        str,
        typer.Option(
            help="direct (joined), forward (a plain forwarder), compare (two replicas).", rich_help_panel=PATH
        ),
    ] = "compare",
    ports: Annotated[
        str | None, option(text="tap or packet; root has TAPs by default, others packet sockets.", panel=PATH)
    ] = None,
    rate: Annotated[
        str | None, option(text="Bits a second of every network card, as 1G.", panel=PATH, metavar="RATE")
    ] = None,
    timestamps: Annotated[
        str, typer.Option(help="strip, translate or keep, as the rewriter has it.", rich_help_panel=PATH)
    ] = "strip",
    compare: Annotated[
        Texts,
        option(
            text="A setting of the comparator, as compare_timeout=5000. Repeatable.", panel=PATH, metavar="KEY=VALUE"
        ),
    ] = None,
    on_divergence: Annotated[
        str | None, option(text="alarm (pass that connection uncompared; default) or cut (reset it).", panel=PATH)
    ] = None,
    impair: Annotated[
        Texts,
        option(
            text="A bad leg: keys loss, duplicate, reorder (1%), delay, jitter (ms), rate, limit; legs client, primary,"
            " secondary, with from- or to- for one direction; none: all. Repeatable.",
            panel=TROUBLE,
            metavar="[LEG:]KEY=VALUE,...",
        ),
    ] = None,
    skew: Annotated[
        bool, option("--skew", text="The secondary has other sequence numbers and timestamps.", panel=TROUBLE)
    ] = False,
    alter: Annotated[
        Texts,
        option(
            text="Change a byte of a replica's streams, at an offset, from a port. Repeatable.",
            panel=TROUBLE,
            metavar="REPLICA:OFFSET[@PORT]",
        ),
    ] = None,
    pause: Annotated[
        Texts,
        option(
            text="Stop a replica's processes for a time, half-way or at WHEN (30% or 2s). Repeatable.",
            panel=TROUBLE,
            metavar="REPLICA:SECONDS[@WHEN]",
        ),
    ] = None,
    kill: Annotated[
        Texts,
        option(
            text="Kill a replica; the proxy is told so after SECONDS (0).",
            panel=TROUBLE,
            metavar="REPLICA[:SECONDS][@WHEN]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.", rich_help_panel=TROUBLE, min=1, max=1 << 31)] = 1,
    keep: Annotated[
        Path | None, option(text="A folder for the topology, events and logs.", panel=REPORTS, metavar="DIR")
    ] = None,
    http: Annotated[
        str | None,
        option(text="Serve the proxy's page at HOST:PORT, or at PORT of this machine only.", panel=REPORTS),
    ] = None,
    dump: Annotated[bool, option("--dump", text="And for captures of every leg.", panel=REPORTS)] = False,
    show: Annotated[
        bool, option("--show", text="Print the topology that would be used, and do nothing.", panel=REPORTS)
    ] = False,
    as_json: Annotated[bool, option("--json", text="Print all of the result as JSON.", panel=REPORTS)] = False,
) -> None:
    """Run a load on two replicas behind one address, and say how that went.

    Exits with status 1 if not every byte was right, or not all of the work was done.
    """
    plan = plan_of(context.params)
    if show:
        print(show_plan(plan), end="")
        return
    page = page_at(http)
    plan = msgspec.structs.replace(plan, page=page.fileno() if page is not None else None)
    output = sys.stderr if as_json else sys.stdout

    def said(text: str) -> None:
        print(text, file=output, flush=True)

    if plan.client or not sys.stderr.isatty():
        found = run_plan(plan, said=said, waits=waits)
    else:
        found = with_progress(plan)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        report(found)
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def clean() -> None:
    """Remove what killed runs left of theirs; runs at work are left alone."""
    cleaned = remove_leftovers()
    for folder in cleaned.removed:
        print(f"removed {folder}")
    for folder in cleaned.busy:
        print(f"at work, left alone: {folder}")
    if not cleaned.removed:
        print("nothing to remove")


def plan_of(given: dict[str, Any]) -> plans.Plan:
    """The plan that the options tell. Raises ColoproxyError."""
    families: list[Family] = [4] if given["ipv4"] or not given["ipv6"] else []
    families += [6] if given["ipv6"] else []
    size = None if given["size"] is None else plans.bytes_of(given["size"])
    same = ("skew", "seed", "server", "client", "keep", "dump", "timeout")
    return plans.Plan(
        workloads=tuple(
            plans.workload(name, family, given["count"], size, given["parallel"], given["seconds"])
            for name in given["workloads"] or []
            for family in families
        ),
        rate=None if given["rate"] is None else plans.bits_of(given["rate"]),
        legs=legs(given["impair"] or []),
        faults=tuple(plans.fault(text) for text in given["alter"] or []),
        actions=(
            *(plans.action("pause", text) for text in given["pause"] or []),
            *(plans.action("kill", text) for text in given["kill"] or []),
        ),
        compare=settings(given["compare"] or [], given["on_divergence"]),
        **{key: choice(key, given[key]) for key in CHOICES},  # type: ignore[arg-type]
        **{key: given[key] for key in same},
    )


def legs(texts: list[str]) -> dict[plans.Leg, plans.Impairment]:
    """What is wrong with each leg; the last word about a leg counts."""
    return {leg: impairment for found, impairment in map(plans.impairment, texts) for leg in found}


def settings(texts: list[str], on_divergence: str | None) -> dict[str, Any]:
    """The comparator's settings; by default it goes on after a divergence, for here is nobody to make checkpoints."""
    if on_divergence not in (None, "alarm", "cut"):
        raise ColoproxyError(f"--on-divergence '{on_divergence}' is unknown; there are alarm, cut.")
    values: dict[str, Any] = {"on_divergence": on_divergence or "alarm"}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ColoproxyError(f"--compare '{text}' is no good: write KEY=VALUE, as compare_timeout=5000.")
        setting: dict[str, Any] = {}
        try:
            setting[key.replace("-", "_")] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            setting[key.replace("-", "_")] = value
        tables.convert(setting, ComparatorElement, f"--compare {text}")
        values |= setting
    return values


def choice(key: str, value: str | None) -> str | None:
    """A value that is one of a few. Raises ColoproxyError for one that is not."""
    known = CHOICES[key]
    if value is not None and value not in known:
        raise ColoproxyError(f"--{key} '{value}' is unknown; there are {', '.join(known)}.")
    return value


def waits(text: str) -> None:
    """Say on standard error what is waited for."""
    print(f"coloproxy: {text}", file=sys.stderr, flush=True)


def with_progress(plan: plans.Plan) -> results.Result:
    """Run a plan with a line that says how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeElapsedColumn())
    console = Console(stderr=True)
    # Without a thread of its own, which would be in the way of processes to come.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(plan.path, total=None)

        def told(news: results.Progress) -> None:
            total = news.bytes / news.part if news.part else None
            progress.update(task, completed=news.bytes, total=total, refresh=True)

        return run_plan(plan, told, waits=waits)


# The table


def report(found: results.Result) -> None:
    """Print what was measured."""
    console = Console(width=min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH, highlight=False)
    columns = ("", "done", "failed", "time", "rate", "longest gap", "p50", "p99")
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "right" if column.header else "left"
    for figures in found.workloads:
        table.add_row(*row(figures))
    console.print(table)
    for figures in found.workloads:
        for error in figures.errors:
            console.print(f"[red]wrong[/] {error}", soft_wrap=True)
    for done in found.actions:
        word = {"pause": "paused", "kill": "killed"}[done.what]
        console.print(f"{done.replica} {word} after {done.time:.2f} s")
    if found.proxy is not None:
        console.print(accounts(found.proxy), soft_wrap=True)


def row(figures: results.Figures) -> list[str]:
    """One line of the table."""
    name = f"{figures.name}{' -6' if figures.family == 6 else ''}"
    latency = figures.latency
    rate = f"{figures.per_second:.0f} /s" if latency else bits(figures.bits_per_second)
    return [
        name if figures.ok else f"[red]{name}[/]",
        str(figures.count),
        str(figures.failed or ""),
        duration(figures.seconds),
        rate if figures.per_second else "",
        duration(figures.longest_gap),
        duration(latency.p50 / 1e6) if latency else "",
        duration(latency.p99 / 1e6) if latency else "",
    ]


def bits(rate: float) -> str:
    return f"{rate / 1e9:.2f} Gbit/s" if rate >= 1e9 else f"{rate / 1e6:.1f} Mbit/s"


def duration(seconds: float) -> str:
    """Three digits are enough."""
    if not seconds:
        return ""
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    value = seconds * factor
    return f"{value:.{max(0, 2 - int(math.log10(value)))}f} {unit}"


def accounts(proxy: results.ProxyFigures) -> str:
    """The proxy's part in one sentence."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(proxy.reasons.items()))
    divergences = several(proxy.divergences, "divergence") + (f" ({reasons})" if reasons else "")
    asked = several(proxy.checkpoints_requested, "checkpoint")
    return f"proxy: {divergences}, {asked} asked for, {proxy.cpu_seconds:.2f} s of CPU"


def several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
