"""Charts as SVG, without a script."""

from collections.abc import Mapping, Sequence
from html import escape

from coloproxy.watch.report.words import duration

WIDTH, HEIGHT = 920, 200
LEFT, BOTTOM, TOP = 46, 26, 16
BINS = 60
SHORTEST_WAIT = 0.000064  # seconds: the first cell
COLOURS = 7  # classes c0 to c6, then `rest`


def over_time(times: Mapping[str, Sequence[float]], length: float, checkpoints: Sequence[float]) -> str:
    """Divergences by reason, in bars along the time; checkpoints as diamonds above."""
    span = max(length, 1e-3)
    names = sorted(times, key=lambda name: -len(times[name]))
    counts = [[0] * BINS for _ in names]
    for row, name in enumerate(names):
        for when in times[name]:
            counts[row][min(BINS - 1, int(when / span * BINS))] += 1
    most = max((sum(column) for column in zip(*counts)), default=1) or 1
    step = (WIDTH - LEFT - 8) / BINS
    high = HEIGHT - BOTTOM - TOP
    parts = [_axis(most), _times(span)]
    for place in range(BINS):
        base = float(HEIGHT - BOTTOM)
        for row, name in enumerate(names):
            count = counts[row][place]
            if count:
                tall = count / most * high
                base -= tall
                title = f"{name}: {count}, after {duration(place / BINS * span)}"
                parts.append(_bar(LEFT + place * step + 0.7, base, step - 1.4, tall, kind(row), title))
    for when in checkpoints:
        x = LEFT + min(1.0, when / span) * (WIDTH - LEFT - 8)
        title = f"<title>checkpoint, after {duration(when)}</title>"
        parts.append(f'<path class="checkpoint" d="M{x:.1f} 1 l4.5 4.5 l-4.5 4.5 l-4.5 -4.5 z">{title}</path>')
    return _svg(parts, "Divergences over time, by reason")


def latency(waits: Sequence[int], at_once: int) -> str:
    """How many frames were held for how long."""
    counts = [at_once, *waits]
    last = max((place for place, count in enumerate(counts) if count), default=0)
    counts = counts[: max(last + 1, 6)]
    most, step = max(counts) or 1, (WIDTH - LEFT - 8) / len(counts)
    parts = [_axis(most)]
    for place, count in enumerate(counts):
        bound = SHORTEST_WAIT * 2 ** (place - 1)
        label = "at once" if place == 0 else f"≤ {duration(bound)}" if place < len(waits) else "longer"
        x, tall = LEFT + place * step, count / most * (HEIGHT - BOTTOM - TOP)
        parts.append(_bar(x + 2, HEIGHT - BOTTOM - tall, step - 4, tall, "flow", f"{label}: {count:,} frames"))
        if len(counts) <= 12 or place % 2 == 0:
            parts.append(f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    return _svg(parts, "For how long frames were held")


def kind(row: int) -> str:
    """The class of a reason, by rank."""
    return f"c{row}" if row < COLOURS else "rest"


def _bar(x: float, y: float, wide: float, tall: float, name: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{max(tall, 0.0):.1f}"'
    return f'<rect class="{name}" {place} rx="1.5"><title>{escape(title)}</title></rect>'


def _axis(most: int) -> str:
    high = HEIGHT - BOTTOM - TOP
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - share * high
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if share != 0.5 or most >= 4:
            lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:,.0f}</text>')
    return "".join(lines)


def _times(span: float) -> str:
    texts = []
    for part in range(6):
        x = LEFT + part / 5 * (WIDTH - LEFT - 8)
        anchor = "start" if part == 0 else "end" if part == 5 else "middle"
        texts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{duration(span * part / 5)}</text>')
    return "".join(texts)


def _svg(parts: Sequence[str], title: str) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"
