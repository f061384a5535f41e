"""Checkpoints, failover, limits, and what is done where nobody checkpoints."""

from collections.abc import Callable

import pytest

from coloproxy import Comparator, Config, Side
from coloproxy.compare.events import (
    CheckpointCompleted,
    CheckpointFailed,
    ConnectionEvicted,
    Divergence,
    FailedOver,
)
from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import parse
from support.frames import ACK, FIN, RST, SYN, arp, fragments, syn_options, tcp, udp, udp_datagram
from support.play import Play

Make = Callable[..., Play]


def data(payload: bytes, seq: int = 1000, ack: int = 1, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, **more)  # type: ignore[arg-type]


def begun(play: Play, *ports: int) -> Play:
    for port in ports or (40000,):
        play.both(tcp(seq=999, ack=1, flags=SYN | ACK, options=syn_options(), dport=port))
    play.left()
    return play


def test_one_request_for_all_divergences_until_it_is_answered(play: Make) -> None:
    made = begun(play(), 1, 2)
    made.p(data(b"x", dport=1)).s(data(b"y", dport=1)).p(data(b"x", dport=2)).s(data(b"y", dport=2))
    assert len(made.divergences) == 2
    assert len(made.requests) == 1
    made.after(5.1)
    assert [request.attempt for request in made.requests] == [1, 2]
    assert made.requests[1].reasons == {"tcp_payload": 2}


def test_other_connections_go_on_while_a_checkpoint_is_pending(play: Make) -> None:
    made = begun(play(), 1, 2)
    made.p(data(b"x", dport=1)).s(data(b"y", dport=1))
    assert made.both(data(b"fine", dport=2)).left() == [data(b"fine", dport=2)]


def test_a_checkpoint_releases_what_is_held_in_the_order_of_arrival(play: Make) -> None:
    made = begun(play(), 1, 2)
    frames = [
        data(b"x", dport=2), udp(b"u"), data(b"y", dport=1), data(b"z", 1001, dport=2),
        tcp(seq=1001, flags=RST, dport=1),
    ]  # fmt: skip
    made.p(*frames)
    assert made.left() == []
    assert made.checkpoint().left() == frames
    assert made.held == (0, 0)
    (done,) = [event for event in made.events if isinstance(event, CheckpointCompleted)]
    assert (done.epoch, done.released_frames) == (1, 5)


def test_after_a_checkpoint_the_primarys_place_is_both_sides(play: Make) -> None:
    made = begun(play()).p(data(b"ours")).s(data(b"THEIRS"))
    made.checkpoint().left()
    made.after(0.1)
    assert made.both(data(b"next", 1004)).left() == [data(b"next", 1004)]
    assert made.reasons == ["tcp_payload"]


def test_late_frames_of_the_old_epoch_do_not_diverge_the_new_one(play: Make) -> None:
    made = begun(play()).p(data(b"ours")).s(data(b"them"))
    made.checkpoint().left()
    made.s(data(b"OLD WORDS", 1004)).after(0.001)
    assert made.p(data(b"new words", 1004)).left() == []
    assert made.s(data(b"new words", 1004)).left() == [data(b"new words", 1004)]
    assert made.reasons == ["tcp_payload"]


def test_late_datagrams_of_the_old_epoch_are_forgotten(play: Make) -> None:
    made = play().p(udp(b"a")).checkpoint()
    made.left()
    made.s(udp(b"stale")).after(0.1)
    made.both(udp(b"new"))
    assert made.left() == [udp(b"new")]
    made.after(10)
    assert made.divergences == []
    assert made.held == (0, 0)


def test_a_failed_checkpoint_releases_nothing_and_is_asked_for_again(play: Make) -> None:
    made = begun(play()).p(data(b"x")).s(data(b"y"))
    made.comparator.checkpoint_failed(made.now)
    made.after(5.1)
    assert made.left() == []
    assert [request.attempt for request in made.requests] == [1, 2]
    assert any(isinstance(event, CheckpointFailed) for event in made.events)


def test_requests_keep_their_distance(play: Make) -> None:
    made = begun(play(min_interval=1000)).p(data(b"x")).s(data(b"y")).checkpoint().after(0.5)
    made.p(data(b"x", 1001)).s(data(b"y", 1001)).after(0.4)
    assert len(made.requests) == 1
    assert made.held[0] == 1
    made.after(0.2)
    assert [request.time for request in made.requests] == [0.0, 1.0]


def test_a_client_owed_an_acknowledgement_gets_it_with_the_checkpoint(play: Make) -> None:
    made = begun(play()).p(data(b"x", ack=501)).s(data(b"x", ack=301))
    made.left()
    ((packet, _),) = made.checkpoint().packets()
    assert (packet.ack, packet.payload_end - packet.payload) == (501, 0)


def test_a_held_syn_leaves_with_the_checkpoint_and_its_connection_goes_on(play: Make) -> None:
    syn = tcp(seq=999, ack=1, flags=SYN | ACK, options=syn_options())
    made = play().p(syn)
    assert made.checkpoint().left() == [syn]
    made.after(0.1)
    assert made.both(data(b"hello")).left() == [data(b"hello")]


