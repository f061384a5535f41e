"""From a connection's first segment to when it is forgotten; what becomes of it at a checkpoint and a failover."""

from collections.abc import Callable

import pytest

from coloproxy.compare.events import ConnectionEvicted
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from support.frames import ACK, FIN, RST, SYN, syn_options, timestamp
from support.rewriting import (
    C_ISN,
    CLIENT_SYN,
    OFFSET,
    P_ISN,
    P_SYN_ACK,
    S_ISN,
    S_SYN_ACK,
    Batch,
    Play,
    client,
    replica,
)

Make = Callable[..., Play]
OTHER = {"sport": 41000}
OTHER_BACK = {"dport": 41000}


# The states, as segments make them


def test_the_client_closes_first(play: Make) -> None:
    begun = play().begun()
    begun.c(client(b"bye", flags=FIN | ACK))
    assert begun.state == "CLOSE_WAIT"
    (fin,) = begun.s(replica(b"bye", seq=S_ISN + 1, ack=C_ISN + 5, flags=FIN | ACK))
    assert (fin.seq, begun.state) == (P_ISN + 1, "LAST_ACK")
    begun.c(client(seq=C_ISN + 5, ack=P_ISN + 4))  # of the data alone
    assert begun.state == "LAST_ACK"
    (last,) = begun.c(client(seq=C_ISN + 5, ack=P_ISN + 5))
    assert (last.ack, begun.state) == (S_ISN + 5, "CLOSED")


def test_the_replicas_close_first(play: Make) -> None:
    begun = play().begun()
    begun.s(replica(seq=S_ISN + 1, flags=FIN | ACK))
    assert begun.state == "FIN_WAIT_1"
    begun.c(client(ack=P_ISN + 2))
    assert begun.state == "FIN_WAIT_2"
    begun.c(client(ack=P_ISN + 2, flags=FIN | ACK))
    assert begun.state == "TIME_WAIT"


def test_both_close_at_once(play: Make) -> None:
    begun = play().begun()
    begun.s(replica(seq=S_ISN + 1, flags=FIN | ACK))
    begun.c(client(flags=FIN | ACK))
    assert begun.state == "CLOSING"
    begun.c(client(seq=C_ISN + 2, ack=P_ISN + 2))
    assert begun.state == "TIME_WAIT"


def test_a_fin_and_the_acknowledgement_of_the_others_in_one_segment(play: Make) -> None:
    begun = play().begun()
    begun.s(replica(seq=S_ISN + 1, flags=FIN | ACK))
    begun.c(client(ack=P_ISN + 2, flags=FIN | ACK))
    assert begun.state == "TIME_WAIT"


@pytest.mark.parametrize("who", ["c", "s"])
def test_either_end_may_reset(play: Make, who: str) -> None:
    begun = play().begun()
    frame = client(flags=RST | ACK) if who == "c" else replica(seq=S_ISN + 1, flags=RST)
    getattr(begun, who)(frame)
    assert begun.state == "CLOSED"


def test_a_reset_that_is_not_accepted_stops_no_translation(play: Make) -> None:
    """Anyone can send one; the replica's stack knows whether it counts (RFC 5961, 3)."""
    begun = play().begun()
    begun.c(client(seq=5, flags=RST))
    assert [p.ack for p in begun.c(client())] == [S_ISN + 1]
    assert [p.seq for p in begun.s(replica(b"x", seq=S_ISN + 1))] == [P_ISN + 1]


# Time


@pytest.mark.parametrize("ending", [[], [client(flags=RST | ACK)], [client(flags=FIN | ACK)]])
def test_what_is_over_or_silent_is_forgotten_in_time(play: Make, ending: list[bytes]) -> None:
    made = play(idle_timeout=1_000_000, transitory_timeout=50_000).begun()
    made.c(*ending)
    limit = 50 if ending else 1000
    made.after(limit - 1)
    assert len(made.rewriter) == 1
    made.after(7)
    assert len(made.rewriter) == 0
    assert made.rewriter.next_deadline() is None
    assert [p.seq for p in made.s(replica(b"x", seq=S_ISN + 1))] == [S_ISN + 1]


def test_whoever_speaks_is_not_forgotten(play: Make) -> None:
    made = play(idle_timeout=20_000, transitory_timeout=20_000).begun()
    for _ in range(5):
        made.after(15)
        made.c(client())
        made.after(15)
        made.s(replica(seq=S_ISN + 1))
    assert made.state == "ESTABLISHED"


