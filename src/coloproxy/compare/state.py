"""Pictures of connections, for whoever asks what the comparator is waiting for."""

from collections.abc import Sequence

from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import ConnectionState, Held, Side
from coloproxy.compare.explain import endpoints_of
from coloproxy.compare.table import UNPROTECTED
from coloproxy.packet.parse import Kind


def held(c: Connection, side: Side, now: float) -> Held:
    """What one side of a connection has waiting."""
    if side == Side.PRIMARY:
        frames: list[Frame | None] = [c.p_head, c.a_head, *(c.control or ())]
        count, size = c.p_count, c.p_bytes
    else:
        frames, count, size = [c.s_head], c.s_count, c.s_bytes
    times = [frame.time for frame in frames if frame is not None]
    return Held(count, size, round(now - min(times), 6) if times else 0.0)


def connection_states(connections: Sequence[Connection], now: float, limit: int) -> list[ConnectionState]:
    """The state of up to `limit` connections, those that hold most frames first."""
    chosen = sorted(connections, key=lambda c: (-(c.p_count + c.s_count), -c.last))[:limit]
    return [
        ConnectionState(
            connection=endpoints_of(c),
            held_primary=held(c, Side.PRIMARY, now),
            held_secondary=held(c, Side.SECONDARY, now),
            idle=round(now - c.last, 6),
            verified=c.verified if c.kind == Kind.TCP and c.started else None,
            verified_bytes=c.verified_bytes,
            diverged=c.diverged,
            unprotected=c.rule is UNPROTECTED,
        )
        for c in chosen
    ]
