"""What an element is to those that join elements."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from coloproxy.compare.comparator import Batch
from coloproxy.link.flow import Inlet, Sink, Take, frames_of
from coloproxy.link.port import Port
from coloproxy.packet.parse import Kind, Malformed, Packet, parse
from coloproxy.topology.wires import IN, OUT, Shape


class Element:
    """Takes batches at its inputs, sends them on by its outputs.

    shape: its channels. keeps: whether it refers to a batch's buffer after the call, so that nobody else may alter
    that. alters: whether it changes frames where they lie. Both are asked for once the wires are known.
    """

    shape = Shape((IN,), (OUT,))
    keeps = False
    alters = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.outs: dict[str, Sink] = {}

    def inlets(self) -> Mapping[str, Take]:
        """What takes the frames of each input."""
        raise NotImplementedError

    def inlet(self, channel: str) -> Sink:
        """The input of this name."""
        return Inlet(self.inlets()[channel])

    def leads_to(self, channel: str) -> Sequence[str]:
        """The outputs that frames of this input may leave by."""
        return self.shape.outputs

    def ports(self) -> Sequence[Port]:
        """Ports of its own."""
        return ()

    def wired(self) -> None:
        """All wires are there. Raises ColoproxyError when one is missing that it needs."""

    def open(self) -> None:
        """Make it ready. Raises ColoproxyError when that cannot be."""

    def deadline(self) -> float | None:
        """When `tick` has something to do, on the topology's clock."""
        return None

    def tick(self, now: float) -> None:
        """Do what is due."""

    def finish(self, now: float) -> None:
        """The turn is over: send on what was collected."""

    @property
    def idle(self) -> bool:
        """Whether it will send on nothing more by itself, however long one waits."""
        return True

    def gate(self, channel: str) -> Callable[[], bool] | None:
        """What says whether that which leads to this input should be read now; None: it always should."""
        return None

    def counters(self) -> dict[str, int]:
        """What it counts, by name."""
        return {}

    def close(self) -> None:
        """The topology is coming down."""


def segments(batch: Batch) -> Iterator[Packet]:
    """The TCP segments in a batch, whole ones."""
    for start, end, vnet_len in frames_of(batch):
        try:
            packet = parse(batch.buf, start, end, vnet_len)
        except Malformed:
            continue
        if packet.kind == Kind.TCP and packet.fragment is None:
            yield packet
