"""TCP: what leaves, what waits, what diverges."""

import struct
from collections.abc import Callable

import pytest

from coloproxy.compare.rules import Rule
from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import parse
from coloproxy.packet.tcpopts import sack_blocks
from support.frames import ACK, FIN, PSH, RST, SYN, syn_options, tcp, timestamp
from support.play import Play

Make = Callable[..., Play]


def syn_ack(seq: int = 999, **more: object) -> bytes:
    more.setdefault("options", syn_options())
    return tcp(seq=seq, ack=1, flags=SYN | ACK, **more)  # type: ignore[arg-type]


def data(payload: bytes, seq: int = 1000, ack: int = 1, flags: int = ACK | PSH, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, flags=flags, **more)  # type: ignore[arg-type]


@pytest.fixture
def begun(play: Make) -> Make:
    """Makes a Play with a connection whose first byte has the number 1000."""

    def make(**config: object) -> Play:
        made = play(**config).both(syn_ack())
        assert made.left() == [syn_ack()]
        return made

    return make


# Comparing


def test_a_byte_leaves_only_when_both_have_said_it(begun: Make) -> None:
    play = begun().p(data(b"hello"))
    assert play.left() == []
    assert play.s(data(b"hello")).left() == [data(b"hello")]


def test_the_secondary_may_be_first_and_is_never_heard(begun: Make) -> None:
    play = begun().s(data(b"hello", ttl=3))
    assert play.left() == []
    assert play.p(data(b"hello")).left() == [data(b"hello")]


def test_primary_cut_longer_than_secondary(begun: Make) -> None:
    play = begun().p(data(b"hello world")).s(data(b"hello"))
    assert play.left() == []
    assert play.s(data(b" world", 1005)).left() == [data(b"hello world")]


def test_secondary_cut_longer_than_primary(begun: Make) -> None:
    play = begun().s(data(b"hello world"))
    assert play.p(data(b"hello")).left() == [data(b"hello")]
    assert play.p(data(b" world", 1005)).left() == [data(b" world", 1005)]
    assert play.held == (0, 0)


def test_windows_timestamps_urgent_pointer_ttl_tos_and_id_are_not_compared(begun: Make) -> None:
    ours = data(b"hello", options=timestamp(1, 2), ttl=64, tos=0, ident=1)
    theirs = data(b"hello", options=timestamp(77, 2), ttl=12, tos=8, ident=9, urgent=3)
    assert begun().p(ours).s(theirs).left() == [ours]


def test_ethernet_padding_is_never_payload(begun: Make) -> None:
    play = begun().p(data(b"hi", pad=10)).s(data(b"hi"))
    assert play.left() == [data(b"hi", pad=10)]


def test_the_first_differing_byte_is_named(begun: Make) -> None:
    play = begun().p(data(b"some bytes here")).s(data(b"some bites here"))
    assert play.left() == []
    (divergence,) = play.divergences
    assert divergence.reason == "tcp_payload"
    assert divergence.seq == 1006
    assert divergence.stream_offset == 6
    at = divergence.context_offset
    assert bytes.fromhex(divergence.primary)[at : at + 1] == b"y"
    assert bytes.fromhex(divergence.secondary)[at : at + 1] == b"i"
    assert divergence.held_primary.frames == 1
    assert divergence.rule == "default"
    assert str(divergence.connection) == "tcp 10.0.0.2:80 > 10.0.0.9:40000"


def test_what_was_verified_before_the_difference_stays_released(begun: Make) -> None:
    play = begun().both(data(b"good")).p(data(b"bad", 1004)).s(data(b"BAD", 1004))
    assert play.left() == [data(b"good")]
    assert play.reasons == ["tcp_payload"]


def test_retransmission_of_verified_bytes_leaves_at_once(begun: Make) -> None:
    play = begun().both(data(b"hello"))
    play.left()
    assert play.p(data(b"hello")).left() == [data(b"hello")]
    assert play.p(data(b"llo", 1002)).left() == [data(b"llo", 1002)]


def test_a_gap_of_the_primary_waits_for_the_missing_bytes(begun: Make) -> None:
    play = begun().s(data(b"hello world")).p(data(b"world", 1006))
    assert play.left() == []
    play.p(data(b"hello ", 1000))
    assert play.left() == [data(b"hello ", 1000), data(b"world", 1006)]


def test_one_side_contradicting_itself_is_a_divergence(begun: Make) -> None:
    assert begun().p(data(b"hello"), data(b"jello")).reasons == ["tcp_overlap"]
    assert begun().s(data(b"hello"), data(b"jello")).reasons == ["tcp_overlap"]


