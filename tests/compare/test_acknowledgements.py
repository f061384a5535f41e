"""The ACK rule wherever the client's numbers begin, and what the client is told of what was held back."""

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from coloproxy.packet.edit import tcp_checksum_is_right
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


def large(ack: int) -> bytes:
    """A frame to be segmented, of 20000 bytes from number 1000 on."""
    return tcp(bytes(at % 251 for at in range(20000)), seq=1000, ack=ack, vnet=10, gso=1448)


def test_a_beginning_kept_back_for_its_acknowledgement_leaves_when_the_secondary_has_acknowledged(play: Make) -> None:
    """Else the two would wait for each other: the secondary's next bytes for the client, the client for these."""
    made = begun(play(ack_rule="hold")).p(large(501), vnet_len=10).s(tcp(large(1)[64:][:5000], seq=1000, ack=1))
    assert made.after(0.01).left() == []
    ((part, _),) = made.s(tcp(seq=6000, ack=501)).after(0.01).packets()
    assert (part.seq, part.payload_end - part.payload, part.ack) == (1000, 5000, 501)


def test_a_client_that_is_owed_the_rest_costs_no_payload(play: Make) -> None:
    made = begun(play()).p(large(501), vnet_len=10).s(tcp(large(1)[64:], seq=1000, ack=301))
    made.left()
    (connection,) = made.comparator._table
    assert len(connection.template[0]) < 100
    ((told, frame),) = made.s(tcp(seq=21000, ack=501)).packets()
    assert (told.seq, told.ack, told.flags, frame[:10]) == (21000, 501, ACK, bytes(10))
    assert tcp_checksum_is_right(frame, told)
