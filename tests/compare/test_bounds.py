"""Whatever arrives, memory and time are bounded: connections of one side only, and what follows on one key."""

from collections.abc import Callable

import pytest

from coloproxy.compare.rules import Rule
from coloproxy.compare.table import Table
from support.frames import ACK, SYN, syn_options, tcp, udp
from support.play import Play

Make = Callable[..., Play]


def syn_ack(seq: int = 999, port: int = 40000, **more: object) -> bytes:
    more.setdefault("options", syn_options())
    return tcp(seq=seq, ack=1, flags=SYN | ACK, dport=port, **more)  # type: ignore[arg-type]


def data(payload: bytes, seq: int = 1000, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=1, **more)  # type: ignore[arg-type]


def known(play: Play) -> int:
    """Connections in memory."""
    return play.comparator.state(play.now, 0).connection_count


def test_connections_of_the_secondary_alone_are_forgotten_though_they_begin_anew(play: Make) -> None:
    made = play(max_connections=100)
    for port in range(1000, 1400):
        made.s(syn_ack(1, port), syn_ack(50, port))
    assert known(made) <= 200
    assert made.comparator.accounting().connections_evicted >= 300


def test_connections_of_the_secondary_alone_are_forgotten_though_they_wait_for_a_checkpoint(play: Make) -> None:
    made = play(max_connections=100)
    for turn in range(5):
        for port in range(100 * turn, 100 * turn + 100):
            made.s(udp(b"only mine", dport=1000 + port))
        made.after(5)
    assert known(made) <= 100
    assert made.held[1] <= 100


def test_a_table_full_of_what_the_primary_holds_is_not_searched_for_each_newcomer(
    play: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = []
    search = Table._make_room
    monkeypatch.setattr(Table, "_make_room", lambda table: (searches.append(len(table)), search(table)))
    made = play(max_connections=160)
    for port in range(1, 2001):
        made.p(syn_ack(port=port))
    assert known(made) == made.held[0] == 2000
    assert len(searches) < 2000 / (160 / 16)


def test_held_frames_count_with_what_it_takes_to_hold_them(play: Make) -> None:
    made = play(max_held_bytes=100_000)
    for port in range(1, 300):
        if not made.comparator.readable(0):  # type: ignore[arg-type]
            break
        made.p(syn_ack(port=port))
    assert made.held[0] * len(syn_ack()) < 15_000


def test_datagrams_that_were_matched_wait_behind_none_that_was_not(play: Make) -> None:
    made = play().s(udp(b"surplus"))
    for number in range(50):
        made.both(udp(number.to_bytes(4)))
    assert len(made.left()) == 50
    assert made.held == (0, 1)


@pytest.mark.parametrize("on_divergence", ["release", "alarm"])
def test_where_nobody_checkpoints_nothing_is_left_of_connections_that_ended_unverified(
    play: Make, on_divergence: str
) -> None:
    made = play(on_divergence=on_divergence).both(syn_ack())
    for turn in range(1, 6):
        made.p(data(b"unverified", 1000 + 100000 * (turn - 1))).both(syn_ack(999 + 100000 * turn))
    assert known(made) == 1
    assert made.held == (0, 0)


@pytest.mark.parametrize("side", ["p", "s"])
def test_where_nobody_checkpoints_a_side_that_begins_anew_alone_is_followed(play: Make, side: str) -> None:
    made = play(on_divergence="release").both(syn_ack())
    for turn in range(1, 20):
        getattr(made, side)(syn_ack(100000 * turn)).after(5)
    assert made.reasons == [f"timeout_{'primary' if side == 'p' else 'secondary'}_only"] * 19
    assert known(made) == 1
    made.left()
    assert made.both(syn_ack(7), data(b"in step", 8)).left() == [syn_ack(7), data(b"in step", 8)]


def test_new_rules_hold_for_a_connection_that_only_one_side_has_begun(play: Make) -> None:
    made = play().both(syn_ack()).p(syn_ack(70000))
    made.comparator.set_rules([Rule(ignore=("tcp_syn_options",))])  # type: ignore[arg-type]
    made.left()
    assert made.s(syn_ack(70000, options=syn_options(mss=1400))).left() == [syn_ack(70000)]


@pytest.mark.parametrize("on_divergence", ["release", "alarm"])
def test_where_nobody_checkpoints_nothing_is_left_of_all_that_came_before(play: Make, on_divergence: str) -> None:
    made = play(on_divergence=on_divergence).both(syn_ack())
    made.s(data(b"of the secondary alone")).p(syn_ack(5999), syn_ack(8999))
    made.p(data(b"the third", 9000), data(b"another", 9000))  # contradicts itself: it goes on unverified
    assert "tcp_overlap" in made.reasons
    assert made.held == (0, 0)
    assert known(made) == 1