def test_a_syn_that_nobody_answers_is_forgotten_with_what_waits(play: Make) -> None:
    made = play(transitory_timeout=10_000, hold_timeout=60_000)
    made.c(CLIENT_SYN)
    made.c(client(b"1"))
    made.after(20)
    assert len(made.rewriter) == 0
    assert made.accounting.client.dropped.frames == 1


# A key used again


@pytest.mark.parametrize("ending", ["reset", "closed"])
def test_a_syn_begins_anew_where_the_last_connection_is_over(play: Make, ending: str) -> None:
    made = play().begun()
    if ending == "reset":
        made.c(client(flags=RST | ACK))
    else:
        made.s(replica(seq=S_ISN + 1, flags=FIN | ACK))
        made.c(client(ack=P_ISN + 2, flags=FIN | ACK))
    made.c(client(seq=9000, ack=0, flags=SYN))
    assert (made.state, made.offset) == ("SYN_RECEIVED", None)
    made.p(replica(seq=7, ack=9001, flags=SYN | ACK))
    made.s(replica(seq=3, ack=9001, flags=SYN | ACK))
    assert [p.ack for p in made.c(client(seq=9001, ack=8))] == [4]


@pytest.mark.parametrize("first", ["p", "s"])
def test_a_syn_on_a_living_connection_counts_when_it_is_answered(play: Make, first: str) -> None:
    """A stack that finds it unacceptable goes on with the old one (RFC 5961, 4)."""
    made = play().begun()
    made.c(client(seq=9000, ack=0, flags=SYN))
    assert made.state == "ESTABLISHED"
    assert [p.seq for p in made.s(replica(b"x", seq=S_ISN + 1))] == [P_ISN + 1]
    assert [p.ack for p in made.c(client())] == [S_ISN + 1]
    answers = {"p": replica(seq=7, ack=9001, flags=SYN | ACK), "s": replica(seq=3, ack=9001, flags=SYN | ACK)}
    for who in (first, "s" if first == "p" else "p"):
        getattr(made, who)(answers[who])
    assert [p.ack for p in made.c(client(seq=9001, ack=8))] == [4]
    assert made.offset == 2**32 - 4


def test_the_same_syn_again_changes_nothing(play: Make) -> None:
    made = play().begun()
    made.c(CLIENT_SYN)
    assert (made.state, made.offset) == ("ESTABLISHED", OFFSET)


# Bounds


def open_many(made: Play, ports: range, *, whole: bool) -> None:
    for port in ports:
        made.c(client(seq=C_ISN, ack=0, flags=SYN, sport=port))
        if whole:
            made.p(replica(seq=P_ISN, flags=SYN | ACK, dport=port))
            made.s(replica(seq=S_ISN, flags=SYN | ACK, dport=port))
            made.c(client(sport=port))


def test_a_full_table_forgets_the_longest_silent_and_says_so(play: Make) -> None:
    made = play(max_connections=32)
    for port in range(40):
        made.now += 1
        open_many(made, range(port, port + 1), whole=True)
    assert len(made.rewriter) <= 32
    events = made.rewriter.take_events()
    assert all(isinstance(event, ConnectionEvicted) for event in events)
    assert [event.connection.destination_port for event in events] == list(range(len(events)))  # type: ignore[union-attr]
    assert made.accounting.connections_evicted == len(events) == 40 - len(made.rewriter)
    assert made.rewriter.take_events() == []


def test_what_is_over_goes_first(play: Make) -> None:
    made = play(max_connections=4)
    open_many(made, range(4), whole=True)
    made.now = 5.0
    made.c(client(sport=2, flags=RST | ACK))
    open_many(made, range(9, 10), whole=True)
    assert {t.connection.destination_port for t in made.rewriter.state(5.0)} == {0, 1, 3, 9}


def test_a_flood_of_syns_displaces_none_that_lives(play: Make) -> None:
    made = play(max_connections=64)
    open_many(made, range(30), whole=True)
    for port in range(1000, 1500):
        made.now += 0.001
        open_many(made, range(port, port + 1), whole=False)
    alive = [t for t in made.rewriter.state(made.now) if t.state == "ESTABLISHED"]
    assert len(alive) == 30
    assert len(made.rewriter) <= 64


