"""What parse says of a frame, and that it says something of any bytes at all."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.parse import Kind, Malformed, Packet, parse
from support import frames
from support.frames import ACK, CLIENT, CLIENT6, PSH, REPLICA, REPLICA6, address, ethernet, ipv4, ipv6, tcp, udp
from support.kinds import FRAMES, V6, VNET

PORTS = struct.pack(">HH", 80, 40000)


def whole(frame: bytes, vnet_len: int = 0) -> Packet:
    return parse(frame, 0, len(frame), vnet_len)


def reason(frame: bytes, vnet_len: int = 0) -> str:
    with pytest.raises(Malformed) as caught:
        whole(frame, vnet_len)
    assert str(caught.value)
    return caught.value.reason


def test_a_tcp_segment_is_told_with_all_its_fields() -> None:
    frame = tcp(b"data", seq=5, ack=9, flags=ACK | PSH, window=77, options=frames.timestamp(1, 2), pad=3)
    p = whole(frame)
    assert (p.kind, p.version, p.protocol, p.ethertype, p.vlan) == (Kind.TCP, 4, 6, 0x0800, ())
    assert (p.src, p.dst, p.sport, p.dport) == (address(REPLICA), address(CLIENT), 80, 40000)
    assert (p.seq, p.ack, p.flags, p.window) == (5, 9, ACK | PSH, 77)
    assert (p.l3, p.l4, p.payload, p.payload_end, p.l4_end, p.end) == (14, 34, 66, 70, 70, 73)
    assert frame[p.payload : p.payload_end] == b"data"


def test_the_key_of_plain_ipv4_tcp_is_twelve_bytes_of_the_frame() -> None:
    frame = tcp(b"x")
    assert whole(frame).key == frame[26:38]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tcp6", address(REPLICA6) + address(CLIENT6) + PORTS),
        ("tcp4 vlan", address(REPLICA) + address(CLIENT) + PORTS + b"\x81\0\0\x05"),
        ("tcp6 qinq", address(REPLICA6) + address(CLIENT6) + PORTS + b"\x88\xa8\0\x07\x81\0\0\x05"),
        ("icmp", address(REPLICA) + address(CLIENT) + b"\0\x07\0\0"),
        ("icmp unreachable", address(REPLICA) + address(CLIENT) + bytes(4)),
        ("icmpv6", address(REPLICA6) + address(CLIENT6) + b"\0\x07\0\0"),
        ("gre", address(REPLICA) + address(CLIENT) + b"\x2f"),
        ("arp", b"\x08\x06"),
        ("802.3", b"\0\0"),
    ],
)
def test_keys_name_the_connection(name: str, key: bytes) -> None:
    assert whole(FRAMES[name]).key == key


def test_the_priority_in_a_vlan_tag_is_no_part_of_the_key() -> None:
    plain, urgent = tcp(b"x", vlan=(5,)), tcp(b"x", vlan=(0xE005,))
    assert whole(plain).key == whole(urgent).key
    assert whole(urgent).vlan == (5,)


def test_connections_on_different_vlans_differ() -> None:
    keys = {whole(tcp(vlan=tags)).key for tags in ((), (5,), (6,), (5, 6), (6, 5), (5, 6, 7))}
    assert len(keys) == 6


def test_extension_headers_are_walked_to_the_transport() -> None:
    for name in ("tcp6 extensions", "tcp6 atomic fragment"):
        p = whole(FRAMES[name])
        assert (p.kind, p.fragment, FRAMES[name][p.payload : p.payload_end]) == (Kind.TCP, None, b"data"), name
        assert p.key == whole(FRAMES["tcp6"]).key
    assert whole(FRAMES["ah6"]).kind == Kind.UDP


def test_padding_is_never_payload() -> None:
    for frame, payload in ((tcp(b"", pad=6), b""), (udp(b"q", pad=17), b"q"), (tcp(b"x", **V6, pad=9), b"x")):
        p = whole(frame)
        assert frame[p.payload : p.payload_end] == payload


def test_a_udp_payload_ends_where_udp_says() -> None:
    frame = udp(b"question and more", length=8 + 8)
    p = whole(frame)
    assert frame[p.payload : p.payload_end] == b"question"


def test_icmp_is_compared_without_type_code_and_checksum() -> None:
    frame = frames.icmp(b"ping", ident=0x1234)
    p = whole(frame)
    assert (p.ident, p.payload, p.payload_end) == (0x1234, p.l4 + 4, p.l4_end)


def test_protocols_of_the_other_ip_version_are_other() -> None:
    assert whole(frames.other(bytes(8), 58)).kind == Kind.OTHER
    assert whole(frames.other(bytes(8), 1, **V6)).kind == Kind.OTHER


def test_fragments_are_told_with_their_place() -> None:
    for addresses in ({}, V6):
        parts = [whole(frame) for frame in frames.fragments(bytes(100), size=48, ident=77, **addresses)]
        assert [(p.fragment.ident, p.fragment.offset, p.fragment.more) for p in parts if p.fragment] == [
            (77, 0, True), (77, 48, True), (77, 96, False),
        ]  # fmt: skip
        assert {p.kind for p in parts} == {Kind.OTHER}
        assert [p.l4_end - p.l4 for p in parts] == [48, 48, 4]


def test_a_frame_within_a_larger_buffer_is_parsed_where_it_lies() -> None:
    for name, frame in FRAMES.items():
        alone = whole(frame, VNET[name])
        inside = parse(bytearray(b"\xaa" * 11 + frame + b"\xbb" * 11), 11, 11 + len(frame), VNET[name])
        assert inside.key == alone.key
        assert (inside.l3, inside.l4, inside.payload) == (
            alone.l3 + 11, alone.l4 + 11 * bool(alone.l4), alone.payload + 11,
        ), name  # fmt: skip
        assert inside == parse(memoryview(b"\xaa" * 11 + frame + b"\xbb" * 11), 11, 11 + len(frame), VNET[name])


IP = ipv4(6, bytes(20))
BAD = {
    "ethernet_header": bytes(13),
    "vlan_header": ethernet(0x8100, b"\0"),
    "vlan_tags": tcp(vlan=(1, 2, 3, 4)),
    "ipv4_header": ethernet(0x0800, IP[:19]),
    "ipv4_version": ethernet(0x0800, b"\x65" + IP[1:]),
    "ipv4_header_length": ethernet(0x0800, b"\x44" + IP[1:]),
    "ipv4_total_length": ethernet(0x0800, IP[:-1]),
    "ipv6_header": ethernet(0x86DD, ipv6(59, b"")[:39]),
    "ipv6_version": ethernet(0x86DD, b"\x40" + ipv6(59, b"")[1:]),
    "ipv6_payload_length": ethernet(0x86DD, ipv6(59, b"12")[:-1]),
    "ipv6_extension": ethernet(0x86DD, ipv6(60, b"\x06\x01" + bytes(13))),
    "tcp_header": ethernet(0x0800, ipv4(6, bytes(19))),
    "tcp_data_offset": ethernet(0x0800, ipv4(6, bytes(12) + b"\x60" + bytes(7))),
    "udp_header": ethernet(0x0800, ipv4(17, bytes(7))),
    "udp_length": udp(b"x", length=10),
    "icmp_header": ethernet(0x0800, ipv4(1, bytes(3))),
    "fragment_end": ethernet(0x0800, ipv4(17, bytes(16), offset=65504)),
    "fragment_length": ethernet(0x0800, ipv4(17, bytes(9), more=True)),
}


@pytest.mark.parametrize("slug", BAD)
def test_what_cannot_be_is_malformed_for_a_reason_of_its_own(slug: str) -> None:
    assert reason(BAD[slug]) == slug


def test_edges_of_lengths() -> None:
    assert reason(ethernet(0x0800, b"\x4f" + IP[1:])) == "ipv4_header_length"
    assert reason(ethernet(0x0800, ipv4(6, bytes(12) + b"\x40" + bytes(7)))) == "tcp_data_offset"
    assert reason(udp(b"x", length=7)) == "udp_length"
    assert reason(ethernet(0x86DD, ipv6(0, b""))) == "ipv6_extension"
    assert reason(tcp(b"x"), 11) == "vnet_header"
    assert reason(tcp(b"x"), -10) == "vnet_header"
    assert whole(udp(b"", length=8)).kind == Kind.UDP
    assert whole(ethernet(0x88CC, b"")).kind == Kind.NON_IP


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_cut_anywhere_is_malformed_or_parsed_within_itself(name: str) -> None:
    for size in range(len(FRAMES[name])):
        frame = FRAMES[name][:size]
        try:
            inside(parse(frame, 0, size, VNET[name]))
        except Malformed:
            continue


@given(name=st.sampled_from(sorted(FRAMES)), data=st.data())
def test_a_frame_with_any_bytes_changed_is_malformed_or_parsed_within_itself(name: str, data: st.DataObject) -> None:
    frame = bytearray(FRAMES[name])
    for at in data.draw(st.lists(st.integers(0, min(len(frame), 120) - 1), max_size=6)):
        frame[at] = data.draw(st.integers(0, 255))
    try:
        inside(parse(frame, 0, len(frame), VNET[name]))
    except Malformed:
        return


def inside(p: Packet) -> None:
    assert p.start + p.vnet_len + 14 <= p.l3 <= p.end
    assert p.key
    if p.kind != Kind.NON_IP:
        assert p.l3 < p.l4 <= p.payload <= p.payload_end <= p.l4_end <= p.end