def test_mid_stream_begins_at_the_primarys_first_place(play: Make) -> None:
    made = play().s(data(b"0123456789", 990)).s(data(b"hello", 1000))
    made.p(data(b"56789", 995), data(b"hello", 1000))
    assert made.left() == [data(b"56789", 995), data(b"hello", 1000)]
    assert made.divergences == []


def test_vlan_tags_make_another_connection(begun: Make) -> None:
    play = begun().p(data(b"x", vlan=(5,))).s(data(b"x", vlan=(6,)))
    assert play.left() == []
    assert play.s(data(b"x", vlan=(5,))).left() == [data(b"x", vlan=(5,))]
    assert play.p(data(b"y", vlan=(7, 8))).s(data(b"y", vlan=(7, 8))).left() == [data(b"y", vlan=(7, 8))]


def test_ipv6_with_extension_headers_is_compared_with_ipv6_without(play: Make) -> None:
    ends = {"src": "fd00::2", "dst": "fd00::9"}
    ours = data(b"hello", **ends, extensions=((0, b"\x01\x04\0\0\0\0"), (60, b"\x01\x02\0\0")))
    made = play().p(ours).s(data(b"hello", **ends))
    assert made.left() == [ours]


# Beginning and end


def test_a_syn_ack_waits_for_the_secondarys(play: Make) -> None:
    made = play().p(syn_ack())
    assert made.left() == []
    assert made.s(syn_ack(5)).left() == [syn_ack()]


def test_relative_numbers_are_shifted_by_the_difference_of_the_syns(play: Make) -> None:
    made = play(isn="relative").p(syn_ack(999)).s(syn_ack(4294967290)).p(data(b"hello", 1000))
    made.s(data(b"hello", 4294967291))
    assert made.left() == [syn_ack(999), data(b"hello", 1000)]


@pytest.mark.parametrize(
    "options",
    [
        syn_options(mss=1400),
        syn_options(scale=8),
        syn_options(scale=None),
        syn_options(sack=False),
        syn_options(stamps=True),
    ],
)
def test_syn_options_that_outlive_a_failover_must_agree(play: Make, options: bytes) -> None:
    made = play().p(syn_ack()).s(syn_ack(options=options))
    assert made.left() == []
    assert made.reasons == ["tcp_syn_options"]


def test_a_rule_can_relax_the_syn_options(play: Make) -> None:
    rule = Rule(name="lax", protocol="tcp", ignore=("tcp_syn_options",))
    made = play(rules=[rule]).p(syn_ack()).s(syn_ack(options=syn_options(mss=1400)))
    assert made.left() == [syn_ack()]


def test_a_syn_on_a_known_key_starts_it_afresh(begun: Make) -> None:
    play = begun().both(data(b"first")).both(syn_ack(70000)).p(data(b"second", 70001))
    play.left()
    assert play.s(data(b"second", 70001)).left() == [data(b"second", 70001)]
    assert play.divergences == []


def test_a_syn_again_is_a_retransmission(begun: Make) -> None:
    play = begun().p(syn_ack())
    assert play.left() == [syn_ack()]
    assert play.both(data(b"x")).left() == [data(b"x")]


def test_a_new_connection_waits_for_the_secondary_to_begin_it_too(begun: Make) -> None:
    play = begun().p(syn_ack(70000), data(b"new", 70001))
    assert play.left() == []
    play.s(data(b"old"))
    assert play.left() == []
    play.s(syn_ack(70000), data(b"new", 70001))
    assert play.left() == [syn_ack(70000), data(b"new", 70001)]


def test_fin_leaves_when_both_have_ended_at_the_same_place(begun: Make) -> None:
    end = data(b"bye", flags=ACK | FIN)
    play = begun().p(end).s(data(b"bye"))
    assert play.left() == []
    assert play.s(tcp(seq=1003, ack=1, flags=ACK | FIN)).left() == [end]


def test_one_ending_while_the_other_goes_on_is_a_divergence(begun: Make) -> None:
    play = begun().p(data(b"bye", flags=ACK | FIN)).s(data(b"bye and more"))
    assert play.left() == []
    assert play.reasons == ["tcp_fin"]
    assert play.divergences[0].stream_offset == 3


def test_only_one_side_ending_within_the_timeout_is_a_divergence(begun: Make) -> None:
    assert begun().p(tcp(seq=1000, ack=1, flags=ACK | FIN)).after(4.1).reasons == ["tcp_fin"]
    assert begun().s(tcp(seq=1000, ack=1, flags=ACK | FIN)).after(4.1).reasons == ["tcp_fin"]


