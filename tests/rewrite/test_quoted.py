"""ICMP errors about the primary's segments, as routers send them, made by scapy."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from coloproxy.rewrite.sources import Source
from support.frames import ACK, SYN
from support.rewriting import C_ISN, OFFSET, P_ISN, S_ISN, Play, client, replica

Make = Callable[..., Play]
SIX = {"src": "fd00::9", "dst": "fd00::2"}, {"src": "fd00::2", "dst": "fd00::9"}


def about(seq: int, *, six: bool = False, quoted: int = 28, port: int = 40000, vlan: int | None = None) -> bytes:
    """A router's "fragmentation needed" or "packet too big", quoting so many bytes of a segment of the replicas'."""
    segment = TCP(sport=80, dport=port, seq=seq, ack=5, flags="A") / Raw(b"x" * 100)
    link: Packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    if vlan is not None:
        link /= Dot1Q(vlan=vlan)
    if six:
        quote = bytes(IPv6(src="fd00::2", dst="fd00::9") / segment)[: quoted + 20]
        return bytes(link / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6PacketTooBig(mtu=1280) / Raw(quote))
    quote = bytes(IP(src="10.0.0.2", dst="10.0.0.9") / segment)[:quoted]
    return bytes(link / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=3, code=4, nexthopmtu=1200) / Raw(quote))


def opened(play: Play, *, six: bool = False, **more: object) -> Play:
    forth, back = SIX if six else ({}, {})
    play.c(client(seq=C_ISN, ack=0, flags=SYN, **forth, **more))
    play.p(replica(seq=P_ISN, flags=SYN | ACK, **back, **more))
    play.s(replica(seq=S_ISN, flags=SYN | ACK, **back, **more))
    return play


@given(seq=st.integers(0, 2**32 - 1), quoted=st.integers(28, 140), six=st.booleans(), vlan=st.sampled_from([None, 7]))
def test_the_secondary_is_quoted_its_own_number(seq: int, quoted: int, six: bool, vlan: int | None) -> None:
    play = opened(Play(), six=six, **({"vlan": (vlan,)} if vlan else {}))
    got = play.rewriter.receive(Source.CLIENT, about(seq, six=six, quoted=quoted, vlan=vlan), 0.0)
    assert got is not None
    at = (54 + 8 + 40 if six else 34 + 8 + 20) + (4 if vlan else 0) + 4
    expected = bytearray(about(seq, six=six, quoted=quoted, vlan=vlan))
    expected[at : at + 4] = ((seq + OFFSET) % 2**32).to_bytes(4)
    assert got[at:] == expected[at:]
    witness = Ether(got)
    layer = witness[ICMPv6PacketTooBig] if six else witness[ICMP]
    told = layer.cksum if six else layer.chksum
    if six:
        del layer.cksum
    else:
        del layer.chksum
    again = Ether(bytes(witness))
    assert (again[ICMPv6PacketTooBig].cksum if six else again[ICMP].chksum) == told


@pytest.mark.parametrize("six", [False, True])
def test_what_quotes_too_little_or_something_else_is_left_alone(play: Make, six: bool) -> None:
    made = opened(play(), six=six)
    strangers = [about(P_ISN, six=six, quoted=n) for n in (0, 10, 19, 20, 27)]
    strangers.append(about(P_ISN, six=six, port=7))
    if not six:
        quote = bytearray(about(P_ISN))
        quote[42 + 7] = 1  # a fragment that is not the first
        strangers += [bytes(quote), bytes(Ether() / IP(dst="10.0.0.2") / ICMP(type=8) / Raw(b"x" * 40))]
    for frame in strangers:
        assert made.rewriter.receive(Source.CLIENT, frame, 0.0) == frame
    assert made.rewriter.receive(Source.SECONDARY, about(P_ISN, six=six), 0.0) == about(P_ISN, six=six)


def test_nothing_is_said_of_numbers_that_are_not_known(play: Make) -> None:
    made = play()
    made.c(client(seq=C_ISN, ack=0, flags=SYN))
    assert made.rewriter.receive(Source.CLIENT, about(P_ISN), 0.0) == about(P_ISN)


def test_other_errors_quote_too(play: Make) -> None:
    made = opened(play(), six=True)
    quote = bytes(IPv6(src="fd00::2", dst="fd00::9") / TCP(sport=80, dport=40000, seq=P_ISN + 9))
    frame = bytes(Ether() / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6TimeExceeded() / Raw(quote))
    got = made.rewriter.receive(Source.CLIENT, frame, 0.0)
    assert got is not None
    assert int.from_bytes(got[106:110]) == S_ISN + 9
