"""Trace events: QEMU's as its rewriter fires them, and coloproxy's own."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coloproxy import trace
from coloproxy.rewrite.sources import Source
from support.frames import ACK, RST, SYN, timestamp
from support.rewriting import C_ISN, CLIENT_SYN, OFFSET, P_ISN, S_ISN, Play, client, replica

QEMU = ("colo_filter_rewriter_debug", "colo_filter_rewriter_pkt_info", "colo_filter_rewriter_conn_offset")


@contextmanager
def traced(*patterns: str) -> Iterator[io.BytesIO]:
    """What is traced within goes here, one line an event."""
    lines = io.BytesIO()
    trace.open_backend("log", lines)
    for pattern in patterns:
        trace.enable(pattern)
    try:
        yield lines
    finally:
        for pattern in patterns:
            trace.enable("-" + pattern)
        trace.close()


def test_every_segment_is_told_of_before_it_is_translated_as_qemu_does() -> None:
    play = Play().begun()
    with traced(*QEMU) as lines:
        play.c(client(b"x", seq=C_ISN + 1, ack=P_ISN + 1))
        play.s(replica(b"y", seq=S_ISN + 1, ack=C_ISN + 2))
        play.c(client(seq=5, sport=9, flags=ACK))  # not tracked
        play.p(replica(b"y", seq=P_ISN + 1))  # QEMU's rewriter never sees it
        said = lines.getvalue().decode()
    name = "colo_filter_rewriter_pkt_info handle"
    assert [line for line in said.split("\n") if line] == [
        f"{name}_primary_tcp_pkt: src/dst: 10.0.0.9/10.0.0.2 p: seq/ack={C_ISN + 1}/{P_ISN + 1}  flags=0x10",
        f"colo_filter_rewriter_conn_offset : offset={OFFSET}",
        f"{name}_secondary_tcp_pkt: src/dst: 10.0.0.2/10.0.0.9 p: seq/ack={S_ISN + 1}/{C_ISN + 2}  flags=0x10",
        f"colo_filter_rewriter_conn_offset : offset={OFFSET}",
        f"{name}_primary_tcp_pkt: src/dst: 10.0.0.9/10.0.0.2 p: seq/ack=5/{P_ISN + 1}  flags=0x10",
        "colo_filter_rewriter_conn_offset : offset=0",
    ]


@pytest.mark.parametrize("on", [QEMU[:1], QEMU[1:]])
def test_they_need_their_gate_and_it_says_nothing_itself(on: tuple[str, ...]) -> None:
    play = Play().begun()
    with traced(*on) as lines:
        play.c(client(b"x"))
        assert lines.getvalue() == b""


def test_one_of_the_two_may_be_on_alone() -> None:
    play = Play().begun()
    with traced(QEMU[0], QEMU[2]) as lines:
        play.c(client(b"x"))
        assert lines.getvalue() == f"colo_filter_rewriter_conn_offset : offset={OFFSET}\n".encode()


def test_the_fast_path_is_taken_again_when_tracing_ends() -> None:
    play = Play().begun()
    with traced(*QEMU):
        assert not play.rewriter._engine.fast
    assert play.rewriter._engine.fast


def test_a_rewriter_that_is_gone_is_not_told_of_tracing() -> None:
    play = Play()
    del play
    with traced(*QEMU):
        pass


def test_the_life_of_a_connection_is_told() -> None:
    play = Play(timestamps="translate", max_connections=1, max_held_frames=1)
    connection = "tcp 10.0.0.2:80 > 10.0.0.9:40000"
    with traced("colo_rewrite_*") as lines:
        play.c(CLIENT_SYN)
        play.c(client(b"1"), client(b"2"))
        play.s(replica(seq=S_ISN, flags=SYN | ACK, options=timestamp(50, 1)))
        play.c(client(seq=C_ISN, ack=0, flags=SYN, sport=7))
        play.rewriter.checkpoint_completed(0.0)
        play.c(client(flags=RST, sport=7))
        play.after(300)
        play.rewriter.failover_to_secondary(play.now)
        said = lines.getvalue().decode().splitlines()
    assert said == [
        f"colo_rewrite_connection_tracked : {connection}, begun by the client",
        f"colo_rewrite_frame_held : {connection}, client, size = 55",
        "colo_rewrite_frame_dropped : client, size = 55",
        f"colo_rewrite_numbers_learned : {connection}, offset = {OFFSET}, timestamps = 0",
        f"colo_rewrite_connection_evicted : {connection}, ESTABLISHED, idle = 0 ms, dropped = 0",
        "colo_rewrite_connection_tracked : tcp 10.0.0.2:80 > 10.0.0.9:7, begun by the client",
        "colo_rewrite_checkpoint : connections = 1, with other numbers = 1",
        "colo_rewrite_connection_ended : tcp 10.0.0.2:80 > 10.0.0.9:7, CLOSED, age = 240000 ms",
        "colo_rewrite_failover : the secondary goes on alone, connections = 0",
    ]


def test_what_a_checkpoint_voids_is_told() -> None:
    play = Play()
    play.c(CLIENT_SYN)
    play.s(replica(seq=S_ISN, flags=SYN | ACK), replica(b"early", seq=S_ISN + 1))
    with traced("colo_rewrite_frame_dropped") as lines:
        play.rewriter.checkpoint_completed(0.0)
        assert lines.getvalue() == b"colo_rewrite_frame_dropped : secondary, size = 59\n"
    assert play.accounting.secondary.dropped.frames == 1
    assert play.released(Source.SECONDARY) == []