# Failover


def test_when_the_primary_dies_its_held_frames_are_dropped_and_the_secondary_is_heard(play: Make) -> None:
    made = begun(play()).p(data(b"unverified"))
    made.comparator.failover_to_secondary(made.now)
    made.s(data(b"survivor"), arp()).p(data(b"ghost"))
    assert made.left() == [data(b"survivor"), arp()]
    assert made.held == (0, 0)
    (event,) = [event for event in made.events if isinstance(event, FailedOver)]
    assert (event.survivor, event.dropped_frames) == ("secondary", 1)


def test_when_the_secondary_dies_the_primarys_held_frames_are_released(play: Make) -> None:
    made = begun(play()).p(data(b"unverified"))
    made.comparator.primary_alone(made.now)
    made.p(data(b"more", 1010)).s(data(b"ghost"))
    assert made.left() == [data(b"unverified"), data(b"more", 1010)]


def test_a_checkpoint_after_a_failover_protects_again(play: Make) -> None:
    made = begun(play())
    made.comparator.primary_alone(made.now)
    made.p(data(b"alone")).checkpoint().after(0.1)
    made.left()
    assert made.p(data(b"again", 1005)).left() == []
    assert made.s(data(b"again", 1005)).left() == [data(b"again", 1005)]


# Where nobody checkpoints


def test_release_reports_and_goes_on_comparing(play: Make) -> None:
    made = begun(play(on_divergence="release"))
    made.p(data(b"x")).s(data(b"y")).both(data(b"fine", 1001)).p(data(b"a", 1005)).s(data(b"b", 1005))
    assert made.left() == [data(b"x"), data(b"fine", 1001), data(b"a", 1005)]
    assert made.reasons == ["tcp_payload"] * 2
    assert made.requests == []


def test_release_pairs_the_datagrams_that_follow(play: Make) -> None:
    made = play(on_divergence="release").p(udp(b"a"), udp(b"b")).s(udp(b"x"), udp(b"b")).after(0.02)
    assert made.left() == [udp(b"a"), udp(b"b")]
    assert made.held == (0, 0)
    assert made.reasons == ["udp_payload"]


def test_alarm_reports_once_and_lets_the_connection_pass(play: Make) -> None:
    made = begun(play(on_divergence="alarm"))
    made.p(data(b"x")).s(data(b"y")).p(data(b"a", 1001)).s(data(b"b", 1001))
    assert made.left() == [data(b"x"), data(b"a", 1001)]
    assert made.reasons == ["tcp_payload"]
    assert made.held == (0, 0)


def test_an_unprotected_connection_is_shown_as_such_until_another_begins_on_its_key(play: Make) -> None:
    made = begun(play(on_divergence="alarm")).p(data(b"x")).s(data(b"y"))
    (shown,) = made.comparator.state(made.now).connections
    assert shown.unprotected
    made.both(tcp(seq=4999, ack=1, flags=SYN | ACK))
    (shown,) = made.comparator.state(made.now).connections
    assert not shown.unprotected
    made.p(data(b"z", 5000))
    assert made.held == (1, 0)


def test_cut_resets_the_connection_at_both_ends(play: Make) -> None:
    made = begun(play(on_divergence="cut"))
    made.both(data(b"good")).p(data(b"x", 1004)).s(data(b"y", 1004))
    good, reset = made.left()
    packet = parse(reset, 0, len(reset))
    assert good == data(b"good")
    assert (packet.flags, packet.seq, packet.ack) == (RST | ACK, 1004, 1)
    assert tcp_checksum_is_right(reset, packet)
    ((back, _),) = made.comparator.take_returns()
    returned = parse(back, 0, len(back))
    assert (returned.src, returned.sport, returned.dst, returned.dport) == (
        packet.dst, packet.dport, packet.src, packet.sport
    )  # fmt: skip
    assert (returned.flags, returned.seq, returned.ack) == (RST | ACK, 1, 1004)
    assert tcp_checksum_is_right(back, returned)
    assert made.held == (0, 0)


def test_each_replica_is_reset_at_the_place_it_expects(play: Make) -> None:
    made = begun(play(on_divergence="cut"))
    made.p(data(b"x", ack=501)).s(data(b"y", ack=301))
    returns = [parse(frame, 0, len(frame)) for frame, _ in made.comparator.take_returns()]
    assert sorted(packet.seq for packet in returns) == [301, 501]


def test_what_comes_of_a_cut_connection_is_refused_until_a_syn_begins_another(play: Make) -> None:
    made = begun(play(on_divergence="cut")).p(data(b"x")).s(data(b"y"))
    made.left()
    made.both(data(b"more", 1001))
    assert made.left() == []
    assert made.comparator.accounting().primary.refused.frames == 1
    syn = tcp(seq=4999, ack=1, flags=SYN | ACK)
    made.both(syn, data(b"anew", 5000))
    assert made.left() == [syn, data(b"anew", 5000)]


