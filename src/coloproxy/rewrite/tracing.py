"""The rewriter's trace events: QEMU's, fired where QEMU's rewriter fires them, and those of coloproxy's own."""

import ipaddress

from coloproxy.compare.events import Endpoints
from coloproxy.compare.explain import describe
from coloproxy.packet.parse import Kind, Packet
from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.states import State
from coloproxy.trace import events

_FUNCTIONS = {Source.CLIENT: "handle_primary_tcp_pkt", Source.SECONDARY: "handle_secondary_tcp_pkt"}


def endpoints_of(c: Connection) -> Endpoints:
    """The connection's ends, read from its key once."""
    if c.endpoints is None:
        c.endpoints = describe(Kind.TCP, c.key)
    return c.endpoints  # type: ignore[no-any-return]


def wanted() -> bool:
    """Whether every segment is traced: the engine then leaves them to the general path.

    `colo_filter_rewriter_debug` is a gate, itself never fired.
    """
    return events.colo_filter_rewriter_debug.enabled and (
        events.colo_filter_rewriter_pkt_info.enabled or events.colo_filter_rewriter_conn_offset.enabled
    )


def segment(source: Source, packet: Packet, c: Connection | None) -> None:
    """A segment is about to be translated."""
    if source not in _FUNCTIONS or not events.colo_filter_rewriter_debug.enabled:
        return
    if events.colo_filter_rewriter_pkt_info.enabled:
        ends = str(ipaddress.ip_address(packet.src)), str(ipaddress.ip_address(packet.dst))
        events.colo_filter_rewriter_pkt_info(_FUNCTIONS[source], *ends, packet.seq, packet.ack, packet.flags)
    if events.colo_filter_rewriter_conn_offset.enabled:
        events.colo_filter_rewriter_conn_offset(0 if c is None else c.offset)


def tracked(c: Connection, source: Source) -> None:
    if events.colo_rewrite_connection_tracked.enabled:
        events.colo_rewrite_connection_tracked(str(endpoints_of(c)), source.label)


def learned(c: Connection) -> None:
    if events.colo_rewrite_numbers_learned.enabled:
        events.colo_rewrite_numbers_learned(str(endpoints_of(c)), c.offset, c.ts_offset)


def ended(c: Connection, now: float) -> None:
    if events.colo_rewrite_connection_ended.enabled:
        age = int((now - c.since) * 1000)
        events.colo_rewrite_connection_ended(str(endpoints_of(c)), State(c.state).name, age)


def evicted(c: Connection, idle: float, dropped: int) -> None:
    if events.colo_rewrite_connection_evicted.enabled:
        state = State(c.state).name
        events.colo_rewrite_connection_evicted(str(endpoints_of(c)), state, int(idle * 1000), dropped)


def held(c: Connection, source: Source, size: int) -> None:
    if events.colo_rewrite_frame_held.enabled:
        events.colo_rewrite_frame_held(str(endpoints_of(c)), source.label, size)


def dropped(source: Source, size: int) -> None:
    if events.colo_rewrite_frame_dropped.enabled:
        events.colo_rewrite_frame_dropped(source.label, size)


def checkpoint(connections: int, differed: int) -> None:
    if events.colo_rewrite_checkpoint.enabled:
        events.colo_rewrite_checkpoint(connections, differed)


def failover(survivor: str, connections: int) -> None:
    if events.colo_rewrite_failover.enabled:
        events.colo_rewrite_failover(survivor, connections)
