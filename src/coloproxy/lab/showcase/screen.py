"""The report on a terminal of 80 columns: tables, bars, and what must be said to be honest."""

from rich import box
from rich.console import Console
from rich.table import Table

from coloproxy.lab.showcase import record
from coloproxy.lab.showcase.record import TITLES, Measurement, Report, Way

WIDTH = 80
BAR = 40  # columns of the bar of native speed
NAME = 26
EIGHTHS = " ▏▎▍▌▋▊▉"
STYLES: dict[Way, str] = {"native": "bright_black", "packet": "red", "qemu": "yellow", "coloproxy": "green"}
MARKS = "*†‡§¶"


def show(report: Report, console: Console) -> None:
    """All of it."""
    notes: list[str] = []
    for measurements in report.loads():
        console.print(f"\n[bold]FTP get, {record.load(measurements[0])}[/]")
        console.print(table(measurements, notes))
    if notes:
        console.print()
    for mark, note in zip(MARKS, notes):
        console.print(f"[bright_black]{mark} {note}[/]")
    for measurements in report.loads():
        console.print(f"\n[bold]Of native speed, {record.load(measurements[0])}[/]")
        for measurement in measurements:
            console.print(bar(measurement), soft_wrap=True)
    console.print()
    for sentence in footnotes(report):
        console.print(f"[bright_black]{sentence}[/]")


# The table


def table(measurements: list[Measurement], notes: list[str]) -> Table:
    """One load; what must be said of a row is added to the notes."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), width=WIDTH)
    made.add_column("compared", no_wrap=True, ratio=1)
    heads = ("throughput", "of native", "diver-\ngences", "check-\npoints", "CPU s\nper GB")
    for head in heads:
        made.add_column(head, justify="right", no_wrap=True, vertical="bottom")
    for each in measurements:
        made.add_row(*row(each, notes), style="bold" if each.way == "coloproxy" else None)
    return made


def row(found: Measurement, notes: list[str]) -> list[str]:
    """Its cells."""
    title = f"[{STYLES[found.way]}]■[/] {TITLES[found.way]}"
    if found.missing is not None or found.bits_per_second is None or found.of_native is None:
        return [f"{title}{marked(found.missing or 'nothing came', notes)}", *["–"] * 5]
    mark = "" if found.whole else marked(f"measured on {part(found)}", notes)
    wrong = "" if found.right else " [bold red]WRONG[/]"
    return [
        title + mark + wrong,
        record.rate(found.bits_per_second),
        record.percent(found.of_native),
        count(found.divergences, "–" if found.comparator else ""),
        count(found.checkpoints_asked, ""),
        cpu(found),
    ]


def cpu(found: Measurement) -> str:
    """Of whoever compares, and of coloproxy's elements around another's comparator."""
    parts = [found.cpu_seconds, found.elements_cpu_seconds] if found.bytes else []
    return "+".join(f"{1e9 * seconds / found.bytes:.2f}" for seconds in parts if seconds is not None)


def marked(note: str, notes: list[str]) -> str:
    """The mark of a note, a new one unless it has been made."""
    if note not in notes:
        notes.append(note)
    return f" {MARKS[notes.index(note) % len(MARKS)]}"


def part(found: Measurement) -> str:
    """What came of a file that did not come whole."""
    last = found.downloads[-1]
    return f"the first {record.size(last.bytes)} ({last.bytes / found.size:.0%}), all that came in {last.seconds:.0f} s"


def count(number: int | None, otherwise: str) -> str:
    return otherwise if number is None else f"{number:,}"


# The chart


def bar(found: Measurement) -> str:
    """A line of markup: name, bar, percentage."""
    name = f"{TITLES[found.way]:{NAME}}"
    if found.of_native is None:
        return f"{name}[bright_black]not measured[/]"
    eighths = max(1, round(min(found.of_native, 1.0) * BAR * 8))
    blocks = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return f"{name}[{STYLES[found.way]}]{blocks}[/] {record.percent(found.of_native)}"


# The small print


def footnotes(report: Report) -> list[str]:
    """What the figures are, and what they are not."""
    published, machine = report.published, report.machine
    cost = record.digits(report.checkpoint_cost_ms)
    below, by_sequence = record.percent(published.packet_below), record.percent(published.sequence)
    sentences = [
        f"Published in {published.date}, for FTP of 200 MB and 1 GB (QEMU, commit {published.commit[:10]}): by packet"
        f" under {below} of native, by sequence number {by_sequence}.",
        f"A checkpoint costs {cost} ms here (--checkpoint-cost). It is pretended: no ordinary process can be made a"
        " copy of another, so both servers are stopped for so long, and compared again from one place on. Real copies"
        " would send equal packets for a little longer.",
        f"Throughput is the median of up to {several(report.runs, 'download')} within {report.budget_seconds:g} s, each"
        f" checked by its MD5. Client, servers and proxy share {several(int(machine['cpus']), 'core')}.",
    ]
    if any(each.of_native is not None and each.of_native > 1.004 for each in report.measurements):
        sentences.append(
            "More than native: the rewriter keeps TCP's timestamps away, and without them a frame has room for 12 bytes"
            " more."
        )
    if any(each.elements_cpu_seconds is not None for each in report.measurements):
        sentences.append(
            f"QEMU ({machine['qemu']}): CPU of colo-compare, and of coloproxy, which mirrors and rewrites for it. It"
            " does not say why it asks for checkpoints."
        )
    return sentences


def several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