def test_what_is_no_connection_cannot_be_cut_and_passes(play: Make) -> None:
    made = play(on_divergence="cut").p(udp(b"x")).s(udp(b"y")).after(1)
    assert made.left() == [udp(b"x")]
    assert made.comparator.take_returns() == []


# Limits


def test_a_side_that_is_too_far_ahead_is_not_read_on(play: Make) -> None:
    made = begun(play(max_queue_size=4))
    made.p(*(data(b"x", 1000 + at) for at in range(4)))
    comparator = made.comparator
    assert (comparator.readable(Side.PRIMARY), comparator.readable(Side.SECONDARY)) == (False, True)
    made.s(data(b"xx"))
    assert comparator.readable(Side.PRIMARY)


def test_when_neither_side_can_be_read_a_checkpoint_is_asked_for(play: Make) -> None:
    made = begun(play(max_queue_size=2), 1, 2)
    made.p(data(b"x", dport=1), data(b"x", 1001, dport=1)).s(data(b"x", dport=2), data(b"x", 1001, dport=2))
    assert made.reasons == ["queue_limit"]
    made.checkpoint()
    assert made.comparator.readable(Side.PRIMARY)


def test_held_bytes_are_limited(play: Make) -> None:
    made = begun(play(max_held_bytes=3000), 1, 2)
    made.p(data(b"x" * 1400, dport=1), data(b"x" * 1400, 2400, dport=1), data(b"x" * 1400, 3800, dport=1))
    assert not made.comparator.readable(Side.PRIMARY)
    made.s(data(b"x" * 1400, dport=2), data(b"x" * 1400, 2400, dport=2), data(b"x" * 1400, 3800, dport=2))
    assert made.reasons == ["memory_limit"]


def test_a_full_table_forgets_closed_then_idle_connections_and_never_held_frames(play: Make) -> None:
    made = play(max_connections=4)
    made.p(udp(b"held", dport=1))
    begun(made, 2, 3, 4)
    made.both(tcp(seq=1000, ack=1, flags=FIN | ACK, dport=4))
    made.after(1).both(udp(b"new", dport=5))
    (first,) = [event for event in made.events if isinstance(event, ConnectionEvicted)]
    assert first.connection.destination_port == 4
    made.after(0.1).both(data(b"recent", dport=2)).both(udp(b"newer", dport=6))
    evicted = [event.connection.destination_port for event in made.events if isinstance(event, ConnectionEvicted)]
    assert evicted == [4, 3]
    made.left()
    assert made.s(udp(b"held", dport=1)).left() == [udp(b"held", dport=1)]


def test_evidence_has_the_frames_of_both_sides() -> None:
    play = Play(evidence=True)
    begun(play).p(data(b"same"), data(b"ours", 1004)).s(data(b"sametheirs"))
    ((divergence, frames),) = play.comparator.take_evidence()
    assert isinstance(divergence, Divergence)
    assert [(side, frame) for side, frame, _, _ in frames] == [
        (Side.PRIMARY, data(b"ours", 1004)), (Side.SECONDARY, data(b"sametheirs"))
    ]  # fmt: skip
    assert play.comparator.take_evidence() == []


@pytest.mark.parametrize("general", [False, True])
def test_compacting_gives_every_buffer_back(general: bool) -> None:
    """Frames that wait are copied out of the batch they came in; nothing else changes."""
    from array import array

    class Lease:
        pass

    class Batch:
        def __init__(self, frames: list[bytes]) -> None:
            self.buf, self.index, self.lease = bytearray(), array("I"), Lease()
            self.count, self.headroom = len(frames), 4
            for frame in frames:
                self.buf += len(frame).to_bytes(4) + frame
                self.index.extend((len(self.buf) - len(frame), len(self.buf), 0))

    import weakref

    c = Comparator(Config(), now=0.0)
    if general:
        c.use_general_path()
    syn = tcp(seq=999, ack=1, flags=SYN | ACK, options=syn_options())
    sent = [syn, *(data(bytes([at]) * 10, 1000 + 10 * at) for at in range(20)), udp(b"x"),
            *fragments(udp_datagram(bytes(3000)))]  # fmt: skip
    batch = Batch(sent)
    lease = weakref.ref(batch.lease)
    c.receive_batch(Side.PRIMARY, batch, 0.0)  # type: ignore[arg-type]
    del batch
    assert lease() is not None
    c.compact()
    assert lease() is None
    c.receive_batch(Side.SECONDARY, Batch(sent), 0.0)  # type: ignore[arg-type]
    left = b"".join(
        bytes(buf[start:end]) if vnet == -1 else (end - start).to_bytes(4) + bytes(buf[start:end])
        for buf, start, end, vnet, _ in c.take_output()
    )
    assert left == b"".join(len(frame).to_bytes(4) + frame for frame in sent)
    assert parse(sent[0], 0, len(sent[0])).seq == 999
