"""A topology as text."""

from collections.abc import Sequence

from coloproxy.topology.config import Topology
from coloproxy.topology.wires import Wire


def draw(topology: Topology, wires: Sequence[Wire]) -> str:
    return "\n".join(map(str, wires))
