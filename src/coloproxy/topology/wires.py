"""Wires: which output leads to which input, written as chains "client -> mirror -> primary".

A place in a chain is a port or an element, `name` or `name.channel`. Frames enter an element by the channel's input and
leave it by the output of the same name; without a channel by its input `in` and its output `out`.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from coloproxy.errors import ColoproxyError

PLACE = re.compile(r"([A-Za-z][\w-]*)(?:\.([A-Za-z][\w-]*))?", re.ASCII)
IN, OUT = "in", "out"


class Shape(NamedTuple):
    """What can be wired to a piece: its inputs and its outputs. All must be wired, but for `optional` channels, and
    for those of a `loose` piece, of which one must."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    loose: bool = False
    optional: frozenset[str] = frozenset()


class Wire(NamedTuple):
    """From an output of one piece to an input of another: (name, channel) each."""

    source: tuple[str, str]
    target: tuple[str, str]

    def __str__(self) -> str:
        return f"{place(self.source, OUT)} -> {place(self.target, IN)}"


def place(end: tuple[str, str], default: str) -> str:
    """A piece's channel, as it is written."""
    name, channel = end
    return name if channel == default else f"{name}.{channel}"


def parse_wires(chains: Sequence[str], shapes: Mapping[str, Shape]) -> list[Wire]:
    """The wires of these chains. Raises ColoproxyError, quoting the chain, for what cannot be wired so."""
    wires: list[Wire] = []
    for chain in chains:
        places = [_place(text, chain, shapes) for text in chain.split("->")]
        if len(places) < 2:
            raise _bad(chain, "a wire leads from one place to another: write a -> b")
        for (name, channel), (following, entrance) in pairwise(places):
            source = name, _channel(name, channel, OUT, shapes[name].outputs, "output", chain)
            target = following, _channel(following, entrance, IN, shapes[following].inputs, "input", chain)
            wires.append(Wire(source, target))
    _complete(wires, shapes)
    return wires


def _place(text: str, chain: str, shapes: Mapping[str, Shape]) -> tuple[str, str | None]:
    match = PLACE.fullmatch(text.strip())
    if match is None:
        raise _bad(chain, f"'{text.strip()}' is no place; write a name, or name.channel")
    name, channel = match.groups()
    if name not in shapes:
        raise _bad(chain, f"there is no port and no element '{name}'; there are {', '.join(shapes)}")
    return name, channel


def _channel(name: str, channel: str | None, default: str, there: Sequence[str], what: str, chain: str) -> str:
    """The channel meant; a piece with one only need not be told which."""
    if channel is None:
        channel = there[0] if len(there) == 1 else default
    if channel not in there:
        has = f"it has {', '.join(there)}" if there else "it has none"
        raise _bad(chain, f"'{name}' has no {what} '{channel}'; {has}")
    return channel


def _complete(wires: Sequence[Wire], shapes: Mapping[str, Shape]) -> None:
    """Every output leads to one place, every input is led to."""
    sources = [wire.source for wire in wires]
    for source in sources:
        if sources.count(source) > 1:
            raise ColoproxyError(
                f"wires: '{place(source, OUT)}' leads to several places; put an element of type mirror there."
            )
    targets = {wire.target for wire in wires}
    for name, shape in shapes.items():
        if shape.loose:
            if not {(name, IN), (name, OUT)} & {*sources, *targets}:
                raise ColoproxyError(f"wires: port '{name}' is wired to nothing; wire it, or leave it out.")
            continue
        for channel in shape.outputs:
            end = name, channel
            if end not in sources and (channel not in shape.optional or end in targets):
                raise ColoproxyError(f"wires: output '{place(end, OUT)}' leads nowhere; wire it.")
        for channel in shape.inputs:
            end = name, channel
            if end not in targets and (channel not in shape.optional or end in sources):
                raise ColoproxyError(f"wires: nothing leads to input '{place(end, IN)}'; wire it.")


def _bad(chain: str, why: str) -> ColoproxyError:
    return ColoproxyError(f"wire '{chain}': {why}.")
