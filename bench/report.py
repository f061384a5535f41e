"""Show what the benchmark measured: tables for 80 columns, a terminal plot and a picture file."""

import re
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from figures import MEASURES, PROXIES, WORKLOADS, Figures, Ratio, Result

LABELS = {"coloproxy": "coloproxy", "qemu": "QEMU colo-compare", "relay": "relay (compares nothing)"}
COLOURS = {"coloproxy": "#2a9d8f", "qemu": "#e76f51", "relay": "#adb5bd"}


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"


def table(figures: list[Figures]) -> Table:
    """One line for each workload and proxy."""
    result = Table(box=box.SIMPLE_HEAD, title="Medians", title_justify="left", pad_edge=False)
    result.add_column("", no_wrap=True)
    result.add_column("proxy", no_wrap=True)
    for head in ("frames/s", "MB/s", "CPU s/M frames", "peak MiB", "disordered"):
        result.add_column(head, justify="right", no_wrap=True)
    last = ""
    for item in figures:
        if item.workload != last:
            result.add_section()
        result.add_row(
            item.workload if item.workload != last else "",
            item.proxy,
            number(item.frames_per_second),
            number(item.megabytes_per_second),
            number(item.cpu_per_million),
            number(item.peak_rss / 2**20),
            number(item.out_of_order) if item.out_of_order else "0",
            style="bold" if item.proxy == "coloproxy" else None,
        )
        last = item.workload
    return result


def ratio_table(ratios: list[Ratio]) -> Table:
    """What is asked for, and what was measured."""
    result = Table(box=box.SIMPLE_HEAD, title="Against the others", title_justify="left", pad_edge=False)
    for head in ("ratio", ""):
        result.add_column(head, no_wrap=True)
    for head in ("measured", "wanted", ""):
        result.add_column(head, justify="right", no_wrap=True)
    last = None
    for item in ratios:
        if item.measure != last:
            result.add_section()
        name = MEASURES[item.measure] if item.measure != last else ""
        verdict = ("[green]met[/]" if item.met else "[red]missed[/]") if item.wanted else ""
        result.add_row(name, item.workload, number(item.value), item.wanted, verdict)
        last = item.measure
    return result


def show(result: Result, console: Console) -> None:
    """Everything, for a person at a terminal."""
    facts = result.machine
    console.print(f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}", highlight=False)
    console.print(f"{facts['qemu']}, coloproxy {facts['coloproxy']}", highlight=False)
    titles = {item.workload: item.title for item in result.figures}
    for workload, title in titles.items():
        console.print(f"  {workload}  {title}", highlight=False)
    console.print(table(result.figures))
    if result.ratios:
        console.print(ratio_table(result.ratios))


def series(figures: list[Figures]) -> tuple[list[str], dict[str, list[float]]]:
    """CPU seconds a million frames: the workloads shown, and for each proxy one value a workload (0: not measured)."""
    shown = [name for name in WORKLOADS if any(item.workload == name for item in figures)]
    values = {(item.workload, item.proxy): item.cpu_per_million for item in figures}
    present = [name for name in PROXIES if any(item.proxy == name for item in figures)]
    return shown, {proxy: [values.get((workload, proxy), 0.0) for workload in shown] for proxy in present}


def terminal_plot(figures: list[Figures], width: int = 78) -> str:
    """The CPU cost of a small frame as bars, in plain characters; W5's large frames would dwarf them."""
    import plotext  # type: ignore[import-untyped]

    shown, values = series([item for item in figures if item.workload != "W5"])
    if not shown:
        return ""
    markers = dict(zip(values, "█▒░", strict=False))
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, 16)
    figure.draw(figure.bar(shown, list(values.values()), marker=list(markers.values())))
    figure.title("CPU seconds per million frames: " + "   ".join(f"{mark} {name}" for name, mark in markers.items()))
    return re.sub(r"\x1b\[[0-9;]*m", "", str(figure.build()))


def picture(result: Result, path: Path) -> None:
    """CPU seconds a million frames and frames a second, both on logarithmic scales, as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown, costs = series(result.figures)
    rates = {(item.workload, item.proxy): item.frames_per_second for item in result.figures}
    canvas, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(costs)
    dearer = {item.workload: item.value for item in result.ratios if item.measure == "cpu_vs_qemu"}
    for place, (proxy, cost) in enumerate(costs.items()):
        at = [index + (place - (len(costs) - 1) / 2) * width for index in range(len(shown))]
        look = {"width": width, "label": LABELS[proxy], "color": COLOURS[proxy]}
        left.bar(at, [value or float("nan") for value in cost], **look)
        if proxy == "qemu":
            for x, workload, value in zip(at, shown, cost, strict=True):
                if workload in dearer:
                    left.text(x, value * 1.08, f"{dearer[workload]:.1f}×", ha="center", fontsize=8)
        right.bar(at, [rates.get((workload, proxy), float("nan")) for workload in shown], **look)
    for axes, title in ((left, "CPU seconds per million frames (less is better)"), (right, "frames per second")):
        axes.set_yscale("log")
        axes.set_xticks(range(len(shown)), shown)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    left.legend(fontsize=8, frameon=False)
    canvas.savefig(path, dpi=150)
    pyplot.close(canvas)


def markdown(result: Result) -> str:
    """The two tables for the documentation."""
    lines = [
        "| | proxy | frames/s | MB/s | CPU s per million frames | (range) | peak MiB |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for item in result.figures:
        low, high = item.cpu_per_million_range
        cells = (
            item.workload,
            item.proxy,
            number(item.frames_per_second),
            number(item.megabytes_per_second),
            number(item.cpu_per_million),
            f"{number(low)} – {number(high)}",
            number(item.peak_rss / 2**20),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| ratio | | measured | wanted |", "|---|---|--:|--:|"]
    for ratio in result.ratios:
        lines.append(
            f"| {MEASURES[ratio.measure]} | {ratio.workload} | {number(ratio.value)} | {ratio.wanted or '–'} |"
        )
    return "\n".join(lines) + "\n"
