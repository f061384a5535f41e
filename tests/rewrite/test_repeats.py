"""What a replica that repeats itself, or lost something, is told in the client's stead."""

import pytest

from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import Packet, parse
from coloproxy.packet.tcpopts import SACK, options
from coloproxy.rewrite.sources import Source
from support.frames import ACK, FIN, SYN
from support.rewriting import C_ISN, OFFSET, P_ISN, P_SYN_ACK, S_ISN, S_SYN_ACK, Play, client, replica


@pytest.fixture(params=["fast", "general"])
def play(request: pytest.FixtureRequest) -> Play:
    return Play(general=request.param == "general").begun()


def answers(play: Play, source: Source = Source.SECONDARY) -> list[Packet]:
    made = play.rewriter.take_answers(source)
    packets = [parse(frame, 0, len(frame), vnet_len) for frame, vnet_len in made]
    assert all(tcp_checksum_is_right(frame, packet) for (frame, _), packet in zip(made, packets))
    return packets


def test_what_was_acknowledged_and_is_repeated_is_acknowledged_again(play: Play) -> None:
    play.s(replica(b"x" * 100, seq=S_ISN + 1))
    play.c(client(b"yy", ack=P_ISN + 101, window=777))
    assert answers(play) == []
    play.s(replica(b"x" * 100, seq=S_ISN + 1))
    (answer,) = answers(play)
    assert (answer.seq, answer.ack, answer.window) == (C_ISN + 3, P_ISN + 101 + OFFSET, 777)
    assert (answer.flags, answer.payload_end - answer.payload) == (ACK, 0)


def test_a_secondary_that_lags_is_acknowledged_what_it_has_said(play: Play) -> None:
    play.c(client(ack=P_ISN + 1001))
    play.s(replica(b"x" * 100, seq=S_ISN + 1))
    assert [answer.ack for answer in answers(play)] == [P_ISN + 101 + OFFSET]


def test_what_was_not_acknowledged_is_not(play: Play) -> None:
    play.c(client(ack=P_ISN + 50))
    play.s(replica(b"x" * 100, seq=S_ISN + 1), replica(b"x" * 100, seq=S_ISN + 1))
    assert answers(play) == []


def test_an_end_of_the_stream_that_is_repeated_is_acknowledged_again(play: Play) -> None:
    end = replica(seq=S_ISN + 1, flags=FIN | ACK)
    play.s(end)
    play.c(client(ack=P_ISN + 2))
    play.s(end)
    assert [answer.ack for answer in answers(play)] == [P_ISN + 2 + OFFSET]


def test_a_syn_that_the_client_has_acknowledged_and_is_repeated_is_acknowledged_again(play: Play) -> None:
    assert answers(play) == []
    play.s(S_SYN_ACK)
    assert [(answer.seq, answer.ack) for answer in answers(play)] == [(C_ISN + 1, S_ISN + 1)]


def test_while_the_client_has_not_acknowledged_it_a_syn_that_is_repeated_is_not() -> None:
    play = Play()
    play.c(client(seq=C_ISN, ack=0, flags=SYN))
    play.p(P_SYN_ACK)
    play.s(S_SYN_ACK, S_SYN_ACK)
    assert answers(play) == []


def test_a_secondary_that_says_nothing_is_acknowledged_again_when_the_primary_repeats_itself(play: Play) -> None:
    hello = replica(b"hello", seq=P_ISN + 1)
    play.p(hello)
    assert answers(play) == []
    play.p(hello)
    assert [(answer.seq, answer.ack) for answer in answers(play)] == [(C_ISN + 1, S_ISN + 1)]
    play.s(replica(b"hello", seq=S_ISN + 1))
    play.p(hello)
    assert answers(play) == []


def blocks(play: Play, source: Source) -> list[list[tuple[int, int]]]:
    """The SACK blocks of each answer."""
    found = []
    for frame, vnet_len in play.rewriter.take_answers(source):
        packet = parse(frame, 0, len(frame), vnet_len)
        assert tcp_checksum_is_right(frame, packet)
        numbers = [
            int.from_bytes(frame[at : at + 4])
            for kind, first, last in options(frame, packet.l4 + 20, packet.payload) if kind == SACK
            for at in range(first, last, 4)
        ]  # fmt: skip
        found.append(list(zip(numbers[::2], numbers[1::2])))
    return found


@pytest.mark.parametrize(("source", "isn"), [(Source.SECONDARY, S_ISN), (Source.PRIMARY, P_ISN)])
def test_a_replica_is_asked_for_what_it_lost_once_the_client_has_all_before_that(
    play: Play, source: Source, isn: int
) -> None:
    say = play.s if source is Source.SECONDARY else play.p
    say(replica(b"x" * 100, seq=isn + 1), replica(b"x" * 100, seq=isn + 201), replica(b"x" * 100, seq=isn + 401))
    assert answers(play, source) == []
    play.c(client(ack=P_ISN + 101))
    assert blocks(play, source) == [[(isn + 401, isn + 501), (isn + 201, isn + 301)]]
    say(replica(b"x" * 100, seq=isn + 501))
    assert blocks(play, source) == [[(isn + 401, isn + 601), (isn + 201, isn + 301)]]
    say(replica(b"x" * 100, seq=isn + 101), replica(b"x" * 100, seq=isn + 301))
    play.c(client(ack=P_ISN + 601))
    assert answers(play, source) == []


def test_where_the_client_allows_no_sack_it_is_asked_three_times() -> None:
    play = Play()
    play.c(client(seq=C_ISN, ack=0, flags=SYN))
    play.p(P_SYN_ACK)
    play.s(S_SYN_ACK)
    play.c(client())
    play.s(replica(b"x" * 100, seq=S_ISN + 101))
    assert blocks(play, Source.SECONDARY) == [[], [], []]


def test_what_the_client_has_is_not_asked_for(play: Play) -> None:
    play.s(replica(b"x" * 100, seq=S_ISN + 1), replica(b"x" * 100, seq=S_ISN + 201))
    play.c(client(ack=P_ISN + 301))
    assert answers(play) == []


def test_numbers_may_wrap(play: Play) -> None:
    near = 2**31 - 1000
    for place in (near, 2 * near, 3 * near):  # as far as a window may lie ahead, again and again
        play.s(replica(b"x" * 10, seq=S_ISN + place & 0xFFFFFFFF))
        play.c(client(ack=P_ISN + place + 10 & 0xFFFFFFFF))
        answers(play)
    play.s(replica(b"x" * 10, seq=S_ISN + 3 * near & 0xFFFFFFFF))
    assert [answer.ack for answer in answers(play)] == [P_ISN + 3 * near + 10 + OFFSET & 0xFFFFFFFF]
