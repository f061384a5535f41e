"""Frames of the old epoch that come late: whatever they are, they do not diverge the new one."""

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from support.frames import ACK, FIN, RST, SYN, syn_options, tcp, udp
from support.play import Play
from support.recut import Habits, recut, segment

Make = Callable[..., Play]
LATE = 0.005  # seconds after a checkpoint
GRACE = 0.02


def data(payload: bytes, seq: int = 1000, ack: int = 1, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, **more)  # type: ignore[arg-type]


def syn_ack(seq: int, **more: object) -> bytes:
    more.setdefault("options", syn_options())
    return tcp(seq=seq, ack=1, flags=SYN | ACK, **more)  # type: ignore[arg-type]


def renewed(play: Play) -> Play:
    """A connection whose replicas differed and have been made equal; the next byte has the number 1004."""
    play.both(syn_ack(999)).p(data(b"ours")).s(data(b"them")).checkpoint().after(LATE)
    play.left()
    play.events.clear()
    return play


def test_bytes_do_not_even_if_the_new_ones_follow_long_after(play: Make) -> None:
    made = renewed(play()).s(data(b"OLD WORDS", 1004)).p(data(b"new words", 1004))
    assert made.left() == []
    assert made.after(1).s(data(b"new words", 1004)).left() == [data(b"new words", 1004)]
    assert made.divergences == []


def test_the_new_secondarys_bytes_take_the_place_of_the_olds(play: Make) -> None:
    made = renewed(play()).s(data(b"OLD WORDS", 1004)).after(GRACE).s(data(b"new", 1004))
    assert made.p(data(b"new words", 1004)).s(data(b" words", 1007)).left() == [data(b"new words", 1004)]
    assert made.after(10).divergences == []
    assert made.held == (0, 0)


def test_a_difference_that_is_said_again_is_one(play: Make) -> None:
    made = renewed(play()).s(data(b"theirs", 1004)).p(data(b"primary", 1004)).after(0.2)
    assert made.divergences == []
    assert made.s(data(b"theirs", 1004)).reasons == ["tcp_payload"]


def test_a_fin_does_not(play: Make) -> None:
    made = renewed(play()).s(tcp(seq=1004, ack=1, flags=FIN | ACK)).after(GRACE).both(data(b"more", 1004))
    assert made.left() == [data(b"more", 1004)]
    assert made.after(10).divergences == []


def test_a_rst_does_not_and_confirms_none_once_the_secondary_has_said_more(play: Make) -> None:
    reset = tcp(seq=1005, flags=RST)
    assert renewed(play()).s(tcp(seq=1004, flags=RST)).after(10).divergences == []
    assert renewed(play()).s(reset).p(reset).left() == [reset]
    made = renewed(play()).s(tcp(seq=1004, flags=RST)).after(GRACE).both(data(b"x", 1004)).p(reset)
    assert made.left() == [data(b"x", 1004)]
    assert made.s(reset).left() == [reset]
    made = renewed(play()).s(tcp(seq=5, flags=RST, dport=7)).after(GRACE)
    made.both(syn_ack(7000, dport=7)).both(data(b"begun", 7001, dport=7))
    assert made.left() == [syn_ack(7000, dport=7), data(b"begun", 7001, dport=7)]


def test_a_syn_of_which_the_primary_knows_nothing_does_not(play: Make) -> None:
    assert renewed(play()).s(syn_ack(5000, dport=7)).after(10).divergences == []


def test_a_connection_is_begun_by_the_new_secondarys_syn_whatever_the_olds_was(play: Make) -> None:
    for old in (syn_ack(5000, dport=7), syn_ack(5000, dport=7, options=syn_options(mss=1400))):
        made = renewed(play()).s(old).after(1)
        made.p(syn_ack(7000, dport=7)).s(syn_ack(7000, dport=7)).both(data(b"hello", 7001, dport=7))
        assert made.left() == [syn_ack(7000, dport=7), data(b"hello", 7001, dport=7)]
        assert made.after(10).divergences == []
        made.both(syn_ack(9000, dport=7)).both(data(b"next", 9001, dport=7))
        assert made.left()[-1] == data(b"next", 9001, dport=7)


def test_packets_do_not_where_packets_are_compared(play: Make) -> None:
    made = play(tcp_match="packet").p(data(b"ours")).s(data(b"them")).checkpoint().after(LATE)
    made.left()
    made.s(data(b"OLD", 1004)).after(GRACE).p(data(b"new", 1004)).s(data(b"new", 1004))
    assert made.left() == [data(b"new", 1004)]
    assert made.reasons == ["tcp_packet"]


def test_datagrams_of_both_epochs_that_are_alike_are_told_apart(play: Make) -> None:
    made = play(on_divergence="release").s(udp(b"z")).after(4).checkpoint().after(LATE)
    made.s(udp(b"alike"), udp(b"other")).after(GRACE).s(udp(b"alike")).p(udp(b"odd")).after(1)
    assert made.left() == [udp(b"odd")]
    assert made.p(udp(b"alike")).left() == [udp(b"alike")]
    assert made.p(udp(b"alike")).left() == []


@given(seed=st.integers(0, 2**32), general=st.booleans())
def test_no_late_segments_at_all_do(seed: int, general: bool) -> None:
    """The old secondary's last words, and then the same stream from both, cut anew: all of it leaves."""
    rng = random.Random(seed)
    made = renewed(Play(general=general))
    for piece in recut(rng, rng.randbytes(rng.randrange(1, 2000)), Habits(largest=300), fin=rng.random() < 0.5):
        if rng.random() < 0.5:
            made.s(segment(piece, 1003))
    stream = rng.randbytes(rng.randrange(1, 2000))
    sides = [[segment(piece, 1003) for piece in recut(rng, stream, Habits(largest=300))] for _ in range(2)]
    made.p(*sides[0][: rng.randrange(len(sides[0]) + 1)]).after(GRACE)
    made.p(*sides[0]).s(*sides[1])
    assert made.after(10).divergences == []
    assert made.held == (0, 0)
    assert sum(end.flags & FIN for end, _ in made.packets())


def test_a_segment_without_bytes_takes_the_place_of_none(play: Make) -> None:
    made = renewed(play()).s(data(b"same words", 1004)).after(GRACE).s(data(b"", 1008))
    assert made.p(data(b"same words", 1004)).left() == [data(b"same words", 1004)]
