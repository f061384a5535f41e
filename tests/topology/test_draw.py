"""The drawing says what the wires say: whoever follows its lines finds every wire, and no other."""

import random
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.link.log import EventLog
from coloproxy.topology.config import Topology, convert, load
from coloproxy.topology.draw import WIDTH, draw
from coloproxy.topology.runner import Runner
from coloproxy.topology.standard import HERE, names

DOWN, UP, LEFT, RIGHT = (0, 1), (0, -1), (-1, 0), (1, 0)
# Where a line goes on that comes to a character in a direction.
TURNS = {
    "│": {DOWN: DOWN}, "─": {LEFT: LEFT, RIGHT: RIGHT}, "┼": {DOWN: DOWN, LEFT: LEFT, RIGHT: RIGHT},
    "└": {DOWN: RIGHT, LEFT: UP}, "┘": {DOWN: LEFT, RIGHT: UP}, "┌": {LEFT: DOWN}, "┐": {RIGHT: DOWN},
}  # fmt: skip


class Drawing:
    """A drawing, read as a reader does: boxes, and lines from lower edges to upper ones."""

    def __init__(self, text: str) -> None:
        self.body, _, self.legend = text.rpartition("\n\n")
        self.rows = self.body.split("\n")
        self.boxes = list(self._boxes())

    def at(self, column: int, row: int) -> str:
        return self.rows[row][column] if row < len(self.rows) and 0 <= column < len(self.rows[row]) else " "

    def _boxes(self) -> Iterator[tuple[int, int, int, int]]:
        """Left, top, right and bottom of each."""
        for row, line in enumerate(self.rows):
            for found in re.finditer(r"[┌╔][─═▼]+[┐╗]", line):
                left, right = found.start(), found.end() - 1
                side = "│" if line[left] == "┌" else "║"
                bottom = row + 1
                while self.at(left, bottom) == side == self.at(right, bottom):
                    bottom += 1
                if bottom > row + 1 and self.at(left, bottom) in "└╚" and self.at(right, bottom) in "┘╝":
                    yield left, row, right, bottom

    def inside(self, box: tuple[int, int, int, int]) -> list[str]:
        left, top, right, bottom = box
        return [self.rows[row][left + 1 : right].strip() for row in range(top + 1, bottom)]

    def _title_row(self, box: tuple[int, int, int, int]) -> int:
        """Where its name is: below the inputs' labels, which are several words if there are any."""
        lines = self.inside(box)
        return box[1] + 1 + (len(lines) == 3 or (len(lines) == 2 and " " in lines[0]))

    def title(self, box: tuple[int, int, int, int]) -> str:
        return self.rows[self._title_row(box)][box[0] + 1 : box[2]].strip()

    def wires(self) -> list[str]:
        """What all lines say, as wires."""
        found = []
        for box in self.boxes:
            left, _, right, bottom = box
            for column in range(left + 1, right):
                if self.at(column, bottom) in "┬╤":
                    source = self._place(box, column, bottom - 1, "out")
                    found.append(f"{source} -> {self._follow(column, bottom)}")
        return sorted(found)

    def _follow(self, column: int, row: int) -> str:
        """Where a line ends that begins at the lower edge of a box."""
        direction, steps = DOWN, 0
        row += 1
        while self.at(column, row) != "▼":
            direction = TURNS[self.at(column, row)][direction]
            assert direction != UP
            column, row = column + direction[0], row + direction[1]
            steps += 1
            assert steps < 10000
        assert direction == DOWN
        (box,) = (each for each in self.boxes if each[1] == row and each[0] < column < each[2])
        return self._place(box, column, row + 1, "in")

    def _place(self, box: tuple[int, int, int, int], column: int, row: int, default: str) -> str:
        """A piece's channel: as the word says that the column meets, or else the title, or else the usual one."""
        name, _, channel = self.title(box).partition(".")
        if row != self._title_row(box):
            for word in re.finditer(r"[\w-]+", self.rows[row][: box[2]]):
                if box[0] < word.start() <= column < word.end():
                    channel = word[0]
        return f"{name}.{channel or default}"


def drawn(topology: Topology) -> str:
    runner = Runner(topology, EventLog(None))
    try:
        return draw(topology, runner.pieces)
    finally:
        runner.loop.close()


def expected(topology: Topology) -> list[str]:
    """The wires of a file, every channel named."""
    found = []
    for chain in topology.wires:
        for source, target in pairwise(place.strip() for place in chain.split("->")):
            found.append(f"{named(source, 'out')} -> {named(target, 'in')}")
    return sorted(found)


def written(text: str) -> list[str]:
    """The wires of parts that are too wide to be drawn."""
    found = re.findall(r"([\w.-]+) -> ([\w.-]+)", text)
    return [f"{named(source, 'out')} -> {named(target, 'in')}" for source, target in found]


def named(place: str, default: str) -> str:
    return place if "." in place else f"{place}.{default}"


ELEMENTS = {
    "mirror": ({"type": "mirror"}, ["in"], ["out", "copy"]),
    "compare": ({"type": "comparator"}, ["primary", "secondary"], ["out", "replicas"]),
    "strip": ({"type": "strip"}, ["in"], ["out"]),
    "skew": ({"type": "renumber"}, ["client", "replica"], ["client", "replica"]),
    "rewriter": ({"type": "rewriter"}, ["client", "secondary", "primary"], ["client", "secondary", "primary"]),
    "switch": ({"type": "switch"}, ["in"], ["out", "after"]),
    "an-element-with-a-long-name": ({"type": "buffer", "interval": 1}, ["in"], ["out"]),
}


