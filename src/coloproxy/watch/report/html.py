"""A story as one HTML file: no script, nothing loaded from elsewhere, all text escaped."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from coloproxy import __version__
from coloproxy.watch.explanations import explanation
from coloproxy.watch.report import charts
from coloproxy.watch.report.story import Item, Story
from coloproxy.watch.report.words import counted, duration

COLUMN = 8  # bytes of each side in a line
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a report has no script, whatever bytes are in it


def page(story: Story) -> str:
    """The file."""
    css = files("coloproxy.watch.report").joinpath("report.css").read_text()
    body = "\n".join(part for part in _parts(story) if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(story.title)}</title>
<style>
{css}</style>
</head>
<body>
<main>
{body}
</main>
<footer>coloproxy {__version__}</footer>
</body>
</html>
"""


def _parts(story: Story) -> Iterator[str]:
    yield f'<header class="{"good" if story.good else "bad"}"><p class="kind">{escape(story.title)}</p>'
    yield f"<h1>{escape(story.verdict)}</h1><p class='source'>{escape(story.source)}</p></header>"
    yield '<div class="figures">' + "".join(
        f"<div><h2>{escape(each.name)}</h2><p class='value'>{escape(each.value)}</p><p>{escape(each.note)}</p></div>"
        for each in story.figures
    ) + "</div>"
    yield _list("What was read", [f"{name}: {value}" for name, value in story.facts])
    yield _list("To be noted", story.warnings, "warned")
    yield _reasons(story)
    yield _latency(story)
    yield _connections(story)
    yield _items(story)
    if story.again:
        commands = "\n".join(story.again)
        yield f'<section><h2>The same again</h2><pre class="command">{escape(commands)}</pre></section>'


def _list(title: str, lines: list[str], kind: str = "") -> str:
    if not lines:
        return ""
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="{kind}"><h2>{title}</h2><ul>{listed}</ul></section>'


def _reasons(story: Story) -> str:
    if not story.reasons:
        return ""
    most = max(story.reasons.values())
    rows = []
    for row, (reason, count) in enumerate(story.reasons.most_common()):
        bar = f'<rect class="{charts.kind(row)}" width="{max(1.0, 100 * count / most):.1f}" height="10" rx="1.5"/>'
        meter = f'<svg class="meter" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{bar}</svg>'
        rows.append(
            f"<tr><th scope='row'><code>{escape(reason)}</code></th><td class='number'>{count:,}</td><td>{meter}</td>"
            f"<td>{prose(explanation_of(reason))}</td></tr>"
        )
    drawn = _wide(charts.over_time(story.times, story.length, story.checkpoints)) if story.times else ""
    key = '<p class="key">◆ a checkpoint; the colours are those of the table</p>' if story.times else ""
    return f'<section><h2>By reason</h2>{drawn}{key}<table class="reasons">{"".join(rows)}</table></section>'


def explanation_of(reason: str) -> str:
    return explanation(reason).short  # type: ignore[arg-type]


def _latency(story: Story) -> str:
    frames = sum(story.waits) + story.at_once if story.waits is not None else 0
    if story.waits is None or not frames:
        return ""
    mean = duration(story.waited / frames)
    text = f"{counted(frames, 'frame')} of the primary, held for {mean} on average; each bar those between two bounds."
    drawn = _wide(charts.latency(story.waits, story.at_once))
    return f"<section><h2>Release latency</h2>{drawn}<p>{text}</p></section>"


def _wide(drawn: str) -> str:
    """A chart, which keeps its size where there is no room for it, and is moved to and fro there."""
    return f'<div class="wide">{drawn}</div>'


def _connections(story: Story) -> str:
    if not story.connections:
        return ""
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(each.name)}</code></th><td class='number'>{each.count:,}</td>"
        f"<td>{escape(', '.join(f'{reason} {count}' for reason, count in each.reasons.most_common()))}</td>"
        f"<td>{escape(each.note)}</td></tr>"
        for each in story.connections
    )
    return f"<section><h2>Worst connections</h2><table>{rows}</table></section>"