def test_rst_leaves_when_the_secondary_has_reset_too(begun: Make) -> None:
    reset = tcp(seq=1000, flags=RST)
    play = begun().p(reset)
    assert play.left() == []
    assert play.s(tcp(seq=1400, flags=RST | ACK)).left() == [reset]
    play = begun().s(reset)
    assert play.p(reset).left() == [reset]


def test_only_one_side_resetting_within_the_timeout_is_a_divergence(begun: Make) -> None:
    assert begun().p(tcp(seq=1000, flags=RST)).after(4.1).reasons == ["tcp_rst"]
    assert begun().s(tcp(seq=1000, flags=RST)).after(4.1).reasons == ["tcp_rst"]


def test_bytes_of_one_side_only_time_out(begun: Make) -> None:
    assert begun().p(data(b"x")).after(2.9).divergences == []
    assert begun().p(data(b"x")).after(4.1).reasons == ["timeout_primary_only"]
    assert begun().s(data(b"x")).after(4.1).reasons == ["timeout_secondary_only"]


def test_a_stream_that_moves_on_is_not_overdue(begun: Make) -> None:
    play = begun().p(data(b"x" * 100))
    for at in range(10):
        play.after(2).s(data(b"x" * 10, 1000 + 10 * at))
    assert play.reasons == []
    play.p(data(b"y" * 20, 1100)).after(2).s(data(b"y" * 10, 1100)).after(4.1)
    assert play.reasons == ["timeout_primary_only"]


def test_replicas_that_repeat_what_is_verified_wait_for_the_client(begun: Make) -> None:
    play = begun().both(data(b"lost")).p(data(b"x" * 100, 1004)).after(2)
    assert play.s(data(b"lost")).after(2).reasons == []
    assert play.after(2.1).reasons == ["timeout_primary_only"]


def test_closed_connections_are_forgotten_in_time(begun: Make) -> None:
    play = begun().both(tcp(seq=1000, ack=1, flags=ACK | FIN)).after(130)
    assert play.comparator.state(play.now).connection_count == 0
    assert play.divergences == []


# Acknowledgements


def test_clamp_lowers_an_acknowledgement_to_what_both_have(begun: Make) -> None:
    play = begun().p(data(b"x", ack=501)).s(data(b"x", ack=301))
    ((packet, frame),) = play.packets()
    assert packet.ack == 301
    assert frame[packet.payload :] == b"x"
    assert tcp_checksum_is_right(frame, packet)


def test_clamp_tells_the_client_the_rest_when_the_secondary_catches_up(begun: Make) -> None:
    play = begun().p(data(b"x", ack=501)).s(data(b"x", ack=301))
    play.left()
    ((packet, frame),) = play.s(tcp(seq=1001, ack=501)).packets()
    assert (packet.ack, packet.flags, packet.seq) == (501, ACK, 1001)
    assert packet.payload == packet.payload_end
    assert tcp_checksum_is_right(frame, packet)
    assert play.comparator.accounting().made.frames == 1


def test_what_the_secondary_alone_lacks_the_client_is_asked_for(begun: Make) -> None:
    play = begun().p(data(b"x", ack=501)).s(data(b"x", ack=301))
    play.left()
    hole = b"\1\1\5\x12" + struct.pack(">IIII", 401, 501, 601, 701)  # the primary lacks the second block itself
    ((packet, frame),) = play.s(tcp(seq=1001, ack=301, options=hole)).packets()
    assert (packet.ack, packet.flags, packet.seq) == (301, ACK, 1001)
    assert sack_blocks(frame, packet.l4 + 20, packet.payload) == [(401, 501)]
    assert tcp_checksum_is_right(frame, packet)
    assert play.s(tcp(seq=1001, ack=301)).packets()[0][0].window == packet.window  # RFC 5681, 2: a duplicate
    assert play.s(tcp(seq=1001, ack=501)).packets()[0][0].ack == 501
    assert play.s(tcp(seq=1001, ack=501)).left() == []  # now neither lacks anything that the other has


def test_an_update_of_the_secondarys_window_is_no_sign_of_loss(begun: Make) -> None:
    play = begun().p(data(b"x", ack=501)).s(data(b"x", ack=301, window=60000))
    ((packet, _),) = play.packets()
    ((update, _),) = play.s(tcp(seq=1001, ack=301, window=65535)).packets()
    assert update.ack == 301
    assert update.window > packet.window


