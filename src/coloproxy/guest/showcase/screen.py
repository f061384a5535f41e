"""The play on a terminal of 80 columns: what both clients got on one line of time, and what happened when."""

import math
from collections.abc import Iterator, Sequence

from coloproxy.guest.showcase.load import Sample
from coloproxy.guest.showcase.picture import MIB
from coloproxy.guest.showcase.play import Story

COLUMNS, NAME = 66, 12  # of the line of time, and in front of it
BARS = " ▁▂▃▄▅▆▇█"
FLOOR = 0.0005  # seconds of a round trip that is drawn as none
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lines(story: Story) -> Iterator[str]:
    """All of it, a line each, with rich's markup."""
    width = (story.end - story.begin) / COLUMNS
    rates = [sum(each.size for each in part) / width / MIB for part in columns(story.download.samples, story, width)]
    trips = [max((each.took for each in part), default=0.0) for part in columns(story.echo.samples, story, width)]
    yield f"{'download':{NAME}}[green]{bars(rates)}[/]"
    yield f"{'round trip':{NAME}}[cyan]{bars([math.log10(max(trip, FLOOR) / FLOOR) for trip in trips])}[/]"
    loud = [moment for moment in story.moments if moment.loud]
    marks = [" "] * COLUMNS
    for letter, moment in zip(LETTERS, loud):
        marks[min(COLUMNS - 1, int(moment.when / width))] = letter
    yield " " * NAME + "[bold]" + "".join(marks) + "[/]"
    yield (
        f"[dim]{'':{NAME}}a column is {width:.2f} s; up to {max(rates):.0f} MiB/s; up to {1000 * max(trips):.0f} ms,"
        " logarithmic[/]"
    )
    letters = iter(LETTERS)
    for moment in story.moments:
        letter = next(letters) if moment.loud else " "
        yield f"[dim]{moment.when:8.3f} s[/] [bold]{letter}[/] {'[bold]' if moment.loud else ''}{moment.what}"


def columns(samples: Sequence[Sample], story: Story, width: float) -> list[list[Sample]]:
    """What came in each column's time."""
    found: list[list[Sample]] = [[] for _ in range(COLUMNS)]
    for sample in samples:
        found[min(COLUMNS - 1, max(0, int((sample.when - story.begin) / width)))].append(sample)
    return found


def bars(values: Sequence[float]) -> str:
    """Bars as high as these are, the highest a whole one; what is more than nothing shows."""
    highest = max(values) or 1.0
    return "".join(BARS[math.ceil(value / highest * (len(BARS) - 1))] for value in values)