def test_events_that_nobody_takes_are_counted_not_kept(play: Make) -> None:
    made = play(max_connections=1)
    open_many(made, range(4200), whole=False)
    *_, last = made.rewriter.take_events()
    assert "103 events were lost" in last.text  # type: ignore[union-attr]


# Checkpoints


def test_after_a_checkpoint_the_numbers_are_the_same(play: Make) -> None:
    made = play(timestamps="translate")
    made.c(client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(1, 0)))
    made.p(replica(seq=P_ISN, flags=SYN | ACK, options=timestamp(1, 1)))
    made.s(replica(seq=S_ISN, flags=SYN | ACK, options=timestamp(5000, 1)))
    made.c(client(options=timestamp(2, 1)))
    made.rewriter.checkpoint_completed(0.0)
    for source, frame in (
        (Source.CLIENT, client(b"x", options=timestamp(2, 1))),
        (Source.SECONDARY, replica(b"y", seq=P_ISN + 1, options=timestamp(3, 2))),
    ):
        assert made.rewriter.receive(source, frame, 0.0) == frame
    assert (made.state, made.offset) == ("ESTABLISHED", 0)


def test_new_connections_after_a_checkpoint_have_their_own_numbers(play: Make) -> None:
    made = play()
    made.rewriter.checkpoint_completed(0.0)
    made.begun()
    assert made.offset == OFFSET


@pytest.mark.parametrize("seen", ["nothing", "primary", "secondary", "both"])
def test_a_checkpoint_during_the_handshake_has_the_copy_answer_as_the_primary_did(play: Make, seen: str) -> None:
    made = play()
    made.c(CLIENT_SYN)
    if seen in ("primary", "both"):
        made.p(P_SYN_ACK)
    if seen in ("secondary", "both"):
        made.s(S_SYN_ACK)
    made.rewriter.checkpoint_completed(0.0)
    made.s(P_SYN_ACK)  # the copy sends it again
    assert [p.ack for p in made.c(client())] == [P_ISN + 1]
    assert [p.seq for p in made.s(replica(b"x", seq=P_ISN + 1))] == [P_ISN + 1]
    assert made.offset == 0


def test_a_handshake_that_both_begin_after_the_checkpoint_is_learned(play: Make) -> None:
    """The SYN came before it, but the primary had not seen it yet."""
    made = play()
    made.c(CLIENT_SYN)
    made.rewriter.checkpoint_completed(0.0)
    made.p(P_SYN_ACK)
    assert made.c(client()) == []
    made.s(S_SYN_ACK)
    assert [p.ack for p in made.released(Source.CLIENT)] == [S_ISN + 1]


def test_what_waits_at_a_checkpoint_goes_on_if_it_is_the_clients(play: Make) -> None:
    made = play()
    made.c(client(b"request", seq=C_ISN, ack=0, flags=SYN))
    made.s(S_SYN_ACK, replica(b"early", seq=S_ISN + 1))
    made.c(client(sport=41000, seq=C_ISN, ack=0, flags=SYN), client(b"waits", **OTHER))
    made.rewriter.checkpoint_completed(0.0)
    made.collect()
    assert made.released(Source.SECONDARY) == []
    assert [(p.ack, p.sport) for p in made.released(Source.CLIENT)] == [(P_ISN + 1, 41000)]
    assert made.accounting.secondary.dropped.frames == 1


# Failover


def test_after_the_primary_is_gone_its_connections_go_on_being_translated(play: Make) -> None:
    made = play().begun()
    made.rewriter.failover_to_secondary(0.0)
    assert [p.seq for p in made.s(replica(b"x", seq=S_ISN + 1))] == [P_ISN + 1]
    assert [p.ack for p in made.c(client(ack=P_ISN + 2))] == [S_ISN + 2]
    assert made.offset == OFFSET


def test_new_connections_after_it_pass_untouched(play: Make) -> None:
    made = play().begun()
    made.rewriter.failover_to_secondary(0.0)
    for source, frame in (
        (Source.CLIENT, client(seq=C_ISN, ack=0, flags=SYN, options=syn_options(stamps=True), **OTHER)),
        (Source.SECONDARY, replica(seq=S_ISN, flags=SYN | ACK, **OTHER_BACK)),
        (Source.CLIENT, client(ack=S_ISN + 1, **OTHER)),
        (Source.SECONDARY, replica(seq=5, ack=0, flags=SYN, sport=99)),
    ):
        assert made.rewriter.receive(source, frame, 0.0) == frame
    assert len(made.rewriter) == 1


