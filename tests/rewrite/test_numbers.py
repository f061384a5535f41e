"""How the numbers are learned, in whichever order segments come by, on one host or beside the secondary."""

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.rewrite.sources import Source
from support.frames import ACK, FIN, PSH, RST, SYN, timestamp
from support.rewriting import (
    C_ISN,
    CLIENT_SYN,
    OFFSET,
    P_ISN,
    P_SYN_ACK,
    S_ISN,
    S_SYN_ACK,
    Play,
    client,
    replica,
)

Make = Callable[..., Play]
NUMBERS = st.integers(0, 2**32 - 1)
OUT = {"sport": 5000, "dport": 21}  # of a connection that the replicas open
BACK = {"sport": 21, "dport": 5000}


# The client opens


@given(p_isn=NUMBERS, s_isn=NUMBERS, c_isn=NUMBERS, order=st.sampled_from(list(permutations("psc"))), v6=st.booleans(),
       general=st.booleans())  # fmt: skip
def test_whoever_comes_first_the_secondary_gets_its_own_numbers_and_the_client_never_sees_them(
    p_isn: int, s_isn: int, c_isn: int, order: tuple[str, ...], v6: bool, general: bool
) -> None:
    forth = {"src": "fd00::9", "dst": "fd00::2"} if v6 else {}
    back = {"src": "fd00::2", "dst": "fd00::9"} if v6 else {}
    play = Play(general=general)
    play.c(client(seq=c_isn, ack=0, flags=SYN, **forth))
    to_secondary = []
    for who in order:
        if who == "p":
            play.p(replica(seq=p_isn, ack=c_isn + 1, flags=SYN | ACK, **back))
        elif who == "s":
            (syn_ack,) = play.s(replica(seq=s_isn, ack=c_isn + 1, flags=SYN | ACK, **back))
            # Seen before the primary's it cannot be translated; the comparator does not look at its number.
            assert syn_ack.seq == (p_isn if order.index("s") > min(order.index("p"), order.index("c")) else s_isn)
        else:
            to_secondary += play.c(client(b"hello", seq=c_isn + 1, ack=p_isn + 1, flags=ACK | PSH, **forth))
        to_secondary += play.released(Source.CLIENT)
    assert [(p.seq, p.ack) for p in to_secondary] == [((c_isn + 1) % 2**32, (s_isn + 1) % 2**32)]
    (answer,) = play.s(replica(b"hi", seq=s_isn + 1, ack=c_isn + 6, **back))
    assert answer.seq == (p_isn + 1) % 2**32
    assert (play.state, play.offset) == ("ESTABLISHED", (s_isn - p_isn) % 2**32)


