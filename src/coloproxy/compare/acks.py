"""The ACK rule: the client is told that its bytes arrived only when they arrived at both replicas.

"clamp" lets a frame leave at once, its acknowledgement lowered to what both have and its window cut to the nearer
right edge; what was held back is said later in a pure ACK of the comparator's own. "hold" keeps the frame until the
secondary has caught up, alters nothing and makes nothing. A frame on captures (`isn = "relative"`) needs no such care.
"""

from coloproxy.compare.accounts import RELEASED
from coloproxy.compare.context import Context
from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Side
from coloproxy.packet.edit import tcp_part, tcp_pure_ack, tcp_with_ack
from coloproxy.packet.parse import Packet, parse
from coloproxy.packet.serial import add, at_or_before, before, distance, smin
from coloproxy.packet.tcpopts import sack_blocks

SYN, ACK = 0x02, 0x10
WORTH_TELLING = 2 * 1460  # bytes by which a window must have opened to be worth a frame (RFC 9293, 3.8.6.2.2)


class Acknowledgements:
    """Decides when the primary's acknowledgements leave, and in which form."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.engine = context.engine
        self.applies = context.config.isn != "relative"
        self.hold = context.config.ack_rule == "hold"
        self.engine.ack_rule = self.applies

    @staticmethod
    def edge(ack: int, window: int, scale: int) -> int:
        """Right edge of a window; 0, of no meaning, while the scale is unknown (-1)."""
        return add(ack, window << scale) if scale >= 0 else 0

    def pure(self, c: Connection, frame: Frame) -> None:
        """A segment of the primary without payload: leaves at once, unless it says more than both replicas have.

        Lowered it would repeat the last one, which a client counts as a sign of loss: then it waits.
        """
        allowed = self._allowed(c, frame)
        news = allowed is not None and (
            not before(c.s_ack, frame.ack) or self._untold(c, allowed[0])
        )
        if allowed is not None and (allowed == (frame.ack, frame.window) or news):
            self._send(c, frame, *allowed)
        else:
            self._wait(c, frame)

    def verified(self, c: Connection, frame: Frame) -> None:
        """A segment of the primary whose bytes have left before: a retransmission."""
        allowed = self._allowed(c, frame)
        if allowed is None:
            self._wait(c, frame)
        else:
            self._send_again(c, frame, *allowed)

    def settle(self, c: Connection, frame: Frame) -> bool:
        """Release the first frame of the primary's queue, all verified, lowered or in part, behind those that came
        before it and waited for no more. False: it must wait."""
        self._waited(c, frame.order)
        allowed = self._allowed(c, frame)
        if allowed is None:
            c.owes = True
            return False
        self._send(c, frame, *allowed)
        return True

    def part(self, c: Connection, frame: Frame, ready: int) -> None:
        """Let the first `ready` bytes of a large frame leave, what has left of them excepted.

        All of them, though the last segment be short: a secondary that recovers from loss may send no more until these
        are acknowledged.
        """
        allowed = self._allowed(c, frame)
        if allowed is None:
            c.owes = True
            return
        raw = bytes(frame.buf[frame.start : frame.end])
        packet = parse(raw, 0, len(raw), frame.vnet_len)
        self.context.make(self._with(c, tcp_part(raw, packet, frame.done, ready), frame, *allowed), frame.vnet_len)
        self.context.tracing.prefix(c, frame.seq, ready, frame.size)
        frame.done = ready

    def owed(self, c: Connection) -> None:
        """The secondary has acknowledged more: release what waited for that, and tell the client the rest."""
        self._waited(c, self.engine.order)
        self.engine.match(c)
        if not self.hold:
            self._tell(c)
        scaled = c.p_scale >= 0 and c.s_scale >= 0
        if c.a_head is None and not self._untold(c, c.p_ack) and not (
            scaled and before(c.client_right, c.p_right)
        ):  # fmt: skip
            c.owes, c.template = c.p_head is not None and self.hold, None

    def lacking(self, c: Connection, packet: Packet, frame: Frame, opened: bool) -> None:
        """The secondary acknowledges the same again: it may lack what the primary has, whose acknowledgements do not
        ask for it. The client is told, so that it sends that again soon (RFC 5681, 3.2; RFC 6675), and what came behind
        it, as far as both have that. opened: its window is another one, so that this is a sign of loss only with SACK.
        """
        told = c.client_acked and c.client_ack == frame.ack and c.template is not None
        if self.hold or not (self.applies and c.p_acked and before(frame.ack, c.p_ack) and told):
            return
        blocks = sack_blocks(frame.buf, packet.l4 + 20, packet.payload)
        if opened and not blocks:
            return
        both = [(left, right) for left, right in blocks if at_or_before(right, c.p_ack)]
        # The window stays as the client knows it, or this would be an update of it and no sign of loss.
        known = c.p_scale >= 0 and c.s_scale >= 0
        window = distance(c.client_ack, c.client_right) >> c.p_scale if known else c.template[2]
        window = min(max(window, 0), 0xFFFF)
        self.context.make(
            tcp_pure_ack(frame.buf, packet, c.verified, frame.ack, window, sack=both), frame.vnet_len
        )  # fmt: skip

    def _waited(self, c: Connection, order: int) -> None:
        """Release, of the frames that arrived up to `order`, those that waited for what the secondary has now said."""
        while c.a_head is not None and c.a_head.order <= order and c.s_acked and not before(c.s_ack, c.a_head.ack):
            frame = c.a_head
            c.a_head, frame.next = frame.next, None
            if c.a_head is None:
                c.a_tail = None
            self.engine.unhold(c, Side.PRIMARY, frame)
            self._send_again(c, frame, *(self._allowed(c, frame) or (frame.ack, frame.window)))

    def _tell(self, c: Connection) -> None:
        """Send a pure ACK of our own, modelled on the primary's last, if it says something new."""
        if c.template is None or not c.s_acked:
            return
        ack = smin(c.p_ack, c.s_ack)
        raw, vnet_len, window = c.template
        if c.p_scale >= 0 and c.s_scale >= 0:
            right = smin(c.p_right, c.s_right)
            window = min(max(distance(ack, right), 0) >> c.p_scale, 0xFFFF)
            opened = distance(c.client_right, right) >= WORTH_TELLING
        else:
            opened = False
        if self._untold(c, ack) or opened:
            packet = parse(raw, 0, len(raw), vnet_len)
            self.context.make(tcp_pure_ack(raw, packet, c.verified, ack, window), vnet_len)
            self.engine.saw_client(c, ack, self.edge(ack, window, c.p_scale))

    @staticmethod
    def _untold(c: Connection, ack: int) -> bool:
        """Whether this acknowledgement is news to the client."""
        return not c.client_acked or before(c.client_ack, ack)

    def _allowed(self, c: Connection, frame: Frame) -> tuple[int, int] | None:
        """The acknowledgement and window with which a frame may leave now; None: it must wait."""
        ack, window = frame.ack, frame.window
        if not self.applies or not frame.flags & ACK:
            return ack, window
        right = self.edge(ack, window, c.p_scale)
        if self.engine.covered(c, ack, right):
            return ack, window
        if not c.s_acked:
            return None
        if self.hold or frame.parts is not None:
            return None if before(c.s_ack, ack) else (ack, window)
        ack = smin(ack, c.s_ack)
        if c.p_scale >= 0 and c.s_scale >= 0:
            window = min(max(distance(ack, smin(right, c.s_right)), 0) >> c.p_scale, 0xFFFF)
        return ack, window

    def _send_again(self, c: Connection, frame: Frame, ack: int, window: int) -> None:
        """Release a frame that brings no new bytes."""
        if frame.size:
            self.context.tracing.compared_before(Side.PRIMARY)
        self._send(c, frame, ack, window)

    def _send(self, c: Connection, frame: Frame, ack: int, window: int) -> None:
        """Release a frame: what has not left of it, saying `ack` and `window`."""
        if frame.flags & ACK:
            self.engine.saw_client(c, ack, self.edge(ack, window, c.p_scale))
        self.context.tracing.released(frame)
        self._leave(c, frame, ack, window)

    def uncompared(self, c: Connection, frame: Frame) -> None:
        """Release what has not left of a frame, whatever the secondary has said: a checkpoint covers it."""
        if frame.flags & ACK:
            shift = 0 if frame.flags & SYN else c.p_scale
            self.engine.saw_client(c, frame.ack, self.edge(frame.ack, frame.window, shift))
        self._leave(c, frame, frame.ack, frame.window)

    def _leave(self, c: Connection, frame: Frame, ack: int, window: int) -> None:
        if not frame.done and (ack, window) == (frame.ack, frame.window):
            self.context.release(frame)
            return
        raw = bytes(frame.buf[frame.start : frame.end])
        if frame.done:
            raw = tcp_part(raw, parse(raw, 0, len(raw), frame.vnet_len), frame.done, frame.size)
        self.engine.send_made(self._with(c, raw, frame, ack, window), frame.vnet_len)
        self.engine.count(Side.PRIMARY, RELEASED, 1, frame.end - frame.start)

    def _with(self, c: Connection, raw: bytes, frame: Frame, ack: int, window: int) -> bytes:
        """The frame with another acknowledgement and window, if these are others; then the client is owed the rest."""
        if (ack, window) == (frame.ack, frame.window):
            return raw
        self._owe(c, frame)
        self.context.clamped += 1
        self.context.tracing.clamped(c, frame.ack, ack, window)
        return tcp_with_ack(raw, parse(raw, 0, len(raw), frame.vnet_len), ack, window)

    def _owe(self, c: Connection, frame: Frame) -> None:
        c.owes = True
        if frame.parts is None:
            raw = bytes(frame.buf[frame.start : frame.end])
            if frame.size:  # its headers alone: what it carries may be 64 KiB
                packet = parse(raw, 0, len(raw), frame.vnet_len)
                raw = tcp_pure_ack(raw, packet, frame.seq, frame.ack, frame.window)
            c.template = raw, frame.vnet_len, frame.window

    def _wait(self, c: Connection, frame: Frame) -> None:
        """Keep a frame that waits for nothing but the secondary's acknowledgement."""
        self._owe(c, frame)
        if c.a_tail is None:
            c.a_head = frame
        else:
            c.a_tail.next = frame
        c.a_tail = frame
        self.engine.hold(c, Side.PRIMARY, frame)
