"""The report as a picture: for each load, what is left of native speed."""

from pathlib import Path
from typing import Any

from coloproxy.lab.showcase import record
from coloproxy.lab.showcase.record import TITLES, Measurement, Report, Way

INK, FAINT, GROUND = "#264653", "#7d8a97", "#eef1f3"
COLOURS: dict[Way, str] = {"native": "#adb5bd", "packet": "#d62828", "qemu": "#e9a23b", "coloproxy": "#2a9d8f"}
STYLE: Any = {"font.family": "DejaVu Sans", "text.color": INK, "svg.hashsalt": "coloproxy"}

TITLE = "FTP from two replicas whose outputs are compared"
SUBTITLE = "What is left of the speed of one server alone"
WIDTH, MARGIN = 10.0, 0.3  # inches
HEAD, PANEL, FOOT = 0.85, 2.5, 0.68
LEFT, RIGHT = 0.5, 0.32  # room for names and figures beside a panel's bars, as parts of native speed
THICK = 0.58


def draw(report: Report, files: list[Path]) -> None:
    """Draw it to files, whose names tell the format. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    loads = report.loads()
    rows = (len(loads) + 1) // 2
    height = HEAD + rows * PANEL + FOOT
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(WIDTH, height), facecolor="white")
        figure.text(MARGIN / WIDTH, 1 - 0.46 / height, TITLE, size=16, weight="bold")
        figure.text(MARGIN / WIDTH, 1 - 0.74 / height, SUBTITLE, size=10, color=FAINT)
        width = (WIDTH - 3 * MARGIN) / 2
        for number, measurements in enumerate(loads):
            left = MARGIN + number % 2 * (width + MARGIN)
            bottom = FOOT + (rows - 1 - number // 2) * PANEL
            place = left / WIDTH, bottom / height, width / WIDTH, (PANEL - 0.12) / height
            panel(figure.add_axes(place), measurements, report)
        figure.text(MARGIN / WIDTH, 0.42 / height, "▏", size=10, color=INK, weight="bold")
        figure.text((MARGIN + 0.12) / WIDTH, 0.2 / height, foot(report), size=8.5, color=FAINT, linespacing=1.6)
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(figure)


def panel(axes: Any, measurements: list[Measurement], report: Report) -> None:
    """One load: a bar for each way."""
    count = len(measurements)
    axes.set_axis_off()
    axes.set_xlim(-LEFT, 1 + RIGHT)
    axes.set_ylim(-0.5, count + 0.4)
    axes.text(-LEFT, count, record.load(measurements[0]), size=11.5, weight="bold", va="center")
    for number, found in enumerate(measurements):
        at = count - 1 - number
        name, _, rest = TITLES[found.way].partition(", ")
        axes.text(-LEFT, at + 0.15, name, va="center", size=9.5, weight="bold")
        axes.text(-LEFT, at - 0.19, rest, va="center", size=8.5, color=FAINT)
        axes.barh(at, 1.0, THICK, color=GROUND)
        if found.of_native is None or found.bits_per_second is None:
            axes.text(0.02, at, "not measured", va="center", size=9, color=FAINT)
            continue
        axes.barh(at, min(max(found.of_native, 0.005), 1.0), THICK, color=COLOURS[found.way])
        axes.text(1.04, at + 0.12, record.percent(found.of_native), va="center", size=11, weight="bold")
        speed = record.rate(found.bits_per_second) + ("" if found.whole else " *")
        axes.text(1.04, at - 0.22, speed, va="center", size=8.5, color=FAINT)
        published(axes, at, found, report)


def published(axes: Any, at: float, found: Measurement, report: Report) -> None:
    """Where the bar ended in 2018."""
    values: dict[Way, float] = {"packet": report.published.packet_below, "qemu": report.published.sequence}
    value = values.get(found.way)
    if value is not None:
        axes.vlines(value, at - 0.42, at + 0.42, color=INK, lw=1.6, zorder=3)


def foot(report: Report) -> str:
    """What one must know to read it."""
    published, machine = report.published, report.machine
    below, by_sequence = record.percent(published.packet_below), record.percent(published.sequence)
    qemu = f", QEMU {machine['qemu']}" if "qemu" in machine else ""
    missing = any(not found.whole for found in report.measurements if found.downloads)
    part = f"  * of the part that came in {report.budget_seconds:g} s." if missing else ""
    return (
        f"published in {published.date}: by packet under {below} of native, by sequence number {by_sequence}."
        f" A checkpoint stops both servers for {record.digits(report.checkpoint_cost_ms)} ms.\n"
        f"Client, both servers and the proxy share {machine['cpus']} cores ({machine['cpu']});"
        f" median of up to {report.runs}. coloproxy {machine['coloproxy']}{qemu}.{part}"
    )
