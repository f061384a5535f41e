"""The demonstration as a picture: what a newcomer should see in one look."""

from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch, FancyBboxPatch, Rectangle

from demo.story import Scene, Story, scene
from figures import PROXIES, Result
from report import COLOURS, LABELS, number

matplotlib.use("Agg")

TITLE = "The same bytes, cut differently, leave. One byte changed is found, and held back."
INK, FAINT = "#264653", "#8d99a6"
PRIMARY, SECONDARY = "#457b9d", "#b08968"
RELEASED, HELD, ALARM = "#2a9d8f", "#e9ecef", "#d62828"


def draw(story: Story, file: Path) -> None:
    """Draw a story to a PNG file."""
    with pyplot.rc_context({"font.family": "DejaVu Sans", "text.color": INK, "axes.labelcolor": INK}):
        figure = pyplot.figure(figsize=(12, 7.4), facecolor="white")
        figure.text(0.03, 0.94, TITLE, size=17, weight="bold")
        figure.text(0.03, 0.898, subtitle(story), size=10.5, color=FAINT)
        whole, close = figure.add_axes((0.09, 0.81, 0.88, 0.04)), figure.add_axes((0.09, 0.42, 0.88, 0.34))
        view = scene(story)
        draw_whole(whole, story)
        draw_scene(close, story, view)
        for end, place in ((0, view.begin), (1, view.end)):
            figure.add_artist(
                ConnectionPatch(
                    (place, 0), (end, 1), coordsA="data", coordsB="axes fraction", axesA=whole, axesB=close,
                    color=FAINT, lw=0.7, ls=":",
                )
            )  # fmt: skip
        draw_checkpoints(figure.add_axes((0.12, 0.07, 0.27, 0.25)), story)
        draw_costs(figure.add_axes((0.55, 0.07, 0.42, 0.25)), story.costs)
        figure.savefig(file, dpi=150)
        pyplot.close(figure)


def subtitle(story: Story) -> str:
    """What was done, in a line."""
    return (
        f"A real TCP stream of {story.length:,} bytes: as captured, in {len(story.primary):,} segments (primary),"
        f" and cut anew, in {len(story.secondary):,} (secondary)."
    )


def bare(axes: Axes) -> None:
    """No frame, no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_whole(axes: Axes, story: Story) -> None:
    """The stream from its first byte to its last, and how much of it had left."""
    bare(axes)
    axes.set_xlim(0, story.length)
    axes.set_ylim(0, 1)
    axes.add_patch(Rectangle((0, 0), story.length, 1, color=HELD, lw=0))
    axes.add_patch(Rectangle((0, 0), story.stop.place, 1, color=RELEASED, lw=0))
    axes.axvline(story.change.place, color=ALARM, lw=2)
    share = 100 * story.stop.place / story.length
    axes.text(story.stop.place / 2, 0.45, f"{share:.1f} % released", ha="center", va="center", color="white", size=10)
    axes.text(-0.012, 0.45, "whole\nstream", transform=axes.transAxes, ha="right", va="center", size=9.5)


def draw_scene(axes: Axes, story: Story, view: Scene) -> None:
    """Both replicas' segments around the changed byte, and between them what had left for the client."""
    bare(axes)
    axes.set_xlim(view.begin, view.end)
    axes.set_ylim(-0.75, 3.35)
    rows = ((2.2, "primary\nsends", view.primary, PRIMARY), (0.0, "secondary\nsends", view.secondary, SECONDARY))
    for bottom, name, segments, colour in rows:
        axes.text(-0.012, bottom + 0.35, name, transform=axes.get_yaxis_transform(), ha="right", va="center", size=10.5)
        for begin, end in segments:
            block(axes, begin, end, bottom, colour, wrong=bottom == 0 and begin <= story.change.place < end)
    axes.text(-0.012, 1.45, "client\ngets", transform=axes.get_yaxis_transform(), ha="right", va="center", size=10.5)
    axes.add_patch(Rectangle((view.begin, 1.15), view.end - view.begin, 0.6, facecolor=HELD, lw=0))
    axes.add_patch(Rectangle((view.begin, 1.15), view.stop - view.begin, 0.6, facecolor=RELEASED, lw=0))
    middle = (view.begin + view.stop) / 2
    axes.text(middle, 1.44, "released", ha="center", va="center", color="white", size=11, weight="bold")
    axes.text((view.stop + view.end) / 2 + (view.end - view.begin) * 0.03, 1.44, "held until a checkpoint",
              ha="center", va="center", color=FAINT, size=11)  # fmt: skip
    axes.vlines(story.change.place, -0.1, 3.0, color=ALARM, lw=1.6, zorder=5)
    old, new = chr(story.change.old), chr(story.change.new)
    axes.annotate(
        f"byte {story.change.place:,}:  the primary says “{old}”, the secondary “{new}”",
        (story.change.place, -0.1), (0, -14), textcoords="offset points",
        ha="center", va="top", color=ALARM, size=11.5, weight="bold",
    )  # fmt: skip


