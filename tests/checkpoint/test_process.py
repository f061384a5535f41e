"""The notify socket of a real proxy."""

from collections.abc import Callable

import pytest

from support import frames
from support.process import Running
from support.wire import Peer, framed

Start = Callable[..., Running]

DIFFERENT = (frames.tcp(b"this", seq=1, ack=1), frames.tcp(b"that", seq=1, ack=1))


def diverge(running: Running, p: Peer, s: Peer) -> None:
    p.send(DIFFERENT[0])
    s.send(DIFFERENT[1])
    running.wait("checkpoint_requested")


@pytest.mark.parametrize("vnet_hdr", [False, True])
def test_init_is_answered(proxy: Start, vnet_hdr: bool) -> None:
    running = proxy(*(["--vnet-hdr"] if vnet_hdr else []), notify=True)
    n = running.peer("notify_dev")
    n.raw(framed(b"COLO_USERSPACE_PROXY_INIT", 0 if vnet_hdr else None))
    assert n.frames(1) == [b"COLO_COMPARE_GET_XEN_INIT"]
    running.stop()


@pytest.mark.parametrize("vnet_hdr", [False, True])
def test_a_divergence_asks_once_and_a_checkpoint_releases_what_was_held(proxy: Start, vnet_hdr: bool) -> None:
    running = proxy(*(["--vnet-hdr"] if vnet_hdr else []), notify=True)
    (p, s, o), n = running.peers(), running.peer("notify_dev")
    diverge(running, p, s)
    more = [frames.tcp(b"more", seq=5, ack=1), frames.tcp(b"most", seq=9, ack=1)]
    for frame in more:
        p.send(frame)
        s.send(frame)
    p.send(frames.tcp(b"yes", seq=1, ack=1, dport=5))
    s.send(frames.tcp(b"noo", seq=1, ack=1, dport=5))
    running.wait("divergence", 2)
    assert n.frames(1) == [b"DO_CHECKPOINT"]
    assert n.silent()
    assert o.silent()
    n.raw(framed(b"COLO_CHECKPOINT", 0 if vnet_hdr else None))
    assert o.frames(4) == [DIFFERENT[0], *more, frames.tcp(b"yes", seq=1, ack=1, dport=5)]
    completed = running.wait("checkpoint_completed")
    assert (completed["epoch"], completed["released_frames"]) == (1, 4)
    p.send(frames.tcp(b"and on", seq=13, ack=1))
    s.send(frames.tcp(b"and on", seq=13, ack=1))
    assert o.frames(1) == [frames.tcp(b"and on", seq=13, ack=1)]
    assert n.silent()
    running.stop()


def test_each_divergence_after_a_checkpoint_asks_for_one_of_its_own(proxy: Start) -> None:
    running = proxy(notify=True)
    (p, s, o), n = running.peers(), running.peer("notify_dev")
    for number in range(1, 6):
        port = 1000 + number
        p.send(frames.tcp(b"this", seq=1, ack=1, dport=port))
        s.send(frames.tcp(b"that", seq=1, ack=1, dport=port))
        assert n.frames(1) == [b"DO_CHECKPOINT"]
        n.raw(framed(b"COLO_CHECKPOINT"))
        assert o.frames(1) == [frames.tcp(b"this", seq=1, ack=1, dport=port)]
        assert running.wait("checkpoint_completed", number)["epoch"] == number
    assert n.silent()
    assert running.count("checkpoint_requested") == 5
    running.stop()


def test_what_lies_in_the_sockets_at_a_checkpoint_belongs_to_the_time_before(proxy: Start) -> None:
    running = proxy(notify=True)
    (p, s, o), n = running.peers(), running.peer("notify_dev")
    for number in range(20):
        port = 1000 + number
        n.sock.setblocking(True)
        p.send(frames.tcp(b"this", seq=1, ack=1, dport=port))
        s.send(frames.tcp(b"that", seq=1, ack=1, dport=port))
        n.raw(framed(b"COLO_CHECKPOINT"))
        running.wait("checkpoint_completed", number + 1)
        assert o.frames(1) == [frames.tcp(b"this", seq=1, ack=1, dport=port)]
    state = running.state()
    assert state["accounting"]["secondary"]["dropped"]["frames"] == 20
    assert not state["checkpoint_pending"]
    running.stop()


def test_a_request_waits_for_its_peer_and_is_repeated_to_the_next(proxy: Start) -> None:
    running = proxy(notify=True)
    p, s, _ = running.peers()
    diverge(running, p, s)
    for _ in range(3):
        n = running.peer("notify_dev")
        assert n.frames(1) == [b"DO_CHECKPOINT"]
        n.raw(framed(b"COLO_CHECKPOINT")[:9])
        n.close()
    assert running.wait("peer_lost", 3, role="notify_dev")["forgotten_bytes"] == 9
    running.stop()


def test_a_request_that_nobody_answers_is_made_again(proxy: Start) -> None:
    running = proxy("--retry-after", "100", notify=True)
    (p, s, _), n = running.peers(), running.peer("notify_dev")
    diverge(running, p, s)
    assert n.frames(3) == [b"DO_CHECKPOINT"] * 3
    running.stop()


def test_what_says_nothing_known_is_reported_and_ignored(proxy: Start) -> None:
    running = proxy(notify=True)
    n = running.peer("notify_dev")
    n.raw(framed(b"COLO_HELLO")).raw(framed(b"COLO_USERSPACE_PROXY_INIT"))
    assert n.frames(1) == [b"COLO_COMPARE_GET_XEN_INIT"]
    assert "COLO_HELLO" in running.wait("warning")["text"]
    running.stop()


def test_a_length_that_no_message_has_ends_the_connection_alone(proxy: Start) -> None:
    running = proxy(notify=True)
    n = running.peer("notify_dev")
    n.raw(b"\0\0\0\0")
    assert n.ended()
    assert "0 bytes" in running.wait("peer_lost", role="notify_dev")["reason"]
    n = running.peer("notify_dev")
    n.raw(framed(b"COLO_USERSPACE_PROXY_INIT"))
    assert n.frames(1) == [b"COLO_COMPARE_GET_XEN_INIT"]
    running.stop()
