"""The ACK rule wherever the client's numbers begin, and what the client is told of what was held back."""

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from support.frames import ACK, SYN, syn_options, tcp
from support.play import Play

Make = Callable[..., Play]


def begun(play: Play, client: int = 1) -> Play:
    """A connection whose replica's first byte has the number 1000, and whose client's first is `client`."""
    play.both(tcp(seq=999, ack=client, flags=SYN | ACK, options=syn_options(scale=1)))
    play.left()
    return play


@given(client=st.integers(0, 0xFFFFFFFF), general=st.booleans())
@example(client=0x90000000, general=False)
def test_windows_are_cut_to_the_nearer_right_edge_wherever_the_clients_numbers_are(client: int, general: bool) -> None:
    play = begun(Play(general=general), client)
    play.p(tcp(b"x", seq=1000, ack=client + 500, window=40000)).s(tcp(b"x", seq=1000, ack=client + 300, window=35000))
    ((packet, _),) = play.packets()
    assert ((packet.ack - client) & 0xFFFFFFFF, packet.window) == (300, 35000)
    ((packet, _),) = play.s(tcp(seq=1001, ack=client + 500, window=35000)).packets()
    assert ((packet.ack - client) & 0xFFFFFFFF, packet.window) == (500, 35000)


@given(client=st.integers(0, 0xFFFFFFFF), general=st.booleans())
@example(client=0x90000000, general=False)
def test_a_client_told_nothing_yet_is_told_what_both_have(client: int, general: bool) -> None:
    """A connection whose beginning was not seen: its first acknowledgement waits, and part of it is due."""
    play = Play(general=general).p(tcp(seq=1000, ack=client + 500))
    assert play.left() == []
    ((packet, _),) = play.s(tcp(seq=1000, ack=client + 300)).packets()
    assert (packet.ack - client) & 0xFFFFFFFF == 300