def block(axes: Axes, begin: int, end: int, bottom: float, colour: str, wrong: bool) -> None:
    """One segment: a box with its length in it, where there is room."""
    low, high = axes.get_xlim()
    gap = (high - low) * 0.0012
    axes.add_patch(
        FancyBboxPatch(
            (begin + gap, bottom), end - begin - 2 * gap, 0.7, boxstyle="square,pad=0",
            facecolor=colour, edgecolor=ALARM if wrong else "white", lw=1.8 if wrong else 0,
        )
    )  # fmt: skip
    if end - begin > (high - low) * 0.035:
        axes.text(
            (begin + end) / 2, bottom + 0.33, f"{end - begin:,}", ha="center", va="center", color="white", size=9,
            zorder=6, bbox={"facecolor": colour, "lw": 0, "pad": 1.5},
        )  # fmt: skip


def draw_checkpoints(axes: Axes, story: Story) -> None:
    """How often the two methods would have halted both replicas, over equal streams."""
    bare(axes)
    axes.set_title("Checkpoints asked for while both send the same", loc="left", size=11, color=INK, weight="bold")
    values = ((1, "by packet\n(before 2018)", story.packet.checkpoints, ALARM),
              (0, "by sequence\nnumber", story.same.checkpoints, RELEASED))  # fmt: skip
    largest = max(value for *_, value, _ in values) or 1
    axes.set_xlim(0, largest * 1.25)
    axes.set_ylim(-0.6, 1.6)
    for height, name, value, colour in values:
        axes.barh(height, value, 0.55, color=colour)
        axes.text(value + largest * 0.03, height, f"{value:,}", va="center", size=15, weight="bold", color=colour)
        axes.text(-0.03, height, name, transform=axes.get_yaxis_transform(), ha="right", va="center", size=9.5)
    axes.axvline(0, color=FAINT, lw=0.8)


def draw_costs(axes: Axes, result: Result | None) -> None:
    """CPU a frame, by workload, for each proxy."""
    axes.set_title("CPU seconds per million frames", loc="left", size=11, color=INK, weight="bold")
    if result is None:
        bare(axes)
        axes.text(0.5, 0.5, "not measured; see make bench", ha="center", transform=axes.transAxes, color=FAINT)
        return
    workloads = list(dict.fromkeys(item.workload for item in result.figures))
    titles = {item.workload: item.title for item in result.figures}
    present = [proxy for proxy in PROXIES if any(item.proxy == proxy for item in result.figures)]
    height = 0.8 / len(present)
    for item in result.figures:
        place = len(workloads) - 1 - workloads.index(item.workload)
        at = place + (len(present) / 2 - 0.5 - present.index(item.proxy)) * height
        label = LABELS[item.proxy] if item.workload == workloads[0] else None
        axes.barh(at, item.cpu_per_million, height * 0.9, color=COLOURS[item.proxy], label=label)
        axes.annotate(number(item.cpu_per_million), (item.cpu_per_million, at), (4, 0), textcoords="offset points",
                      va="center", size=8)  # fmt: skip
    names = [titles[workload].replace(", ", ",\n", 1) for workload in reversed(workloads)]
    axes.set_yticks(range(len(workloads)), names, size=9)
    axes.set_xticks([])
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(FAINT)
    axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.01), ncols=len(present))
    axes.set_title("less is better; a quick run", loc="right", size=9, color=FAINT)
