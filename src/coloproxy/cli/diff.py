"""`coloproxy diff`: two captures, compared as the outputs of two replicas."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from coloproxy.capture import PcapngWriter
from coloproxy.cli.report import write
from coloproxy.compare.rules import load_rules
from coloproxy.errors import ColoproxyError
from coloproxy.offline import CaptureSummary, Compared, Difference, Options, Report, compare, parse_replica
from coloproxy.offline.evidence import write_evidence
from coloproxy.watch.report import of_diff

ROWS = 20  # connections in the table
SHORT = 0.5  # seconds of work without a progress bar
COLUMN = 8  # bytes of each side in a line of a hexdump


class Match(StrEnum):
    """How connections are paired."""

    FIVE_TUPLE = "five-tuple"
    ORDER = "order"


def diff(
    primary: Annotated[Path, typer.Argument(help="The primary's capture: pcap or pcapng, gzip or not.")],
    secondary: Annotated[Path, typer.Argument(help="The secondary's.")],
    side: Annotated[
        str | None,
        typer.Option(metavar="ADDR[:PORT]", help="The replica's address: what it sent is compared. Default: a guess."),
    ] = None,
    secondary_side: Annotated[
        str | None, typer.Option(metavar="ADDR[:PORT]", help="Its address in the secondary's capture, if another.")
    ] = None,
    match: Annotated[
        Match,
        typer.Option(help="Pair connections by addresses and ports, or by order of appearance per server port."),
    ] = Match.FIVE_TUPLE,
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="What is compared and what not (TOML).")] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="FILE.pcapng", help="Write the frames around each difference here.")
    ] = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report for people here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    show: Annotated[int, typer.Option(metavar="N", min=0, help="Differences that are explained.")] = 10,
) -> None:
    """Compare two captures as the outputs of two replicas. Exit status: 0 the same, 1 not the same, 2 could not run."""
    try:
        if evidence is not None:
            check_evidence(evidence, primary, secondary)
        with progress() as told:
            options = Options(
                side=None if side is None else parse_replica(side),
                secondary_side=None if secondary_side is None else parse_replica(secondary_side),
                match=match, rules=None if rules is None else load_rules(rules), progress=told,
            )  # fmt: skip
            report = compare(primary, secondary, options)
        if evidence is not None:
            keep_evidence(evidence, report)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if report_file is not None:
        write(of_diff(report, ["coloproxy", *sys.argv[1:]]), report_file)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    else:
        paper(report, show)
    raise typer.Exit(0 if report.same else 1)


def check_evidence(path: Path, *captures: Path) -> None:
    """Before the work. Raises ColoproxyError if the file will not be writable, or is one of the captures."""
    if path.exists() and any(capture.exists() and path.samefile(capture) for capture in captures):
        raise ColoproxyError(f"evidence file {path}: it is one of the captures; name another.")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ColoproxyError(f"evidence file {path}: it cannot be written; name one that can.")


def keep_evidence(path: Path, report: Report) -> None:
    """Write the file. Raises ColoproxyError."""
    try:
        with open(path, "wb") as file:
            write_evidence(PcapngWriter(file), report)
    except OSError as error:
        raise ColoproxyError(f"evidence file {path}: {error.strerror}; name one that can be written.") from None


@contextmanager
def progress() -> Iterator["Told | None"]:
    """A bar on the terminal, if there is one."""
    if not sys.stderr.isatty():
        yield None
        return
    told = Told()
    try:
        yield told
    finally:
        told.bar.stop()


class Told:
    """Shows how far the work is, once it takes a while."""

    def __init__(self) -> None:
        columns = TextColumn("comparing"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task: TaskID | None = None
        self.since = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        if self.task is not None:
            self.bar.update(self.task, completed=done)
        elif time.monotonic() - self.since > SHORT:
            self.bar.start()
            self.task = self.bar.add_task("comparing", total=total)


def paper(report: Report, show: int) -> None:
    """Print the result for people; without the blanks that fill up lines, unless it is on a terminal."""
    console = Console(highlight=False)
    with console.capture() as printed:
        Paper(console).report(report, show)
    text = printed.get()
    sys.stdout.write(text if console.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))


class Paper:
    """The result for people."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def report(self, report: Report, show: int) -> None:
        self.captures(report)
        if report.connections:
            self.table(report)
        for number, difference in enumerate(report.differences[:show], 1):
            self.difference(number, difference)
        left = report.totals.differences - min(show, len(report.differences))
        if left:
            self.console.print(f"{left:,} more {plural(left, 'difference')} not explained here (--show N, --json).\n")
        self.conclusion(report)

    def captures(self, report: Report) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column()
        grid.add_column(overflow="fold")
        for name, summary in (("primary", report.primary), ("secondary", report.secondary)):
            grid.add_row(name, Text(f"{summary.path}: {summary.format}, {counted(summary.frames, 'frame')}, "
                                    f"{summary.sent:,} sent by the replica"))  # fmt: skip
            for line in remarks(summary):
                grid.add_row("", Text(line, "yellow"))
        sides = report.side + (f", in the secondary's capture {report.secondary_side}" if report.secondary_side else "")
        guess = f" (guessed: {report.guessed}; --side names another)" if report.guessed else ""
        grid.add_row("replica", Text(sides + guess))
        self.console.print(grid)

    def table(self, report: Report) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("connection", overflow="fold")
        table.add_column("verified", justify="right", no_wrap=True)
        table.add_column("verdict", overflow="fold")
        for one in report.connections[:ROWS]:
            table.add_row(str(one.connection), f"{one.verified:,}", verdict(one))
        self.console.print(table)
        left = report.totals.connections - min(ROWS, len(report.connections))
        if left:
            self.console.print(f"... and {counted(left, 'more connection')}.\n")

    def difference(self, number: int, d: Difference) -> None:
        self.console.print(Text.assemble((f"{number}. {d.reason}", "bold red"), f": {d.detail}"))
        other = f" (secondary: {d.secondary_connection})" if d.secondary_connection else ""
        for line in (f"{d.connection}{other}", place(d), frames(d)):
            if line:
                self.console.print(Text(line), soft_wrap=False)
        if d.primary or d.secondary:
            self.console.print(hexdump(d))
        self.console.print()

    def conclusion(self, report: Report) -> None:
        totals = report.totals
        amount = f"{counted(totals.verified, 'byte')} verified in {counted(totals.connections, 'connection')}"
        if left_out := [f"{size:,} {why}" for size, why in totals.left_out()]:
            amount += f"; not compared: {', '.join(left_out)}"
        if totals.connections and not totals.paired and report.match == "five-tuple":
            self.console.print("No connection is in both captures: --match order pairs them by order of appearance.")
        if not report.same:
            where = f"in {totals.differ:,} of {counted(totals.connections, 'connection')}"
            found = counted(totals.differences, "difference")
            self.console.print(Text(f"Not the same: {found} {where}; {amount}.", "red"))
        elif totals.verified:
            self.console.print(Text(f"The same: {amount}.", "green"))
        else:
            self.console.print(Text(f"No difference, but nothing that could be compared: {amount}.", "yellow"))


