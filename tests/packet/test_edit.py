"""Altered copies of TCP frames: what a receiver gets is what the sender's own stack would have sent."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet import TCP as ScapyTcp
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from coloproxy.packet import vnet
from coloproxy.packet.edit import amend_checksum, tcp_checksum_is_right, tcp_part, tcp_pure_ack, tcp_with_ack
from coloproxy.packet.parse import Packet, parse
from coloproxy.packet.serial import add
from support.frames import ACK, FIN, PSH, SYN, URG, ones, tcp, timestamp
from support.kinds import V6

CWR, GSO = 0x80, 100
PAYLOAD = bytes(range(256)) * 4
NUMBERS = st.integers(0, 2**32 - 1)
ADDRESSES = st.sampled_from([{}, V6])
VNETS = st.sampled_from([(0, 0), (10, 0), (12, GSO), (20, GSO), (12, 1448)])
TAGS = st.sampled_from([(), (5,), (7, 5)])
OPTIONS = st.sampled_from([b"", timestamp(3, 4), b"\x01\x01\x05\x0a" + bytes(8) + timestamp(3, 4)])


def taken_apart(frame: bytes, vnet_len: int) -> Packet:
    return parse(frame, 0, len(frame), vnet_len)


def header_sum_is_right(frame: bytes, p: Packet) -> bool:
    return p.version == 6 or ones(frame[p.l3 : p.l4]) == 0xFFFF


def sums_are_right(frame: bytes, p: Packet) -> bool:
    """As scapy computes them; a partial checksum as the pseudo-header's sum that a device completes."""
    if not header_sum_is_right(frame, p):
        return False
    if vnet.read(frame, 0, p.vnet_len).needs_csum:
        pseudo = p.src + p.dst + struct.pack(">II", p.l4_end - p.l4, 6)
        return struct.unpack_from(">H", frame, p.l4 + 16)[0] == ones(pseudo)
    witness = Ether(frame[p.vnet_len :])
    told = witness[ScapyTcp].chksum
    del witness[ScapyTcp].chksum
    return Ether(bytes(witness))[ScapyTcp].chksum == told


@given(
    cuts=st.lists(st.integers(1, len(PAYLOAD) - 1), max_size=4), seq=NUMBERS, addresses=ADDRESSES, vnets=VNETS,
    vlan=TAGS, options=OPTIONS, flags=st.sampled_from([ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR | PSH]),
)  # fmt: skip
def test_the_parts_of_a_segment_say_what_it_said(
    cuts: list[int], seq: int, addresses: dict[str, str], vnets: tuple[int, int], vlan: tuple[int, ...],
    options: bytes, flags: int,
) -> None:  # fmt: skip
    vnet_len, gso = vnets
    frame = tcp(PAYLOAD, seq=seq, ack=9, flags=flags, vlan=vlan, vnet=vnet_len, gso=gso, options=options, pad=3,
                **addresses)  # fmt: skip
    whole = taken_apart(frame, vnet_len)
    edges = [0, *sorted(set(cuts)), len(PAYLOAD)]
    said = b""
    for first, last in pairwise(edges):
        part = tcp_part(frame, whole, first, last)
        p = taken_apart(part, vnet_len)
        assert p.key == whole.key
        assert (p.seq, p.ack, p.window) == (add(seq, first), 9, whole.window)
        assert p.end == p.l4_end == p.payload_end
        assert bool(p.flags & FIN) == (bool(flags & FIN) and last == len(PAYLOAD))
        assert bool(p.flags & PSH) == (bool(flags & PSH) and last == len(PAYLOAD))
        assert bool(p.flags & CWR) == (bool(flags & CWR) and first == 0)
        assert part[p.l4 + 20 : p.payload] == options
        assert sums_are_right(part, p)
        assert tcp_checksum_is_right(part, p)
        said += part[p.payload : p.payload_end]
    assert said == PAYLOAD


def test_the_identification_counts_segments_as_offload_does() -> None:
    frame = tcp(PAYLOAD, vnet=12, gso=GSO, ident=0xFFFE)
    part = tcp_part(frame, taken_apart(frame, 12), 3 * GSO, len(PAYLOAD))
    assert struct.unpack_from(">H", part, 12 + 14 + 4) == (1,)


def test_a_part_of_one_segment_is_not_to_be_cut_again() -> None:
    frame = tcp(PAYLOAD, vnet=12, gso=GSO)
    whole = taken_apart(frame, 12)
    small = vnet.read(tcp_part(frame, whole, 0, GSO), 0, 12)
    assert (small.gso_type, small.gso_size, small.needs_csum) == (vnet.GSO_NONE, 0, True)
    large = vnet.read(tcp_part(frame, whole, 0, GSO + 1), 0, 12)
    assert (large.gso_type, large.gso_size) == (vnet.GSO_TCPV4, GSO)


