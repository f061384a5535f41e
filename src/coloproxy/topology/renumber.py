"""A replica that counts from elsewhere: two stacks of one kernel draw the same numbers, which hides what a rewriter
does wrong."""

from collections.abc import Mapping

from coloproxy.compare.comparator import Batch
from coloproxy.link.flow import Take
from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.translate import from_secondary, to_secondary
from coloproxy.topology import config
from coloproxy.topology.element import Element, segments
from coloproxy.topology.wires import Shape

CLIENT, REPLICA = "client", "replica"


class Renumber(Element):
    """Moves all sequence numbers and timestamps of one replica: forth in what it sends, back in what is sent to it."""

    shape = Shape((CLIENT, REPLICA), (CLIENT, REPLICA))
    alters = True

    def __init__(self, name: str, settings: config.Renumber) -> None:
        super().__init__(name)
        # A connection of the rewriter whose offsets are known from the start, for all connections.
        self._all = Connection(b"", b"", 0.0)
        self._all.offset, self._all.ts_offset = -settings.isn & 0xFFFFFFFF, -settings.timestamp & 0xFFFFFFFF
        self._all.stamped = True

    def inlets(self) -> Mapping[str, Take]:
        return {CLIENT: self._from_client, REPLICA: self._from_replica}

    def _from_client(self, batch: Batch, now: float) -> None:
        for packet in segments(batch):
            to_secondary(self._all, packet, batch.buf)
        self.outs[CLIENT].batch(batch, now)

    def _from_replica(self, batch: Batch, now: float) -> None:
        for packet in segments(batch):
            from_secondary(self._all, packet, batch.buf)
        self.outs[REPLICA].batch(batch, now)

    def leads_to(self, channel: str) -> tuple[str, ...]:
        return (channel,)