def remarks(summary: CaptureSummary) -> Iterator[str]:
    """What of a capture could not be read or compared."""
    if summary.problem:
        yield f"could not be read to the end: {summary.problem}"
    for count, what in (
        (summary.cut, "cut by the snapshot length, compared as far as they go"),
        (summary.short, "cut within their headers, not compared"),
        (summary.malformed, "malformed, not compared"),
        (summary.fragments, "fragments of incomplete or overlapping datagrams, not compared"),
        (summary.passed, "not compared, by rule"),
    ):
        if count:
            yield f"{counted(count, 'frame')}: {what}"
    for link, count in summary.unknown_links.items():
        yield f"{counted(count, 'frame')}: of link type {link}, which is not known"


def verdict(one: Compared) -> Text:
    if one.verdict == "differs":
        text = Text(counted(one.differences, "difference"), "red")
    else:
        text = Text(one.verdict, "green" if one.verdict == "same" else "yellow")
    notes = [one.note] if one.note else []
    notes += [f"{one.unseen:,} bytes not captured"] if one.unseen else []
    notes += [f"{one.before:,} bytes earlier than the other"] if one.before else []
    return text.append("".join(f"; {note}" for note in notes), "yellow")


def place(d: Difference) -> str:
    """Where a difference is."""
    parts = []
    if d.offset is not None:
        parts.append(f"byte {d.offset:,} of the {'stream' if d.connection.protocol == 'tcp' else 'datagram'}")
    if d.seq is not None:
        parts.append(f"sequence number {d.seq}")
        if d.secondary_seq not in (None, d.seq):
            parts[-1] += f" (secondary: {d.secondary_seq})"
    return ", ".join(parts)


def frames(d: Difference) -> str:
    """The number of the frame on either side, as Wireshark counts."""
    parts = [
        f"frame {numbers[0]} of the {name}"
        for name, numbers in (("primary", d.primary_frames), ("secondary", d.secondary_frames))
        if numbers
    ]
    return ", ".join(parts)


def hexdump(d: Difference) -> Text:
    """Both sides' bytes, next to each other; what differs is red, and the first byte that does is pointed at."""
    primary, secondary = bytes.fromhex(d.primary), bytes.fromhex(d.secondary)
    begin = (d.offset or 0) - d.context_offset
    size = max(len(primary), len(secondary))
    lines = [Text(f"  {'':8}  {'primary':32}  secondary", "bold")]
    for at in range(0, size, COLUMN):
        first = at <= d.context_offset < at + COLUMN
        line = Text(f"{'> ' if first else '  '}{begin + at:08x}")
        for ours, theirs in ((primary, secondary), (secondary, primary)):
            line.append("  ")
            line.append_text(half_line(ours, theirs, at))
        lines.append(line)
        if first:
            arrow = " " * (3 * (d.context_offset - at)) + "^^"
            lines.append(Text(f"{'':12}{arrow:34}{arrow}", "bold red"))
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def half_line(ours: bytes, theirs: bytes, at: int) -> Text:
    """One side's bytes of a line, in hexadecimal and as text."""
    codes, characters = Text(), Text()
    for place in range(at, at + COLUMN):
        if place >= len(ours):
            codes.append("   ")
            characters.append(" ")
            continue
        byte = ours[place]
        style = "" if place < len(theirs) and theirs[place] == byte else "red"
        codes.append(f"{byte:02x}", style).append(" ")
        characters.append(chr(byte) if 0x20 <= byte < 0x7F else ".", style)
    return codes.append_text(characters)


def counted(count: int, what: str) -> str:
    return f"{count:,} {plural(count, what)}"


def plural(count: int, what: str) -> str:
    return what if count == 1 else f"{what}s"
