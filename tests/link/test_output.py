"""The outbox: in order, whole frames to each peer, nothing dropped."""

import random
import socket

import pytest

from coloproxy.link.arena import Pool
from coloproxy.link.output import Outbox
from support.wire import framed, unframed


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def drain(sock: socket.socket, most: int = 1 << 30) -> bytes:
    data = b""
    try:
        while len(data) < most:
            data += sock.recv(min(1 << 16, most - len(data)))
    except BlockingIOError:
        pass
    return data


def load(outbox: Outbox, frames: list[bytes], pool: Pool) -> None:
    """Put frames in the outbox as the comparator would: ranges of a leased buffer."""
    for at in range(0, len(frames), 10):
        lease = pool.take()
        data = b"".join(framed(frame) for frame in frames[at : at + 10])
        lease.buf[: len(data)] = data
        outbox.add([(lease.buf, 0, len(data), -1, lease)])


@pytest.mark.parametrize("compacted", [False, True])
def test_a_slow_reader_gets_everything_in_order(compacted: bool) -> None:
    rng = random.Random(1)
    frames = [b"%06d" % n * rng.randrange(1, 300) for n in range(3000)]
    pool = Pool(1 << 18)
    outbox = Outbox(False, pool)
    ours, theirs = pair()
    load(outbox, frames, pool)
    received = b""
    while outbox.pending:
        before = outbox.pending
        outbox.flush(ours)
        received += drain(theirs, rng.choice([1, 1000, 100_000]))
        if compacted and rng.random() < 0.1:
            outbox.compact()
            assert before >= outbox.pending
    received += drain(theirs)
    assert unframed(received) == (frames, b"")
    assert outbox.written == len(received)
    ours.close()
    theirs.close()


def test_the_buffers_are_given_back_when_all_is_written() -> None:
    pool = Pool(1 << 18)
    outbox = Outbox(False, pool)
    ours, theirs = pair()
    for _ in range(20):
        load(outbox, [bytes(1000)] * 100, pool)
        while not outbox.flush(ours):
            drain(theirs)
        drain(theirs)
    assert pool.lent == 0
    ours.close()
    theirs.close()


def test_compacting_gives_the_buffers_back_that_short_rests_keep() -> None:
    pool = Pool(1 << 18)
    outbox = Outbox(False, pool)
    load(outbox, [bytes(5000)] * 300, pool)
    assert pool.lent == 30
    outbox.compact()
    assert pool.lent <= 300 * 5004 // (1 << 18) + 1
    assert outbox.pending == 300 * 5004


def test_the_next_peer_is_sent_the_whole_of_the_frame_the_last_one_got_half_of() -> None:
    rng = random.Random(2)
    frames = [b"%06d" % n * rng.randrange(1, 2000) for n in range(500)]
    pool = Pool(1 << 18)
    outbox = Outbox(False, pool)
    load(outbox, frames, pool)
    total = outbox.pending
    delivered: list[bytes] = []
    while outbox.pending:
        ours, theirs = pair()
        outbox.flush(ours)  # all that is written is read: what lies unread when a peer goes is lost with it
        received, half = unframed(drain(theirs))
        ours.close()
        theirs.close()
        outbox.peer_lost()
        if rng.random() < 0.5:
            outbox.compact()
        delivered += received
        assert outbox.pending + outbox.written == total
        left = total - sum(len(frame) + 4 for frame in delivered)
        assert outbox.pending == left, f"{len(half)} bytes of half a frame"
    assert delivered == frames


def test_a_peer_that_is_gone_is_an_error_and_loses_nothing() -> None:
    pool = Pool(1 << 18)
    outbox = Outbox(False, pool)
    load(outbox, [b"frame"], pool)
    ours, theirs = pair()
    theirs.close()
    with pytest.raises(OSError, match="pipe"):
        outbox.flush(ours)
    ours.close()
    outbox.peer_lost()
    ours, theirs = pair()
    assert outbox.flush(ours)
    assert drain(theirs) == framed(b"frame")
    ours.close()
    theirs.close()
