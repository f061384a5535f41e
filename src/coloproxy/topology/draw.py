"""A topology as text: boxes and lines, frames going down, at most 80 columns where that can be; and what each piece is.

Ports have double lines. A wire leaves a box at its lower edge and enters one at its upper edge; where an element has
several, its channels stand beside them.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from coloproxy.topology.build import Pieces
from coloproxy.topology.config import Topology
from coloproxy.topology.graph import Layers, Node, Part, Pin, parts, tracks

WIDTH = 80
HARD = "\u00a0"  # a blank where no line is broken
BESIDE = 6  # columns between two parts that stand side by side
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
LINES = {
    UP | DOWN: "│", LEFT | RIGHT: "─", UP | RIGHT: "└", UP | LEFT: "┘", DOWN | RIGHT: "┌", DOWN | LEFT: "┐",
    UP | DOWN | LEFT | RIGHT: "┼",
}  # fmt: skip
SINGLE, DOUBLE = tuple("┌─┐│└┘┬"), tuple("╔═╗║╚╝╤")


def draw(topology: Topology, pieces: Pieces) -> str:
    """The whole, ending in a newline."""
    blocks = [_block(part) for part in parts(pieces.wires, pieces.elements)]
    rows = ["".join(line + "\n" for line in row) for row in _rows(blocks)]
    return "\n".join([*rows, _legend(topology)])


def _block(part: Part) -> list[str]:
    """A part drawn; its wires alone if it is too wide, for nobody can read boxes that wrap."""
    lines = _lines(part.layers)
    return lines if max(map(len, lines)) <= WIDTH else list(map(str, part.wires))


def _rows(blocks: Sequence[list[str]]) -> Iterator[list[str]]:
    """Blocks side by side, as many as there is room for."""
    row: list[str] = []
    for part in blocks:
        indent = max(map(len, row), default=-BESIDE) + BESIDE
        if indent + max(map(len, part)) > WIDTH:
            yield row
            row, indent = [], 0
        row += [""] * (len(part) - len(row))
        row[: len(part)] = [f"{left:{indent}}{line}".rstrip() for left, line in zip(row, part, strict=False)]
    yield row


# What each piece is


def _legend(topology: Topology) -> str:
    """A line for each piece: what it is, and what it was told that it would not have assumed."""
    pieces = {**topology.port, **topology.element}
    width = max(map(len, pieces))
    entries = []
    for name, settings in pieces.items():
        kind = type(settings).__struct_config__.tag
        told = ([str(kind)] if kind else []) + [f"{key} = {_toml(value)}" for key, value in _told(settings)]
        text = textwrap.fill(
            ", ".join(each.replace(" ", HARD) for each in told), WIDTH, initial_indent=f"{name:{width}}  ",
            subsequent_indent=" " * (width + 2), break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        entries.append(text.replace(HARD, " ") + "\n")
    return "".join(entries)


def _told(settings: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            yield field.name, value


def _toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# Boxes and lines


class Canvas:
    """Characters at (column, row), and lines that join where they meet."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], int] = {}
        self._text: dict[tuple[int, int], str] = {}

    def text(self, column: int, row: int, text: str) -> None:
        for at, character in enumerate(text, column):
            self._text[at, row] = character

    def down(self, column: int, first: int, last: int) -> None:
        """A line through these rows."""
        for row in range(first, last + 1):
            self._join(column, row, UP | DOWN)

    def across(self, start: int, end: int, row: int, first: int, last: int) -> None:
        """A line that comes down at one column from row `first`, and goes down at another to row `last`."""
        self.down(start, first, row - 1)
        self.down(end, row + 1, last)
        left, right = min(start, end), max(start, end)
        self._join(start, row, UP | (RIGHT if end > start else LEFT))
        self._join(end, row, DOWN | (LEFT if end > start else RIGHT))
        for column in range(left + 1, right):
            self._join(column, row, LEFT | RIGHT)

    def _join(self, column: int, row: int, directions: int) -> None:
        self._lines[column, row] = self._lines.get((column, row), 0) | directions

    def rows(self) -> list[str]:
        cells = {at: LINES[directions] for at, directions in self._lines.items()} | self._text
        height = 1 + max(row for _, row in cells)
        width = 1 + max(column for column, _ in cells)
        return ["".join(cells.get((column, row), " ") for column in range(width)).rstrip() for row in range(height)]


def _lines(layers: Layers) -> list[str]:
    """A part that is laid out, as lines."""
    canvas = Canvas()
    row = 0
    for layer in layers:
        bottom = row + max(map(_height, layer))
        for node in layer:
            if node.title:
                _box(canvas, node, row)
            else:
                canvas.down(node.left, row, bottom - 1)
        row = _wires(canvas, [pin for node in layer for pin in node.outs], row, bottom)
    return canvas.rows()


def _height(node: Node) -> int:
    if not node.title:
        return 1
    return 3 + _labelled(node.ins) + _labelled(node.outs)


def _labelled(pins: Sequence[Pin]) -> bool:
    return any(pin.label for pin in pins)


def _box(canvas: Canvas, node: Node, row: int) -> None:
    top_left, edge, top_right, side, low_left, low_right, exit_ = DOUBLE if node.port else SINGLE
    left, inner = node.left, node.width - 2
    canvas.text(left, row, top_left + edge * inner + top_right)
    for pin in node.ins:
        canvas.text(pin.column, row, "▼")
    for pins, title in ((node.ins, ""), ([], node.title), (node.outs, "")):
        if title or _labelled(pins):
            row += 1
            canvas.text(left, row, f"{side}{title:^{inner}}{side}")
            for pin in pins:
                canvas.text(pin.column - len(pin.label) // 2, row, pin.label)
    canvas.text(left, row + 1, low_left + edge * inner + low_right)
    for pin in node.outs:
        canvas.text(pin.column, row + 1, exit_)


def _wires(canvas: Canvas, pins: Sequence[Pin], row: int, bottom: int) -> int:
    """Draw the wires from a layer, whose boxes take the rows from `row` to before `bottom`, to the next; returns the
    row in which that begins."""
    sideways = tracks(pins) or {}
    after = bottom + max(sideways.values(), default=-1) + 1
    for pin in pins:
        start, end = pin.column, pin.other.column
        first = row + _height(pin.node)
        if pin in sideways:
            canvas.across(start, end, bottom + sideways[pin], first, after - 1)
        else:
            canvas.down(start, first, after - 1)
    return after