def test_a_syn_stays_with_the_first_part_and_takes_its_place_in_the_numbers() -> None:
    frame = tcp(b"abcdef", seq=0xFFFFFFFF, flags=SYN)
    whole = taken_apart(frame, 0)
    begin, rest = (taken_apart(tcp_part(frame, whole, *cut), 0) for cut in ((0, 3), (3, 6)))
    assert (begin.seq, begin.flags & SYN) == (0xFFFFFFFF, SYN)
    assert (rest.seq, rest.flags & SYN) == (3, 0)


@pytest.mark.parametrize(("first", "flag", "pointer"), [(0, URG, 4), (3, URG, 1), (4, 0, 0), (5, 0, 0)])
def test_the_urgent_pointer_goes_on_pointing_to_the_same_byte(first: int, flag: int, pointer: int) -> None:
    frame = tcp(b"abcdef", flags=ACK | URG, urgent=4)
    part = tcp_part(frame, taken_apart(frame, 0), first, 6)
    p = taken_apart(part, 0)
    assert (p.flags & URG, struct.unpack_from(">H", part, p.l4 + 18)[0]) == (flag, pointer)
    assert sums_are_right(part, p)


@given(ack=NUMBERS, window=st.integers(0, 65535), addresses=ADDRESSES, vnets=VNETS, vlan=TAGS, pad=st.integers(0, 9))
def test_another_acknowledgement_changes_nothing_else(
    ack: int, window: int, addresses: dict[str, str], vnets: tuple[int, int], vlan: tuple[int, ...], pad: int
) -> None:
    vnet_len, gso = vnets
    frame = tcp(PAYLOAD, seq=1, ack=9, vlan=vlan, vnet=vnet_len, gso=gso, pad=pad, **addresses)
    before = taken_apart(frame, vnet_len)
    changed = tcp_with_ack(frame, before, ack, window)
    after = taken_apart(changed, vnet_len)
    assert (after.ack, after.window) == (ack, window)
    assert sums_are_right(changed, after)
    at = before.l4
    assert changed[: at + 8] == frame[: at + 8]
    assert changed[at + 12 : at + 14] == frame[at + 12 : at + 14]
    assert changed[at + 18 :] == frame[at + 18 :]


def test_a_wrong_checksum_stays_wrong() -> None:
    frame = bytearray(tcp(b"data", ack=9))
    frame[-1] ^= 1
    p = taken_apart(bytes(frame), 0)
    assert not tcp_checksum_is_right(tcp_with_ack(bytes(frame), p, 77, 5), p)


@given(header=st.binary(min_size=12, max_size=12), addresses=ADDRESSES, vnets=VNETS, vlan=TAGS, options=OPTIONS)
def test_a_header_altered_in_place_has_its_checksum_amended(
    header: bytes, addresses: dict[str, str], vnets: tuple[int, int], vlan: tuple[int, ...], options: bytes
) -> None:
    vnet_len, gso = vnets
    buf = bytearray(tcp(PAYLOAD, seq=1, ack=9, vlan=vlan, vnet=vnet_len, gso=gso, options=options, **addresses))
    p = taken_apart(bytes(buf), vnet_len)
    before = bytes(buf[p.l4 : p.payload])
    buf[p.l4 + 4 : p.l4 + 12], buf[p.payload - 4 : p.payload] = header[:8], header[8:]
    if p.payload == p.l4 + 20:
        buf[p.payload - 4 : p.payload] = before[-4:]  # the checksum itself is there
    amend_checksum(buf, p, before)
    assert sums_are_right(bytes(buf), taken_apart(bytes(buf), vnet_len))


@given(seq=NUMBERS, ack=NUMBERS, addresses=ADDRESSES, vnets=VNETS, vlan=TAGS, options=OPTIONS)
def test_a_pure_ack_says_nothing_but_that(
    seq: int, ack: int, addresses: dict[str, str], vnets: tuple[int, int], vlan: tuple[int, ...], options: bytes
) -> None:
    vnet_len, gso = vnets
    model = tcp(PAYLOAD, seq=1, ack=9, flags=ACK | PSH | FIN, vlan=vlan, vnet=vnet_len, gso=gso, options=options,
                **addresses)  # fmt: skip
    whole = taken_apart(model, vnet_len)
    made = tcp_pure_ack(model, whole, seq, ack, 99)
    p = taken_apart(made, vnet_len)
    assert (p.seq, p.ack, p.window, p.flags, p.key) == (seq, ack, 99, ACK, whole.key)
    assert p.payload == p.payload_end == p.end
    assert made[p.l4 + 20 : p.payload] == (timestamp(3, 4) if options else b"")
    assert made[:vnet_len] == bytes(vnet_len)
    assert sums_are_right(made, p)


def test_a_pure_ack_is_not_ecn_capable() -> None:
    model = tcp(b"data", tos=0x12)
    assert Ether(tcp_pure_ack(model, taken_apart(model, 0), 1, 2, 3))[IP].tos == 0x10
    model = bytearray(tcp(b"data", **V6))
    model[14:16] = b"\x64\x20"
    made = Ether(tcp_pure_ack(bytes(model), taken_apart(bytes(model), 0), 1, 2, 3))
    assert made[IPv6].tc == 0x40
