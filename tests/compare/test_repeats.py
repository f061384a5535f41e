"""What the primary says again leaves like all that it says, and costs no more than it must."""

import time
from collections.abc import Callable

import pytest

from support.frames import ACK, FIN, tcp
from support.play import Play

Make = Callable[..., Play]


def data(payload: bytes, seq: int = 1000, ack: int = 1, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, **more)  # type: ignore[arg-type]


def test_a_segment_sent_again_while_it_is_held_leaves_behind_the_first(play: Make) -> None:
    first, again = data(b"hello"), data(b"hello", ident=2)
    made = play().p(first, again)
    assert made.left() == []
    assert made.s(data(b"hello")).left() == [first, again]
    assert made.comparator.accounting().primary.dropped.frames == 0


def test_a_segment_sent_again_with_a_later_acknowledgement_brings_that_to_the_client(play: Make) -> None:
    made = play().s(tcp(seq=1000, ack=501)).p(data(b"hello"), data(b"hello", ack=501)).s(data(b"hello", ack=501))
    assert [packet.ack for packet, _ in made.packets()] == [1, 501]


def test_of_a_segment_sent_again_what_is_verified_leaves_at_once(play: Make) -> None:
    """The client may lack just that, and the secondary be unable to send more before the client has it."""
    made = play().s(data(b"he")).p(data(b"hello"))
    made.left()
    again = made.p(data(b"hello"))
    ((packet, frame),) = again.packets()
    assert (packet.seq, frame[packet.payload : packet.payload_end]) == (1000, b"he")
    made.s(data(b"llo", 1002))
    assert [(packet.seq, packet.payload_end - packet.payload) for packet, _ in made.packets()] == [(1000, 5), (1002, 3)]
    assert made.held == (0, 0)


@pytest.mark.parametrize("ours", [[(1000, 5), (1005, 5), (1000, 10)], [(1000, 10), (1000, 5), (1005, 5)],
                                  [(1005, 5), (1002, 8), (1000, 10), (1000, 2)]])  # fmt: skip
def test_segments_held_in_any_cut_all_leave_and_by_place(play: Make, ours: list[tuple[int, int]]) -> None:
    made = play().s(tcp(seq=1000, ack=1)).both(data(b"!", 999))
    made.left()
    made.p(*(data(b"0123456789"[seq - 1000 :][:size], seq) for seq, size in ours)).s(data(b"0123456789"))
    left = [(packet.seq, packet.payload_end - packet.payload) for packet, _ in made.packets()]
    assert left == sorted(ours, key=lambda segment: segment[0])
    assert made.held == (0, 0)
    assert made.divergences == []


def test_a_fin_sent_again_while_it_is_held_leaves_with_the_first(play: Make) -> None:
    end = tcp(seq=1000, ack=1, flags=FIN | ACK)
    assert play().p(end, end).s(end).left() == [end, end]


@pytest.mark.parametrize("places", ["again", "behind a gap", "backwards"])
@pytest.mark.parametrize("side", ["p", "s"])
def test_many_segments_in_an_odd_order_take_no_more_than_moments(side: str, places: str) -> None:
    """None is compared with all that are held: 4000 took minutes of that."""
    count = 4000
    order = {"again": [5] * count, "behind a gap": [count, *range(1, count)], "backwards": [*range(count, 0, -1)]}
    made = Play().both(data(b"!", 999))
    begin = time.process_time()
    for place in order[places]:
        getattr(made, side)(data(b"abcdefgh", 1000 + 8 * place))
    assert time.process_time() - begin < 10
