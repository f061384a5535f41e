"""The play as a picture: what the two clients got, over time, and what happened meanwhile."""

from pathlib import Path
from typing import Any

from coloproxy.guest.showcase.load import Sample
from coloproxy.guest.showcase.play import Story

INK, FAINT, LOUD, LINE = "#264653", "#7d8a97", "#d62828", "#2a9d8f"
STYLE: Any = {"font.family": "DejaVu Sans", "text.color": INK, "svg.hashsalt": "coloproxy"}
BIN = 0.25  # seconds of the download that one point stands for
MIB = 1 << 20


def draw(story: Story, file: Path) -> None:
    """Draw it. Raises ImportError without matplotlib, OSError if the file cannot be written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(10, 5.4), layout="constrained")
        figure.suptitle("A guest whose host is switched off under load", size=15, weight="bold")
        times, rates = binned(story.download.samples, story.begin, story.end)
        above.fill_between(times, rates, step="post", color=LINE, alpha=0.8)
        above.set_ylabel("download, MiB/s")
        below.plot(
            [sample.when - story.begin for sample in story.echo.samples],
            [1000 * sample.took for sample in story.echo.samples], ".", ms=2.5, color=LINE,
        )  # fmt: skip
        below.set_yscale("log")
        below.set_ylabel("round trip, ms")
        below.set_xlabel("seconds")
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
            for moment in story.moments:
                if moment.loud:
                    axes.axvline(moment.when, color=LOUD if "off" in moment.what else FAINT, lw=1)
        top = above.get_ylim()[1]
        for number, moment in enumerate(moment for moment in story.moments if moment.loud):
            text, height = moment.what.partition(":")[0], top * (0.5 if number % 2 else 1.0)
            above.text(moment.when + 0.1, height, text, rotation=90, va="top", size=7.5, color=INK)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(figure)


def binned(samples: list[Sample], begin: float, end: float) -> tuple[list[float], list[float]]:
    """Seconds, and mebibytes a second in the time from each to the next."""
    count = max(1, int((end - begin) / BIN))
    sizes = [0] * count
    for sample in samples:
        sizes[min(count - 1, max(0, int((sample.when - begin) / BIN)))] += sample.size
    return [number * BIN for number in range(count)], [size / BIN / MIB for size in sizes]
