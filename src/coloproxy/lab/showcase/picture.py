"""The report as a picture: for each load, what is left of native speed."""

from pathlib import Path
from typing import Any

from coloproxy.lab.showcase import record
from coloproxy.lab.showcase.record import TITLES, Measurement, Report, Way

INK, FAINT, GROUND = "#264653", "#8d99a6", "#eef1f3"
COLOURS: dict[Way, str] = {"native": "#adb5bd", "packet": "#d62828", "qemu": "#e9a23b", "coloproxy": "#2a9d8f"}
STYLE = {"font.family": "DejaVu Sans", "text.color": INK, "svg.hashsalt": "coloproxy"}

WIDTH, HEAD, ROW, FOOT = 10.0, 0.95, 2.35, 0.55  # inches
NAMES = 0.38  # of a panel's width, left of its bars
ROOM = 1.42  # of native speed: bars, and the figures behind them


def draw(report: Report, files: list[Path]) -> None:
    """Draw it to files, whose names tell the format. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    loads = report.loads()
    rows = (len(loads) + 1) // 2
    height = HEAD + rows * ROW + FOOT
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(WIDTH, height), facecolor="white")
        figure.text(0.025, 1 - 0.42 / height, "FTP from two replicas whose outputs are compared", size=15, weight="bold")
        figure.text(0.025, 1 - 0.7 / height, "Throughput, and its share of what one server has without any comparison",
                    size=10, color=FAINT)  # fmt: skip
        for number, measurements in enumerate(loads):
            left = 0.025 + 0.49 * (number % 2)
            bottom = (FOOT + (rows - 1 - number // 2) * ROW) / height
            panel(figure.add_axes((left, bottom, 0.46, (ROW - 0.3) / height)), measurements, report)
        figure.text(0.025, 0.16 / height, foot(report), size=8.5, color=FAINT, linespacing=1.5)
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(figure)


def panel(axes: Any, measurements: list[Measurement], report: Report) -> None:
    """One load: a bar for each way."""
    axes.set_axis_off()
    axes.set_xlim(-ROOM * NAMES / (1 - NAMES), ROOM)
    axes.set_ylim(-0.6, len(measurements) - 0.1)
    axes.text(axes.get_xlim()[0], len(measurements) - 0.3, record.load(measurements[0]), size=11, weight="bold", va="center")
    for number, found in enumerate(measurements):
        at = len(measurements) - 1.15 - number
        strong = {"weight": "bold"} if found.way == "coloproxy" else {}
        axes.text(-0.03, at, TITLES[found.way].replace(", ", ",\n"), ha="right", va="center", size=9, linespacing=1.15,
                  **strong)  # fmt: skip
        axes.barh(at, 1.0, 0.62, color=GROUND)
        if found.of_native is None or found.bits_per_second is None:
            axes.text(0.02, at, "not measured", va="center", size=9, color=FAINT)
            continue
        axes.barh(at, max(found.of_native, 0.004), 0.62, color=COLOURS[found.way])
        share = "" if found.way == "native" else f"{record.percent(found.of_native)}  "
        text = axes.text(1.03, at, f"{record.percent(found.of_native)}", va="center", size=11, color=COLOURS[found.way],
                         weight="bold")  # fmt: skip
        del share, text
        axes.text(1.03, at - 0.0, "", size=8)
        published(axes, at, found, report)


def published(axes: Any, at: float, found: Measurement, report: Report) -> None:
    """Where the bar ended in 2018."""
    value = {"packet": report.published.packet_below, "qemu": report.published.sequence}.get(found.way)
    if value is not None:
        axes.vlines(value, at - 0.36, at + 0.36, color=INK, lw=1.4)


def foot(report: Report) -> str:
    """What one must know to read it."""
    return "x"