def _items(story: Story) -> str:
    if not story.items:
        return ""
    left = story.reasons.total() - len(story.items)
    more = f"<p>{counted(left, 'more')} not told one by one.</p>" if left > 0 else ""
    met: set[str] = set()
    told = []
    for each in story.items:
        told.append(_item(each, explained=each.reason not in met))
        met.add(each.reason)
    return f"<section><h2>Each of them</h2>{''.join(told)}{more}</section>"


def _item(item: Item, explained: bool) -> str:
    when = f", after {duration(item.when)}" if item.when is not None else ""
    notes = [("" if at else "Also", note) for at, note in enumerate(item.notes)]
    facts = [
        ("Connection", str(item.connection) if item.connection is not None else ""), ("Where", item.place),
        ("What", item.detail), ("Rule", item.rule), *notes,
    ]  # fmt: skip
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    parts = [f"<article><h3><code>{item.reason}</code> {item.number}{when}</h3>", _bytes(item), f"<dl>{rows}</dl>"]
    if explained:
        told = explanation(item.reason)
        causes = "".join(f"<li>{prose(cause)}</li>" for cause in told.causes)
        actions = "".join(f"<li>{prose(action)}</li>" for action in told.actions)
        parts.append(
            f"<div class='told'><p>{prose(told.meaning)}</p><h4>Usual causes</h4><ul>{causes}</ul>"
            f"<h4>What to do</h4><ul>{actions}</ul></div>"
        )
    if shown := wireshark(item):
        parts.append(f"<p class='filter'>In Wireshark: <code>{escape(shown)}</code></p>")
    if item.script:
        parts.append(f"<details><summary>Make it happen again</summary><pre>{escape(item.script)}</pre></details>")
    return "".join(parts) + "</article>"


def wireshark(item: Item) -> str:
    """A display filter for the connection."""
    ends = item.connection
    if ends is None or not ends.source:
        return ""
    ip = "ipv6" if ":" in ends.source else "ip"
    parts = [f"{ip}.addr == {ends.source}", f"{ip}.addr == {ends.destination}"]
    if ends.protocol in ("tcp", "udp"):
        parts += [f"{ends.protocol}.port == {port}" for port in (ends.source_port, ends.destination_port)]
    return " && ".join(parts)


def _bytes(item: Item) -> str:
    """Both sides' bytes, what differs marked."""
    size = max(len(item.primary), len(item.secondary))
    if not size:
        return ""
    base = (item.offset or 0) - item.context_offset
    sides = "".join(f"<th colspan='2' class='{side}'>{side}</th>" for side in ("primary", "secondary"))
    lines = [f"<tr><th></th>{sides}"]
    for at in range(0, size, COLUMN):
        here = at <= item.context_offset < at + COLUMN
        ours = _half(item.primary, item.secondary, at, item.context_offset)
        theirs = _half(item.secondary, item.primary, at, item.context_offset)
        lines.append(f"<tr{' class=here' if here else ''}><th>{'▸ ' if here else ''}{base + at}</th>{ours}{theirs}")
    return f"<table class='bytes'>{'</tr>'.join(lines)}</tr></table>"


def _half(ours: bytes, theirs: bytes, at: int, first: int) -> str:
    codes, characters = [], []
    for place in range(at, min(at + COLUMN, len(ours))):
        byte = ours[place]
        shown = escape(chr(byte)) if 0x20 <= byte < 0x7F else "·"
        same = place < len(theirs) and theirs[place] == byte
        tag = "b" if place == first else "" if same else "i"
        codes.append(f"<{tag}>{byte:02x}</{tag}>" if tag else f"{byte:02x}")
        characters.append(f"<{tag}>{shown}</{tag}>" if tag else shown)
    return f"<td>{' '.join(codes)}</td><td class='text'>{''.join(characters)}</td>"


def prose(text: str) -> str:
    """Text in which what stands in backquotes is code."""
    parts = text.split("`")
    return "".join(f"<code>{escape(part)}</code>" if at % 2 else escape(part) for at, part in enumerate(parts))
