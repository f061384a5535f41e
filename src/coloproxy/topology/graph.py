"""A topology as a graph that can be drawn: frames go down, from layer to layer, and every node has its place.

A port is two nodes, for what comes from it and for what goes to it; an element is as many as it has ways for frames
that do not meet in it. So there is no circle. The layout is that of Sugiyama, Tagawa and Toda (Methods for visual
understanding of hierarchical system structures, 1981): layers, the order within them, then columns.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Wire

GAP = 3  # columns between two nodes
SWEEPS = 6


class Pin:
    """Where a wire leaves or enters a node: `at` columns behind its left edge. `other` is the wire's other end."""

    def __init__(self, node: "Node", label: str, wire: Wire) -> None:
        self.node = node
        self.label = label
        self.wire = wire
        self.at = 0
        self.other: Pin = self

    @property
    def column(self) -> int:
        return self.node.left + self.at


class Node:
    """A box, or the place in a layer where a long wire passes: that has no title. `left` is its first column."""

    def __init__(self, title: str, *, port: bool = False) -> None:
        self.title = title
        self.port = port
        self.ins: list[Pin] = []
        self.outs: list[Pin] = []
        self.layer = self.left = 0
        self.width = 1

    def measure(self) -> None:
        """Find its width, and spread its pins over it."""
        if not self.title:
            return
        rows = [self.ins, self.outs]
        self.width = max(len(self.title) + 4, *(sum(len(pin.label) + 2 for pin in row) + 2 for row in rows))
        self.width |= 1  # so that it has a middle
        for row in rows:
            at, spare = 1.0, (self.width - 2 - sum(len(pin.label) + 2 for pin in row)) / max(len(row), 1)
            for pin in row:
                room = len(pin.label) + 2 + spare
                pin.at = int(at + room / 2)
                at += room


Layers = list[list[Node]]


class Part(NamedTuple):
    """A part of a topology that is connected with no other, laid out."""

    layers: Layers
    wires: list[Wire]


def parts(wires: Sequence[Wire], elements: Sequence[Element]) -> list[Part]:
    """The parts of a topology."""
    found = []
    for nodes in _connected(_nodes(wires, elements)):
        part = [pin.wire for node in nodes for pin in node.outs]
        layers = _layers(nodes)
        _order(layers)
        for node in (node for layer in layers for node in layer):
            node.measure()
        _place(layers)
        found.append(Part(layers, sorted(part, key=wires.index)))
    return found


# Nodes and wires


def _nodes(wires: Sequence[Wire], elements: Sequence[Element]) -> list[Node]:
    """The nodes, joined; in the order in which the wires name them."""
    ways = {element.name: _ways(element) for element in elements}
    nodes: dict[tuple[str, str], Node] = {}

    def node(end: tuple[str, str], is_input: bool) -> Node:
        name, channel = end
        way, title = (IN if is_input else OUT), name
        if name in ways:
            way = next(first for first, inputs, outputs in ways[name] if channel in (inputs if is_input else outputs))
            title = name if len(ways[name]) == 1 else f"{name}.{way}"
        return nodes.setdefault((name, way), Node(title, port=name not in ways))

    for source, target in wires:
        above, below = node(source, False), node(target, True)
        wire = Wire(source, target)
        out, into = Pin(above, _label(source, OUT), wire), Pin(below, _label(target, IN), wire)
        out.other, into.other = into, out
        above.outs.append(out)
        below.ins.append(into)
    for each in nodes.values():
        _name(each, each.ins, IN)
        _name(each, each.outs, OUT)
    return list(nodes.values())


def _name(node: Node, pins: Sequence[Pin], default: str) -> None:
    """Label the pins where that says more than the title does."""
    labels = {pin.label for pin in pins}
    for pin in pins:
        if len(labels) > 1:
            pin.label = pin.label or default
        elif node.title.endswith(f".{pin.label}"):
            pin.label = ""


def _ways(element: Element) -> list[tuple[str, set[str], set[str]]]:
    """The ways through an element: a name, inputs, outputs."""
    ways: dict[tuple[str, ...], set[str]] = {}
    for channel in element.shape.inputs:
        ways.setdefault(tuple(element.leads_to(channel)), set()).add(channel)
    reached = {out for outputs in ways for out in outputs}
    if rest := tuple(out for out in element.shape.outputs if out not in reached):
        ways[rest] = set()
    return [
        (min(inputs, key=element.shape.inputs.index) if inputs else outputs[0], inputs, set(outputs))
        for outputs, inputs in ways.items()
    ]


def _label(end: tuple[str, str], default: str) -> str:
    return "" if end[1] == default else end[1]


def _connected(nodes: Iterable[Node]) -> Iterator[list[Node]]:
    left = dict.fromkeys(nodes)
    while left:
        found: dict[Node, None] = {}
        ahead = [next(iter(left))]
        while ahead:
            node = ahead.pop()
            if node not in found:
                found[node] = None
                ahead += [pin.other.node for pin in node.ins + node.outs]
        yield [node for node in left if node in found]
        left = {node: None for node in left if node not in found}