def test_a_key_used_again_after_it_passes_untouched(play: Make) -> None:
    made = play().begun()
    made.rewriter.failover_to_secondary(0.0)
    made.c(client(seq=9000, ack=0, flags=SYN))
    assert [p.seq for p in made.s(replica(seq=3, ack=9001, flags=SYN | ACK))] == [3]
    assert [p.ack for p in made.c(client(seq=9001, ack=4))] == [4]
    assert len(made.rewriter) == 0


def test_the_secondarys_own_syn_on_a_key_of_before_passes_untouched(play: Make) -> None:
    made = play().begun()
    made.rewriter.failover_to_secondary(0.0)
    assert [p.seq for p in made.s(replica(seq=8, ack=0, flags=SYN))] == [8]
    assert len(made.rewriter) == 0


def test_a_handshake_goes_on_after_it_in_the_numbers_that_the_client_may_know(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    assert [p.seq for p in made.s(S_SYN_ACK)] == [S_ISN]
    made.p(P_SYN_ACK)
    made.rewriter.failover_to_secondary(0.0)
    assert [p.seq for p in made.s(S_SYN_ACK)] == [P_ISN]
    assert [p.ack for p in made.c(client())] == [S_ISN + 1]


def test_a_handshake_of_which_the_client_knows_no_number_goes_on_in_the_secondarys(play: Make) -> None:
    made = play()
    made.c(CLIENT_SYN)
    made.rewriter.failover_to_secondary(0.0)
    assert [p.seq for p in made.s(S_SYN_ACK)] == [S_ISN]
    assert [p.ack for p in made.c(client(ack=S_ISN + 1))] == [S_ISN + 1]
    assert made.offset == 0


def test_a_checkpoint_of_the_survivor_changes_nothing_for_it(play: Make) -> None:
    made = play().begun()
    made.rewriter.failover_to_secondary(0.0)
    made.rewriter.checkpoint_completed(0.0)
    assert made.offset == OFFSET


def test_a_copy_of_a_former_secondary_has_its_offsets(play: Make) -> None:
    first = play().begun()
    first.rewriter.failover_to_secondary(0.0)
    second = play()
    second.rewriter.checkpoint_completed(0.0, primary=first.rewriter)
    assert second.offset == OFFSET
    assert [p.ack for p in second.c(client())] == [S_ISN + 1]
    assert [p.seq for p in second.s(replica(b"x", seq=S_ISN + 1))] == [P_ISN + 1]
    crowded = play(max_connections=1)
    open_many(first, range(3), whole=True)
    crowded.rewriter.checkpoint_completed(0.0, primary=first.rewriter)
    assert len(crowded.rewriter) == 1


def test_a_primary_alone_is_not_translated_for(play: Make) -> None:
    made = play().begun()
    made.rewriter.primary_alone(0.0)
    assert len(made.rewriter) == 0
    stamped = client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(1, 0))
    batch = Batch([stamped])
    made.rewriter.prepare(batch)
    assert batch.frames() == [stamped]
    assert made.rewriter.receive(Source.CLIENT, stamped, 0.0) == stamped
    assert len(made.rewriter) == 0
    made.rewriter.checkpoint_completed(0.0)
    made.begun()


def test_preparing_strips_what_both_replicas_get_and_is_done_once() -> None:
    rewriter = Rewriter(Config())
    stamped = client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(1, 0))
    data = client(b"x", options=timestamp(1, 2), **OTHER)
    tagged = client(seq=7, ack=0, flags=SYN, options=timestamp(1, 0), vlan=(4,))
    bad = client(seq=C_ISN, ack=0, flags=SYN)[:40]
    batch = Batch([stamped, data, tagged, bad])
    rewriter.prepare(batch)
    blank = b"\1" * 12
    prepared = [client(seq=C_ISN, ack=0, flags=SYN, options=blank), data,
                client(seq=7, ack=0, flags=SYN, options=blank, vlan=(4,)), bad]  # fmt: skip
    assert batch.frames() == prepared
    rewriter.translate(Source.CLIENT, batch, 0.0)
    assert batch.frames() == prepared
    assert rewriter.accounting().stripped == 2
    kept = Batch([stamped])
    Rewriter(Config(timestamps="keep")).prepare(kept)
    assert kept.frames() == [stamped]
