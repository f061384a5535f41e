"""The demonstration on a terminal of 80 columns, or in a file."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from demo.feed import WINDOW
from demo.story import Change, Scene, Story, scene
from figures import PROXIES, Figures, Result
from report import number

WIDTH = 62  # columns that a stream is drawn in
INDENT = 4
LABEL = 12
ROW = 16  # bytes in a row of a dump
SHOWN = 48  # bytes dumped of each side
NAMES = {"coloproxy": "coloproxy", "qemu": "QEMU", "relay": "relay"}
STYLES = {"coloproxy": "green", "qemu": "red", "relay": "bright_black"}
BAR = 16  # columns of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"


def heading(console: Console, act: int, text: str) -> None:
    """An act begins."""
    console.print(f"\n[bold cyan]{act}[/]  [bold]{text}[/]")


def fact(console: Console, label: str, text: str) -> None:
    """One line, or a few, of an act."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=LABEL, style="bright_black")
    table.add_column()
    table.add_row(label, text)
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))


def explanation(console: Console, event: dict[str, Any], change: Change) -> None:
    """The comparator's own explanation: which connection, which byte, what each side says there."""
    ends = event["connection"]
    fact(console, "reason", f"{event['reason']}: {event['detail']}")
    fact(
        console,
        "connection",
        f"{ends['protocol']} {ends['source']}:{ends['source_port']} > {ends['destination']}:{ends['destination_port']}",
    )
    fact(console, "byte", f"{event['stream_offset']:,} of the stream, sequence number {event['seq']}")
    console.print()
    sides = [(side, bytes.fromhex(event[side])) for side in ("primary", "secondary")]
    shown = min(SHOWN, *(len(data) for _, data in sides))
    for row in range(0, shown, ROW):
        for side, data in sides:
            console.print(dump_row(side, data[row : row + ROW], event["context_offset"] - row), soft_wrap=True)
        if 0 <= event["context_offset"] - row < ROW:
            at = INDENT + LABEL - 2 + 3 * (event["context_offset"] - row)
            console.print(f"{' ' * at}[bold red]^^ {change.old:#04x} or {change.new:#04x}?[/]")
        if row + ROW < shown:
            console.print()


def dump_row(side: str, data: bytes, marked: int) -> str:
    """Up to 16 bytes in hexadecimal and as text, as markup; the byte at index `marked` stands out."""
    pairs = [f"{byte:02x}" for byte in data]
    signs = [escape(chr(byte)) if 32 <= byte < 127 else "." for byte in data]
    if 0 <= marked < len(data):
        for cells in (pairs, signs):
            cells[marked] = f"[bold red reverse]{cells[marked]}[/]"
    gap = " " * (3 * (ROW - len(data)))
    return f"{' ' * INDENT}[bright_black]{side:{LABEL - 2}}[/]{' '.join(pairs)}{gap}  {''.join(signs)}"


def stream_picture(console: Console, story: Story) -> None:
    """The whole stream, and the part around the changed byte: both replicas' cuts, and what had left."""
    view = scene(story)
    whole = round(WIDTH * story.stop.place / story.length)
    share = f"{100 * story.stop.place / story.length:.0f} %"
    at = column(view, story.change.place)
    edge = column(view, view.stop)
    rows = (
        ("whole stream", f"[green]{'█' * whole}[/][red]{'░' * (WIDTH - whole)}[/]"),
        ("", ""),
        ("primary", cuts(view, view.primary)),
        ("released", f"[green]{'█' * edge}[/][red]{'░' * (WIDTH - edge)}[/]"),
        ("secondary", marked(cuts(view, view.secondary), at)),
        ("", pointer(f"byte {story.change.place:,}", at)),
    )
    for label, row in rows:
        console.print(f"{' ' * INDENT}[bright_black]{label:{LABEL + 1}}[/]{row}", soft_wrap=True)
    legend = f"[green]█[/] released ({share} of the stream)   [red]░[/] held   ├ a segment begins"
    console.print(Padding(legend, (0, 0, 0, INDENT + LABEL + 1)))


def column(view: Scene, place: int) -> int:
    """Where a place of the stream is drawn."""
    return min((place - view.begin) * WIDTH // (view.end - view.begin), WIDTH - 1)


def cuts(view: Scene, segments: list[tuple[int, int]]) -> str:
    """Segments as a line with a mark wherever one begins."""
    line = ["─"] * WIDTH
    for begin, _ in segments:
        line[column(view, begin)] = "├"
    return "".join(line)


def marked(line: str, at: int) -> str:
    """The line with a cross in it, as markup."""
    return f"{line[:at]}[bold red]✗[/]{line[at + 1 :]}"


def pointer(text: str, at: int) -> str:
    """The text beside an arrow to this column."""
    if at + 2 + len(text) <= WIDTH:
        return f"{' ' * at}[bold red]▲ {text}[/]"
    return f"{' ' * (at - len(text) - 1)}[bold red]{text} ▲[/]"


def checkpoints(console: Console, by_packet: int, by_place: int) -> None:
    """How often each method would have stopped the replicas over the same, equal streams."""
    fact(console, "by packet", f"[bold red]{by_packet}[/] checkpoints: one for each window of {WINDOW // 1000} kB")
    fact(console, "by sequence", f"[bold green]{by_place}[/]")


def costs(console: Console, result: Result) -> None:
    """What each proxy needs for a frame, as numbers and bars."""
    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, 1, 0, 0))
    table.add_column("", width=23)
    table.add_column("", width=9)
    table.add_column("frames/s", justify="right", width=10)
    table.add_column("CPU s per million frames", no_wrap=True)
    largest = max(item.cpu_per_million for item in result.figures)
    for workload in dict.fromkeys(item.workload for item in result.figures):
        items = [item for item in result.figures if item.workload == workload]
        items.sort(key=lambda item: PROXIES.index(item.proxy))
        table.add_row(
            f"{workload} {items[0].title}",
            "\n".join(f"[{STYLES[item.proxy]}]{NAMES[item.proxy]}[/]" for item in items),
            "\n".join(number(item.frames_per_second) for item in items),
            "\n".join(cost(item, items[0], largest) for item in items),
        )
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False))


def cost(item: Figures, ours: Figures, largest: float) -> str:
    """One bar, its value in front of it, and behind QEMU's how many times ours it is."""
    text = f"{number(item.cpu_per_million):>6} [{STYLES[item.proxy]}]{bar(item.cpu_per_million / largest)}[/]"
    if item.proxy != "qemu" or ours.proxy != "coloproxy":
        return text
    return f"{text} {item.cpu_per_million / ours.cpu_per_million:.1f} ×"


def bar(share: float) -> str:
    """A bar of this share of the longest, to an eighth of a column."""
    eighths = max(round(share * BAR * 8), 1)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