# Layers


def _layers(nodes: Sequence[Node]) -> Layers:
    """Every node as high as it can be, and places for wires that pass a layer by."""
    depths: dict[Node, int] = {}

    def depth(node: Node) -> int:
        if node not in depths:
            depths[node] = max((depth(pin.other.node) + 1 for pin in node.ins), default=0)
        return depths[node]

    for node in nodes:
        node.layer = depth(node)
    for node in nodes:  # what nothing leads to needs not be higher than what it leads to
        if not node.ins and node.outs:
            node.layer = min(pin.other.node.layer for pin in node.outs) - 1
    layers: Layers = [[] for _ in range(1 + max(node.layer for node in nodes))]
    for node in nodes:
        layers[node.layer].append(node)
        for pin in node.outs:
            _pass_by(pin, layers)
    return layers


def _pass_by(pin: Pin, layers: Layers) -> None:
    """Lead a wire through the layers between its ends."""
    target = pin.other
    for layer in range(pin.node.layer + 1, target.node.layer):
        node = Node("")
        node.layer = layer
        node.ins, node.outs = [Pin(node, "", pin.wire)], [Pin(node, "", pin.wire)]
        node.ins[0].other, pin.other = pin, node.ins[0]
        pin = node.outs[0]
        layers[layer].append(node)
    pin.other, target.other = target, pin


# The order within a layer, so that wires cross seldom


def _order(layers: Layers) -> None:
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for above, below in pairwise(layers if down else layers[::-1]):
            where = dict(_positions(above, down))
            below.sort(key=lambda node: _mean([where[pin.other] for pin in (node.ins if down else node.outs)], -1.0))
            for node in below:
                if len({pin.label for pin in node.ins}) == 1:  # they may come in any order
                    node.ins.sort(key=lambda pin: where.get(pin.other, 0.0))


def _positions(layer: Sequence[Node], down: bool) -> Iterator[tuple[Pin, float]]:
    for number, node in enumerate(layer):
        pins = node.outs if down else node.ins
        for at, pin in enumerate(pins):
            yield pin, number + (at + 1) / (len(pins) + 1)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


# Columns


def _place(layers: Layers) -> None:
    """Every node below what leads to it, as far as there is room."""
    for layer in layers:
        _spread(layer, lambda node: node.left)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 1
        for layer in layers[1:] if down else layers[-2::-1]:
            _spread(layer, _below if down else _above)
    for number, layer in enumerate(layers):
        while tracks([pin for node in layer for pin in node.outs]) is None:
            _shift(layers[number + 1 :], 1)
    _shift(layers, -min(node.left for layer in layers for node in layer))


def _shift(layers: Iterable[list[Node]], columns: int) -> None:
    for layer in layers:
        for node in layer:
            node.left += columns


def _below(node: Node) -> float:
    return _mean([pin.other.column - pin.at for pin in node.ins], node.left)


def _above(node: Node) -> float:
    return _mean([pin.other.column - pin.at for pin in node.outs], node.left)


def _spread(layer: Sequence[Node], wanted: Callable[[Node], float]) -> None:
    """Place the nodes of a layer in their order, none on another, as near to where they are wanted as can be: the
    isotonic regression by pooling adjacent violators (Ayer and others, 1955)."""
    room = 0
    offsets = []
    pools: list[tuple[float, int]] = []  # (sum, number) of distances; those of a pool stand side by side
    for node in layer:
        offsets.append(room)
        pools.append((wanted(node) - room, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            (more, number), (total, count) = pools.pop(), pools.pop()
            pools.append((total + more, count + number))
        room += node.width + GAP
    shifts = [round(total / count) for total, count in pools for _ in range(count)]
    for node, offset, shift in zip(layer, offsets, shifts, strict=True):
        node.left = offset + shift


# The rows in which wires go sideways


def tracks(pins: Sequence[Pin]) -> dict[Pin, int] | None:
    """In which row between two layers each wire goes sideways that must: none over another, nor on another's way up or
    down. None: that cannot be, for each of some would have to be above the next."""
    bent = [pin for pin in pins if pin.column != pin.other.column]
    found: dict[Pin, int] = {}
    while len(found) < len(bent):
        left = [pin for pin in bent if pin not in found]
        free = [pin for pin in left if not any(_precedes(each, pin) for each in left)]
        if not free:
            return None
        pin = free[0]
        track = max((row + 1 for each, row in found.items() if _precedes(each, pin)), default=0)
        while any(row == track and _overlap(each, pin) for each, row in found.items()):
            track += 1
        found[pin] = track
    return found


def _precedes(one: Pin, other: Pin) -> bool:
    """Whether one must go sideways above the other, which goes on down where this one comes from."""
    return one is not other and one.column == other.other.column


def _overlap(one: Pin, other: Pin) -> bool:
    (a, b), (c, d) = (sorted((pin.column, pin.other.column)) for pin in (one, other))
    return a <= d and c <= b