def anything(seed: int) -> Topology:
    """A topology without circles: pieces in a row, wired to later ones or to ports."""
    rng = random.Random(seed)
    pieces = [(f"{kind}{n}", kind) for n, kind in enumerate(rng.choices(list(ELEMENTS), k=rng.randrange(1, 9)))]
    ports = [f"p{n}" for n in range(rng.randrange(2, 9))]
    inputs = [(name, channel) for name, kind in pieces for channel in ELEMENTS[kind][1]]
    outputs = [(name, channel) for name, kind in pieces for channel in ELEMENTS[kind][2]]
    order = {name: at for at, (name, _) in enumerate(pieces)}
    wires, led_to, used = [], set(), set()
    for name, channel in outputs:
        later = [each for each in inputs if order[each[0]] > order[name]]
        target = rng.choice(later) if later and rng.random() < 0.7 else (rng.choice(ports), "")
        led_to.add(target)
        used.add(target[0])
        wires.append(f"{name}.{channel} -> {'.'.join(filter(None, target))}")
    free = ports[:]
    for end in inputs:
        if end not in led_to or (free and rng.random() < 0.1):
            port = free.pop() if free else f"q{len(wires)}"
            used.add(port)
            wires.append(f"{port} -> {end[0]}.{end[1]}")
    rng.shuffle(wires)
    table = {
        "wires": wires,
        "port": {port: {"socket": f"unix:/{port}"} for port in sorted(used - set(order))},
        "element": {name: ELEMENTS[kind][0] for name, kind in pieces},
    }
    return convert(table, "file")


@given(st.integers(0, 2**32))
def test_the_lines_are_the_wires(seed: int) -> None:
    topology = anything(seed)
    text = drawn(topology)
    assert drawn(topology) == text
    assert sorted([*Drawing(text).wires(), *written(text)]) == expected(topology)
    assert max(map(len, text.split("\n"))) <= WIDTH


@pytest.mark.parametrize("name", names())
def test_the_standard_topologies_are_drawn(name: str) -> None:
    topology = load(HERE / f"{name}.toml")
    text = drawn(topology)
    assert Drawing(text).wires() == expected(topology)
    for piece in (*topology.port, *topology.element):
        assert re.search(rf"^{piece} ", text, re.MULTILINE)


ONE_HOST = """\
                         ╔═════════╗
                         ║ client  ║
                         ╚════╤════╝
                          ┌───▼───┐
                          │ strip │
                          └───┬───┘
┌───────────────────┐   ┌─────▼─────┐
│ rewriter.answers  │   │  mirror   │
└─────────┬─────────┘   │ out  copy │
          │             └──┬─────┬──┘
          └────┐   ┌───────┘     └─┐
            ╔══▼═══▼══╗   ┌────────▼────────┐
            ║ primary ║   │ rewriter.client │
            ╚═════════╝   └────────┬────────┘
                             ╔═════▼═════╗
                             ║ secondary ║
                             ╚═══════════╝

     ╔═════════╗             ╔═══════════╗
     ║ primary ║             ║ secondary ║
     ╚════╤════╝             ╚═════╤═════╝
┌─────────▼─────────┐   ┌──────────▼──────────┐
│ rewriter.primary  │   │ rewriter.secondary  │
└─────────┬─────────┘   └──────────┬──────────┘
          └──────┐          ┌──────┘
            ┌────▼──────────▼─────┐
            │ primary   secondary │
            │       compare       │
            └──────────┬──────────┘
                  ╔════▼════╗
                  ║ client  ║
                  ╚═════════╝

client     tap = "e0", netns = "client"
primary    tap = "e0", netns = "primary"
secondary  tap = "e0", netns = "secondary"
strip      strip
mirror     mirror
rewriter   rewriter
compare    comparator, on_divergence = "alarm"
"""


def test_one_host_looks_so() -> None:
    assert drawn(load(HERE / "one-host.toml")) == ONE_HOST


def test_parts_stand_side_by_side_where_there_is_room() -> None:
    ports = {name: {"socket": f"unix:/{name}"} for name in "abcdef"}
    text = drawn(convert({"wires": ["a -> b", "c -> d", "e -> f"], "port": ports}, "file"))
    assert text.split("\n")[:6] == [
        "╔═══╗      ╔═══╗      ╔═══╗",
        "║ a ║      ║ c ║      ║ e ║",
        "╚═╤═╝      ╚═╤═╝      ╚═╤═╝",
        "╔═▼═╗      ╔═▼═╗      ╔═▼═╗",
        "║ b ║      ║ d ║      ║ f ║",
        "╚═══╝      ╚═══╝      ╚═══╝",
    ]


def test_what_is_too_wide_is_written_as_wires() -> None:
    ports = {f"p{n}": {"socket": f"unix:/{n}"} for n in range(20)}
    wires = [f"p{n} -> p0" for n in range(1, 20)]
    text = drawn(convert({"wires": wires, "port": ports}, "file"))
    assert text.split("\n")[:19] == wires


def test_long_settings_go_on_under_themselves_and_are_not_cut_within() -> None:
    settings = {"loss": 0.25, "delay": 1.5, "rate": "100M", "jitter": 0.125, "reorder": 0.5, "seed": 7}
    table = {
        "wires": ["a -> x -> b"], "element": {"x": {"type": "impair", **settings}},
        "port": {"a": {"socket": "unix:/" + "long/" * 18}, "b": {"socket": "unix:/b"}},
    }  # fmt: skip
    legend = drawn(convert(table, "file")).split("\n\n")[-1]
    assert legend == (
        f'a  socket = "unix:/{"long/" * 18}"\n'
        'b  socket = "unix:/b"\n'
        "x  impair, seed = 7, loss = 0.25, reorder = 0.5, delay = 1.5, jitter = 0.125,\n"
        '   rate = "100M"\n'
    )