def test_clamp_cuts_the_window_to_the_nearer_right_edge(begun: Make) -> None:
    play = begun().p(data(b"x", ack=501, window=1000)).s(data(b"x", ack=501, window=600))
    ((packet, _),) = play.packets()
    assert (packet.ack, packet.window) == (501, 600)


def test_hold_waits_for_the_secondary_and_alters_nothing(begun: Make) -> None:
    play = begun(ack_rule="hold").p(data(b"x", ack=501)).s(data(b"x", ack=301))
    assert play.left() == []
    assert play.s(tcp(seq=1001, ack=501)).left() == [data(b"x", ack=501)]


@pytest.mark.parametrize("ack_rule", ["clamp", "hold"])
def test_pure_acknowledgements_within_the_secondarys_leave_at_once(begun: Make, ack_rule: str) -> None:
    play = begun(ack_rule=ack_rule).s(tcp(seq=1000, ack=900))
    first, update = tcp(seq=1000, ack=800), tcp(seq=1000, ack=800, window=65000)
    assert play.p(first, update).left() == [first, update]
    assert play.held == (0, 0)


@pytest.mark.parametrize("ack_rule", ["clamp", "hold"])
def test_what_the_secondary_sets_free_at_once_leaves_in_the_order_of_its_arrival(begun: Make, ack_rule: str) -> None:
    first, bytes_, last = tcp(seq=1000, ack=51), data(b"reply", ack=51), tcp(seq=1005, ack=101)
    play = begun(ack_rule=ack_rule).s(tcp(seq=1000, ack=1)).p(first, bytes_, last)
    assert play.s(data(b"reply", ack=101)).left()[-3:] == [first, bytes_, last]


def test_an_acknowledgement_that_never_comes_times_out_with_its_own_reason(begun: Make) -> None:
    play = begun(ack_rule="hold").p(data(b"x", ack=501)).s(data(b"x", ack=301)).after(4.1)
    assert play.reasons == ["tcp_ack_timeout"]


# Large frames


def large(size: int = 20000, seq: int = 1000, flags: int = ACK | PSH, **more: object) -> bytes:
    payload = bytes(at % 251 for at in range(size))
    return data(payload, seq, flags=flags, vnet=10, gso=1448, **more)


def test_the_verified_beginning_of_a_large_frame_leaves_alone(begun: Make) -> None:
    whole = large()
    payload = parse(whole, 0, len(whole), 10)
    play = begun().p(whole, vnet_len=10).s(data(whole[payload.payload :][:5000]))
    assert play.left() == []
    ((part, frame),) = play.after(0.01).packets()
    assert (part.seq, part.payload_end - part.payload) == (1000, 5000)
    assert frame[part.payload : part.payload_end] == whole[payload.payload :][:5000]
    assert not part.flags & PSH
    assert tcp_checksum_is_right(frame, part)
    play.s(data(whole[payload.payload :][5000:], 6000))
    ((rest, frame),) = play.packets()
    assert (rest.seq, rest.payload_end - rest.payload) == (6000, 15000)
    assert rest.flags & PSH
    assert tcp_checksum_is_right(frame, rest)
    accounting = play.comparator.accounting()
    assert (accounting.primary.released.frames, accounting.made.frames) == (2, 1)


def test_prefix_release_can_be_switched_off(begun: Make) -> None:
    whole = large()
    packet = parse(whole, 0, len(whole), 10)
    play = begun(prefix_release=False).p(whole, vnet_len=10).s(data(whole[packet.payload :][:5000])).after(1)
    assert play.left() == []


def test_a_checkpoint_releases_the_rest_of_a_frame_that_left_in_part(begun: Make) -> None:
    whole = large()
    packet = parse(whole, 0, len(whole), 10)
    play = begun().p(whole, vnet_len=10).s(data(whole[packet.payload :][:5000])).after(0.01)
    sent = sum(part.payload_end - part.payload for part, _ in play.packets())
    rest = sum(part.payload_end - part.payload for part, _ in play.checkpoint().packets())
    assert (sent, rest) == (5000, 15000)


# The method from before 2018


def test_packet_match_takes_any_difference_in_cutting_for_a_divergence(play: Make) -> None:
    made = play(tcp_match="packet").both(data(b"hello"))
    assert made.left() == [data(b"hello")]
    made.p(data(b"hello world", 1005)).s(data(b"hello", 1005))
    assert made.left() == []
    assert made.reasons == ["tcp_packet"]
