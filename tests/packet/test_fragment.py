"""Reassembly: in any order the datagram comes out as if it had never been cut, or not at all."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from coloproxy.packet.fragment import PIECE_COST, FragmentOverlap, Reassembled, Reassembler
from coloproxy.packet.parse import Kind, Malformed, parse
from support.frames import CLIENT, CLIENT6, REPLICA, REPLICA6, address, ethernet, fragments, ipv4, ipv6, udp_datagram
from support.kinds import V6

ADDRESSES = st.sampled_from([{}, V6])


def reassembler(max_bytes: int = 1 << 20, max_datagrams: int = 100, timeout: float = 30.0) -> Reassembler:
    return Reassembler(max_bytes, max_datagrams, timeout)


def add(to: Reassembler, frame: bytes, tag: object = None, now: float = 0.0, vnet_len: int = 0) -> Reassembled | None:
    return to.add(parse(frame, 0, len(frame), vnet_len), frame, now, tag)


def piece(offset: int, data: bytes, more: bool = True, ident: int = 77) -> bytes:
    return ethernet(0x0800, ipv4(17, data, ident=ident, offset=offset, more=more, df=False))


@given(st.integers(33, 3000), st.integers(1, 40), ADDRESSES, st.sampled_from([(), (5,)]), st.randoms(), st.booleans())
def test_in_any_order_the_datagram_is_what_it_was(
    length: int, eights: int, addresses: dict[str, str], vlan: tuple[int, ...], rng: random.Random, repeat: bool
) -> None:
    datagram = udp_datagram(rng.randbytes(length), **addresses)
    parts = list(enumerate(fragments(datagram, size=min(8 * eights, length // 8 * 8), vlan=vlan, **addresses)))
    if repeat:
        parts += [rng.choice(parts[1:])]
    last = rng.choice(parts[: len(parts) - repeat])
    rng.shuffle(parts)
    parts = [part for part in parts if part != last] + [last]
    gatherer = reassembler()
    assert [add(gatherer, frame, tag) for tag, frame in parts[:-1]] == [None] * (len(parts) - 1)
    done = add(gatherer, last[1], last[0])
    assert done is not None
    assert done.tags == [tag for tag, _ in parts]
    ip = ipv6(17, datagram, REPLICA6, CLIENT6) if addresses else ipv4(17, datagram, REPLICA, CLIENT, ident=77, df=False)
    assert done.frame == ethernet(0x86DD if addresses else 0x0800, ip, vlan)
    assert parse(done.frame, 0, len(done.frame)).kind == Kind.UDP
    assert gatherer.next_deadline is None
    assert gatherer.expire(1e9) == []


@given(st.integers(1, 5000), st.integers(1, 180))
def test_what_scapy_cuts_is_put_together(length: int, eights: int) -> None:
    whole = Ether() / IP(src=REPLICA, dst=CLIENT, id=9) / UDP(sport=1, dport=2) / Raw(bytes(length))
    parts = fragment(whole, 8 * eights)
    gatherer, done = reassembler(), None
    for part in parts:
        raw = bytes(part)
        if parse(raw, 0, len(raw)).fragment is not None:
            done = add(gatherer, raw)
    if len(parts) > 1:
        assert done is not None
        assert done.frame == bytes(whole)


def test_the_virtio_header_is_left_out() -> None:
    gatherer = reassembler()
    frames = [bytes(12) + frame for frame in fragments(udp_datagram(bytes(40)), size=24)]
    assert add(gatherer, frames[0], vnet_len=12) is None
    done = add(gatherer, frames[1], vnet_len=12)
    assert done is not None
    assert parse(done.frame, 0, len(done.frame)).kind == Kind.UDP


def test_ip_options_and_extension_headers_of_the_first_fragment_stay() -> None:
    gatherer = reassembler()
    datagram, options = udp_datagram(bytes(24)), b"\x94\x04\0\0"
    first = ethernet(0x0800, ipv4(17, datagram[:16], options=options, more=True, ident=5))
    rest = ethernet(0x0800, ipv4(17, datagram[16:], offset=16, ident=5))
    assert add(gatherer, rest) is None
    done = add(gatherer, first)
    assert done is not None
    assert done.frame == ethernet(0x0800, ipv4(17, datagram, options=options, ident=5, df=False))
    datagram = udp_datagram(bytes(24), **V6)
    chain = (0, b"\x05\x02\0\0")
    for offset, more, data in ((0, 1, datagram[:16]), (16, 0, datagram[16:])):
        content = struct.pack(">HI", offset | more, 5)
        done = add(gatherer, ethernet(0x86DD, ipv6(17, data, extensions=(chain, (44, content)))))
    assert done is not None
    assert done.frame == ethernet(0x86DD, ipv6(17, datagram, extensions=(chain,)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (piece(0, bytes(16)), piece(8, bytes(16))),
        (piece(8, bytes(16)), piece(0, bytes(16))),
        (piece(0, bytes(24)), piece(8, bytes(8))),
        (piece(8, bytes(8)), piece(0, bytes(24))),
        (piece(0, bytes(16)), piece(0, b"x" + bytes(15))),
        (piece(0, bytes(16)), piece(0, bytes(8))),
        (piece(8, bytes(16)), piece(8, bytes(16), more=False)),
        (piece(8, bytes(8), more=False), piece(16, bytes(8))),
        (piece(16, bytes(8)), piece(8, bytes(8), more=False)),
        (piece(8, bytes(8), more=False), piece(24, bytes(8), more=False)),
        (piece(24, bytes(8), more=False), piece(8, bytes(8), more=False)),
        (piece(8, bytes(8), more=False), piece(8, bytes(8))),
    ],
)
def test_fragments_that_contradict_each_other_make_no_datagram(first: bytes, second: bytes) -> None:
    gatherer = reassembler()
    assert add(gatherer, first, "first") is None
    with pytest.raises(FragmentOverlap) as caught:
        add(gatherer, second, "second")
    assert caught.value.tags == ["first", "second"]
    assert gatherer.next_deadline is None


def test_datagrams_are_told_apart_by_all_that_names_them() -> None:
    gatherer = reassembler()
    halves = [(0, True, bytes(8)), (8, False, b"b" * 8)]
    names = [(17, REPLICA, 1), (17, REPLICA, 2), (47, REPLICA, 1), (17, CLIENT, 1)]
    for tag, (offset, more, data) in enumerate(halves):
        for protocol, src, ident in names:
            frame = ethernet(0x0800, ipv4(protocol, data, src, ident=ident, offset=offset, more=more))
            done = add(gatherer, frame, tag)
            assert (done is not None) == (tag == 1)
            assert done is None or (done.tags == [0, 1] and address(src) in done.frame)


def test_a_datagram_is_given_up_when_its_time_is_over() -> None:
    gatherer = reassembler(timeout=30.0)
    assert gatherer.next_deadline is None
    add(gatherer, piece(0, bytes(8), ident=1), "a", now=5.0)
    add(gatherer, piece(0, bytes(8), ident=2), "b", now=6.0)
    add(gatherer, piece(8, bytes(8), ident=1), "c", now=7.0)
    assert gatherer.next_deadline == 35.0
    assert gatherer.expire(34.9) == []
    assert gatherer.expire(35.0) == [["a", "c"]]
    assert gatherer.next_deadline == 36.0
    assert gatherer.expire(36.0) == [["b"]]
    assert gatherer.next_deadline is None


def test_with_too_many_datagrams_the_oldest_is_given_up() -> None:
    gatherer = reassembler(max_datagrams=2)
    for ident in range(4):
        add(gatherer, piece(0, bytes(8), ident=ident), ident)
    assert gatherer.next_deadline == 0.0
    assert gatherer.expire(0.0) == [[0], [1]]


def test_with_too_many_bytes_the_oldest_is_given_up() -> None:
    gatherer = reassembler(max_bytes=2 * (PIECE_COST + 1000))
    for ident in range(3):
        add(gatherer, piece(0, bytes(1000), ident=ident), ident)
    assert gatherer.expire(0.0) == [[0]]


def test_fragments_repeated_without_end_are_bounded_too() -> None:
    gatherer = reassembler(max_bytes=10 * PIECE_COST)
    for _ in range(50):
        add(gatherer, piece(0, bytes(8)), "same")
    assert all(len(tags) <= 10 for tags in gatherer.expire(0.0))
    assert not gatherer.expire(0.0)


@pytest.mark.parametrize("addresses", [{}, V6])
def test_the_largest_datagram_there_is_comes_out_whole(addresses: dict[str, str]) -> None:
    room = 65535 if addresses else 65515
    gatherer, done = reassembler(), None
    for frame in fragments(udp_datagram(bytes(room - 8), **addresses), size=32768, **addresses):
        done = add(gatherer, frame)
    assert done is not None
    assert parse(done.frame, 0, len(done.frame)).payload_end == len(done.frame)
    *_, last = fragments(bytes(room + 1), size=32768, **addresses)
    with pytest.raises(Malformed, match="beyond any datagram"):
        parse(last, 0, len(last))


def test_a_datagram_that_its_first_headers_make_too_long_is_given_up() -> None:
    gatherer = reassembler()
    add(gatherer, piece(65512, b"end", more=False), "last")
    add(gatherer, piece(32768, bytes(65512 - 32768)), "middle")
    first = ethernet(0x0800, ipv4(17, bytes(32768), ident=77, options=bytes(40), more=True))
    assert add(gatherer, first, "first") is None
    assert gatherer.next_deadline == 0.0
    assert gatherer.expire(0.0) == [["last", "middle", "first"]]
    assert gatherer.next_deadline is None


def test_only_fragments_are_taken() -> None:
    with pytest.raises(ValueError, match="not a fragment"):
        add(reassembler(), ethernet(0x0800, ipv4(17, udp_datagram(b"x"))))