def test_what_waits_keeps_its_order_and_goes_on_as_one(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    pieces = [client(bytes([n]), seq=C_ISN + 1 + n) for n in range(5)]
    assert made.c(*pieces) == []
    assert made.accounting.client.held.frames == 5
    made.s(S_SYN_ACK)
    assert [p.seq for p in made.released(Source.CLIENT)] == [C_ISN + 1 + n for n in range(5)]
    assert made.accounting.client.held.frames == 0
    assert [p.ack for p in made.c(client(b"x", seq=C_ISN + 6))] == [S_ISN + 1]


def test_frames_that_go_on_stay_in_a_batch_from_which_others_were_taken(play: Make) -> None:
    made = play().begun()
    other = {"sport": 40001}
    got = made.c(
        client(b"1"), client(seq=C_ISN, ack=0, flags=SYN, **other), client(b"waits", **other),
        client(b"2", seq=C_ISN + 2),
    )  # fmt: skip
    assert [(p.sport, p.payload_end - p.payload) for p in got] == [(40000, 1), (40001, 0), (40000, 1)]


def test_beside_the_secondary_the_first_acknowledgement_says_the_primarys_number(play: Make) -> None:
    begun = play().begun(sees_primary=False)
    assert begun.offset == OFFSET
    (packet,) = begun.s(replica(b"x", seq=S_ISN + 1))
    assert packet.seq == P_ISN + 1


def test_a_segment_of_an_earlier_connection_says_no_number(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    made.s(S_SYN_ACK)
    assert made.c(client(b"old", seq=C_ISN - 5000, ack=77)) == []
    made.c(client())
    assert made.offset == OFFSET


def test_a_syn_ack_has_the_same_number_each_time(play: Make) -> None:
    """The comparator takes another number for another connection."""
    made = play()
    made.c(CLIENT_SYN)
    first = [p.seq for p in made.s(S_SYN_ACK)]
    made.p(P_SYN_ACK)
    assert first == [p.seq for p in made.s(S_SYN_ACK)] == [S_ISN]
    made.c(client())
    assert [p.seq for p in made.s(S_SYN_ACK)] == [S_ISN]


def test_a_syn_ack_that_was_answered_late_is_learned_anew(play: Make) -> None:
    """A replica may forget a half-open connection, and choose another number for the SYN that is sent again."""
    made = play()
    made.c(CLIENT_SYN)
    made.p(P_SYN_ACK, replica(seq=P_ISN + 7, flags=SYN | ACK))
    made.s(S_SYN_ACK, replica(seq=S_ISN + 9, flags=SYN | ACK))
    assert [p.ack for p in made.c(client(ack=P_ISN + 8))] == [S_ISN + 10]
    made.p(replica(seq=5, flags=SYN | ACK))  # too late to be true
    assert made.offset == OFFSET + 2


def test_a_syn_ack_to_nothing_begins_nothing(play: Make) -> None:
    made = play()
    made.p(P_SYN_ACK)
    assert [p.seq for p in made.s(S_SYN_ACK)] == [S_ISN]
    assert made.state == ""
    made.c(CLIENT_SYN)
    made.p(replica(seq=3, ack=C_ISN + 2, flags=SYN | ACK))  # to another SYN
    assert made.offset is None


def test_the_secondarys_early_data_waits_for_the_primarys_number(play: Make) -> None:
    """It may speak before the handshake is over (RFC 7413)."""
    made = play()
    made.c(client(b"request", seq=C_ISN, ack=0, flags=SYN))
    made.s(S_SYN_ACK)
    assert made.s(replica(b"early", seq=S_ISN + 1)) == []
    assert made.accounting.secondary.held.frames == 1
    made.p(P_SYN_ACK)
    assert [p.seq for p in made.released(Source.SECONDARY)] == [P_ISN + 1]


def test_a_refusal_needs_no_numbers(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    (reset,) = made.s(replica(seq=0, flags=RST | ACK))
    assert (reset.seq, reset.ack) == (0, C_ISN + 1)
    assert made.state == "CLOSED"
    assert [p.ack for p in made.c(client())] == [P_ISN + 1]


# Bounds on what waits


def test_what_waits_in_vain_is_dropped_in_the_end(play: Make) -> None:
    made = play(hold_timeout=2000)
    made.c(CLIENT_SYN)
    assert made.c(client(b"1"), client(b"2", seq=C_ISN + 2)) == []
    made.after(1.9)
    assert made.accounting.client.held.frames == 2
    made.after(0.2)
    assert (made.accounting.client.held.frames, made.accounting.client.dropped.frames) == (0, 2)
    made.s(S_SYN_ACK)
    assert made.released(Source.CLIENT) == []


def test_one_connection_has_no_more_waiting_than_it_may(play: Make) -> None:
    made = play(max_held_frames=3)
    made.c(CLIENT_SYN)
    made.c(*[client(bytes([n]), seq=C_ISN + 1 + n) for n in range(5)])
    account = made.accounting.client
    assert (account.held.frames, account.dropped.frames) == (3, 2)
    made.s(S_SYN_ACK)
    assert [p.seq for p in made.released(Source.CLIENT)] == [C_ISN + 1, C_ISN + 2, C_ISN + 3]


def test_all_connections_have_no_more_bytes_waiting_than_they_may(play: Make) -> None:
    made = play(max_held_bytes=1000)
    for port in range(10):
        made.c(client(seq=C_ISN, ack=0, flags=SYN, sport=port), client(bytes(200), sport=port))
    account = made.accounting.client
    assert account.held.bytes <= 1000
    assert (account.held.frames, account.dropped.frames) == (3, 7)


def test_a_reset_ends_the_waiting(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    made.c(client(b"1"))
    assert len(made.c(client(seq=C_ISN + 2, flags=RST | ACK))) == 1
    assert (made.state, made.accounting.client.dropped.frames) == ("CLOSED", 1)


# The replicas open


@pytest.mark.parametrize("first", ["p", "s"])
def test_a_connection_that_the_replicas_open_is_translated_too(play: Make, first: str) -> None:
    made = play()
    syns = {"p": replica(seq=P_ISN, ack=0, flags=SYN, **OUT), "s": replica(seq=S_ISN, ack=0, flags=SYN, **OUT)}
    numbers = {}
    for who in (first, "s" if first == "p" else "p"):
        (packet,) = getattr(made, who)(syns[who])
        numbers[who] = packet.seq
    assert numbers == {"p": P_ISN, "s": P_ISN if first == "p" else S_ISN}
    assert made.state == "SYN_SENT"
    (syn_ack,) = made.c(client(seq=C_ISN, ack=P_ISN + 1, flags=SYN | ACK, **BACK))
    assert (syn_ack.seq, syn_ack.ack) == (C_ISN, S_ISN + 1)
    assert made.state == "ESTABLISHED"
    (answer,) = made.s(replica(b"USER", seq=S_ISN + 1, **OUT))
    assert answer.seq == P_ISN + 1


def test_beside_the_secondary_the_clients_answer_says_the_primarys_number(play: Make) -> None:
    made = play(timestamps="translate")
    made.s(replica(seq=S_ISN, ack=0, flags=SYN, options=timestamp(900, 0), **OUT))
    got = made.rewriter.receive(
        Source.CLIENT, client(seq=C_ISN, ack=P_ISN + 1, flags=SYN | ACK, options=timestamp(4, 200), **BACK), 0.0
    )
    assert got == client(seq=C_ISN, ack=S_ISN + 1, flags=SYN | ACK, options=timestamp(4, 900), **BACK)
    got = made.rewriter.receive(Source.SECONDARY, replica(seq=S_ISN + 1, options=timestamp(950, 4), **OUT), 0.0)
    assert got == replica(seq=P_ISN + 1, options=timestamp(250, 4), **OUT)


def test_the_clients_answer_waits_for_the_secondarys_syn(play: Make) -> None:
    made = play()
    made.p(replica(seq=P_ISN, ack=0, flags=SYN, **OUT))
    assert made.c(client(seq=C_ISN, ack=P_ISN + 1, flags=SYN | ACK, **BACK)) == []
    made.s(replica(seq=S_ISN, ack=0, flags=SYN, **OUT))
    assert [(p.flags, p.ack) for p in made.released(Source.CLIENT)] == [(SYN | ACK, S_ISN + 1)]


@pytest.mark.parametrize("sees_primary", [True, False])
def test_the_clients_refusal_reaches_the_secondary(play: Make, sees_primary: bool) -> None:
    made = play()
    if sees_primary:
        made.p(replica(seq=P_ISN, ack=0, flags=SYN, **OUT))
    made.s(replica(seq=S_ISN, ack=0, flags=SYN, **OUT))
    (reset,) = made.c(client(seq=0, ack=P_ISN + 1, flags=RST | ACK, **BACK))
    assert reset.ack == S_ISN + 1
    assert made.state == "CLOSED"


def test_a_replica_that_opens_again_begins_anew(play: Make) -> None:
    made = play()
    for shift in (0, 7777):
        made.p(replica(seq=P_ISN + shift, ack=0, flags=SYN, **OUT))
        made.s(replica(seq=S_ISN + 3 * shift, ack=0, flags=SYN, **OUT))
        (syn_ack,) = made.c(client(seq=C_ISN, ack=P_ISN + shift + 1, flags=SYN | ACK, **BACK))
        assert syn_ack.ack == S_ISN + 3 * shift + 1
        made.s(replica(seq=S_ISN + 3 * shift, ack=0, flags=SYN, **OUT))  # sent again
        assert made.offset == OFFSET + 2 * shift


def test_both_ends_may_open_at_once(play: Make) -> None:
    """RFC 9293, 3.5, figure 7."""
    made = play()
    made.p(replica(seq=P_ISN, ack=0, flags=SYN, **OUT))
    made.s(replica(seq=S_ISN, ack=0, flags=SYN, **OUT))
    made.c(client(seq=C_ISN, ack=0, flags=SYN, **BACK))
    assert made.state == "SYN_RECEIVED"
    made.p(replica(seq=P_ISN, flags=SYN | ACK, **OUT))
    made.s(replica(seq=S_ISN, flags=SYN | ACK, **OUT))
    (syn_ack,) = made.c(client(seq=C_ISN, ack=P_ISN + 1, flags=SYN | ACK, **BACK))
    assert syn_ack.ack == S_ISN + 1
    assert made.state == "ESTABLISHED"


def test_a_syn_with_a_reset_is_a_reset(play: Make) -> None:
    begun = play().begun()
    begun.c(client(seq=5, ack=0, flags=SYN | RST | FIN))
    assert begun.state == "CLOSED"
