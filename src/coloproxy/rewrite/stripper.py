"""SYNs without timestamps, for both replicas and their clients: the part of rewriting that the primary needs too."""

from coloproxy.packet.parse import Kind, Malformed, parse
from coloproxy.rewrite.accounts import PASSED
from coloproxy.rewrite.batch import Batch
from coloproxy.rewrite.engine import Engine
from coloproxy.rewrite.segments import strip_syn
from coloproxy.rewrite.sources import Source


class Stripper:
    """Takes the timestamps option out of SYNs, in place: the client's and, of connections that the replicas open, the
    primary's. `stripped` counts those that had one.

    It knows no connections. Where both replicas are on one host the rewriter does it all, with `prepare`.
    """

    def __init__(self) -> None:
        # What the engine does with the primary's frames, leave all but SYNs alone, is what is to be done with these.
        self._engine = Engine(self._syn, None)
        self.stripped = 0

    def strip(self, batch: Batch) -> None:
        """Strip a batch. Raises ValueError if the index points outside the buffer."""
        self._engine.translate(Source.PRIMARY, batch.buf, batch.index, batch.count, 0.0)  # type: ignore[arg-type]

    def _syn(self, _source: int, buf: bytearray, start: int, end: int, vnet_len: int, _now: float) -> int:
        try:
            packet = parse(buf, start, end, vnet_len)
        except Malformed:
            return PASSED
        if packet.kind == Kind.TCP and strip_syn(packet, buf):
            self.stripped += 1
        return PASSED
