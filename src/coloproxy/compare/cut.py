"""Cutting a connection: replicas that differ and cannot be made equal again have it reset, and so has the client."""

from coloproxy.compare.context import Context
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Side
from coloproxy.compare.rules import Action, Decision
from coloproxy.packet.edit import tcp_reset
from coloproxy.packet.parse import parse
from coloproxy.packet.serial import at_or_before

# What more comes of a connection that was cut is refused, until a SYN begins another.
CUT = (Decision(Action.REFUSE, "cut since it diverged", frozenset()),) * 2


class Cutter:
    """Makes resets. `returns` collects those for the replicas, as the client would have sent them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.returns: list[tuple[bytes, int]] = []

    def cut(self, c: Connection) -> bool:
        """Reset a connection at both ends. False: nothing of it is held to model a reset on.

        Each reset has exactly the number that its receiver expects next; others are challenged (RFC 5961, 3.2).
        """
        model = first_held(c)
        if model is None:
            return False
        raw = bytes(model.buf[model.start : model.end])
        packet = parse(raw, 0, len(raw), model.vnet_len)
        expected = self._client_expects(c)
        c.rule = CUT
        self.context.make(tcp_reset(raw, packet, expected, c.client_ack), model.vnet_len)
        for ack in sorted({ack for ack, known in ((c.p_ack, c.p_acked), (c.s_ack, c.s_acked)) if known}):
            self.returns.append((tcp_reset(raw, packet, ack, expected, back=True), model.vnet_len))
        return True

    def drop(self, frames: list[tuple[int, Connection | None, Frame]]) -> None:
        """What the primary said on it, and never left."""
        for _, _, frame in frames:
            self.context.drop(Side.PRIMARY, frame)

    @staticmethod
    def _client_expects(c: Connection) -> int:
        """The place behind the last that has left for the client."""
        p = c.p_head
        if p is not None and (not c.started or at_or_before(p.seq, c.verified)):
            place: int = p.seq + p.done
            return place & 0xFFFFFFFF
        return int(c.verified)


def first_held(c: Connection) -> Frame | None:
    """A frame of the connection that is whole and at hand."""
    for frame in (c.p_head, c.a_head, *(c.control or ()), c.s_head):
        if frame is not None and frame.parts is None:
            found: Frame = frame
            return found
    return None
