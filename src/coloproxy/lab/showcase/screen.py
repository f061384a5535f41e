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
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=WIDTH)
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
    cpu = found.cpu_seconds_per_gigabyte
    return [
        title + mark + wrong,
        record.rate(found.bits_per_second),
        record.percent(found.of_native),
        count(found.divergences, "–" if found.comparator else ""),
        count(found.checkpoints_asked, ""),
        "" if cpu is None else record.digits(cpu),
    ]


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
    published = report.published
    cost = record.digits(report.checkpoint_cost_ms)
    known = {each.comparator for each in report.measurements}
    sentences = [
        f"Published ({published.date}, QEMU commit {published.commit[:10]}; FTP of 200 MB and 1 GB): under"
        f" {published.packet_below:.0%} of native by packet, {published.sequence:.0%} by sequence number.",
        f"A checkpoint costs {cost} ms here (--checkpoint-cost): nobody can make an ordinary process a copy of another,"
        " so both servers are stopped for as long, and then go on from one place. Servers that were copies would"
        " cut their streams alike for a while; by packet that might need fewer checkpoints.",
        f"Throughput: the median of up to {several(report.runs, 'download')} within {report.budget_seconds:g} s, each"
        " checked by its MD5.",
    ]
    if "colo-compare" in known:
        sentences.append(
            f"QEMU {report.machine.get('qemu', '')} has colo-compare alone, and its CPU alone is given; coloproxy mirrors"
            " and rewrites for it. Its CPU of coloproxy's rows includes that. QEMU does not tell divergences."
        )
    return sentences


def several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
