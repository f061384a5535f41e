"""Pictures of connections, for whoever asks what the comparator is waiting for."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from coloproxy.compare.engine import Connection, Engine, Frame
from coloproxy.compare.events import ConnectionState, Held, Side
from coloproxy.compare.explain import endpoints_of
from coloproxy.compare.table import UNPROTECTED, Table
from coloproxy.packet.parse import Kind


class Survey(NamedTuple):
    """All connections in a few numbers. primary_since, secondary_since: when the oldest came of what is held of either
    side; None: nothing is. waiting, diverged, unprotected: how many connections hold frames, wait for a checkpoint,
    pass uncompared since they diverged. found: some connections, those that hold frames or diverged first, then the
    newest; to be looked at, not to be changed."""

    connections: int
    primary_since: float | None
    secondary_since: float | None
    waiting: int
    diverged: int
    unprotected: int
    found: list[Connection]


def survey(engine: Engine, table: Table, beside: list[Connection], limit: int) -> Survey:
    """Go through all connections once."""
    primary, secondary, waiting, diverged, unprotected, found = engine.survey(beside, UNPROTECTED, limit)
    seen = set(found)
    for connections in table.by_kind:
        newest: Iterable[Connection] = islice(reversed(connections.values()), limit)
        found += [c for c in newest if c not in seen]
    return Survey(len(table) + len(beside), primary, secondary, waiting, diverged, unprotected, found[:limit])


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
