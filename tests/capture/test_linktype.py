"""Frames of other links become Ethernet frames that parse as what they are."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.capture import Capture, Record, to_ethernet
from coloproxy.capture.linktype import CONVERTERS, NAMES
from coloproxy.packet.parse import Kind, parse
from support.captures import Shot, pcap
from support.frames import REPLICA6, arp, tcp, udp

V4 = tcp(b"data")
V6 = tcp(b"data", src=REPLICA6, dst="fd00::9")
MAC = V4[6:12]
RAW_LINKS = [12, 14, 101]


def made(linktype: int, data: bytes) -> bytes | None:
    (record,) = Capture(io.BytesIO(pcap([Shot(0, data)], linktype=linktype)))
    return to_ethernet(record)


def cooked(frame: bytes, arphrd: int = 1, length: int = 6) -> bytes:
    return struct.pack(">HHH", 4, arphrd, length) + frame[6:12] + b"\xaa\xbb" + frame[12:]


def cooked_2(frame: bytes, length: int = 6) -> bytes:
    return frame[12:14] + bytes(2) + struct.pack(">IHBB", 3, 1, 4, length) + frame[6:12] + b"\xaa\xbb" + frame[14:]


def test_ethernet_stays_as_it_is() -> None:
    assert made(1, V4) == V4


@pytest.mark.parametrize("frame", [V4, V6, arp(), tcp(b"data", vlan=(5,))])
@pytest.mark.parametrize(("linktype", "cook"), [(113, cooked), (276, cooked_2)])
def test_a_cooked_frame_keeps_its_source_its_type_and_its_tags(linktype: int, cook: object, frame: bytes) -> None:
    out = made(linktype, cook(frame))  # type: ignore[operator]
    assert out == bytes(6) + frame[6:]


def test_a_cooked_frame_without_an_address_has_zeros() -> None:
    assert made(113, cooked(V4, 772, 0)) == bytes(12) + V4[12:]
    assert made(276, cooked_2(V4, 0)) == bytes(12) + V4[12:]


def test_a_cooked_802_3_frame_has_a_length_for_a_type() -> None:
    llc = b"\x42\x42\x03" + bytes(35)
    out = made(113, struct.pack(">HHH", 0, 1, 6) + MAC + bytes(2) + b"\0\4" + llc)
    assert out == bytes(6) + MAC + struct.pack(">H", len(llc)) + llc


@pytest.mark.parametrize("linktype", RAW_LINKS)
def test_raw_ip_is_told_by_its_version(linktype: int) -> None:
    for frame in (V4, V6):
        assert made(linktype, frame[14:]) == bytes(12) + frame[12:]
    assert made(linktype, b"\x50" + bytes(40)) is None


def test_raw_ipv4_and_raw_ipv6_have_link_types_of_their_own() -> None:
    assert made(228, V4[14:]) == bytes(12) + V4[12:]
    assert made(229, V6[14:]) == bytes(12) + V6[12:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("linktype", [0, 108])
def test_a_family_in_front_is_read_in_either_byte_order_and_dialect(linktype: int, order: str) -> None:
    assert made(linktype, struct.pack(order + "I", 2) + V4[14:]) == bytes(12) + V4[12:]
    for family in (10, 24, 28, 30):
        assert made(linktype, struct.pack(order + "I", family) + V6[14:]) == bytes(12) + V6[12:]
    assert made(linktype, struct.pack(order + "I", 7) + V4[14:]) is None


def test_what_is_made_parses_as_what_it_was() -> None:
    for frame, kind in ((V4, Kind.TCP), (V6, Kind.TCP), (udp(b"x"), Kind.UDP)):
        for linktype, data in (
            (113, cooked(frame)), (276, cooked_2(frame)), (101, frame[14:]), (0, b"\2\0\0\0" + frame[14:])
        ):  # fmt: skip
            out = made(linktype, data)
            assert out is not None
            packet, original = parse(out, 0, len(out)), parse(frame, 0, len(frame))
            assert (packet.kind, packet.key) == (kind, original.key)


def test_an_unknown_link_type_is_told_by_none() -> None:
    assert made(147, V4) is None
    assert set(CONVERTERS) == set(NAMES)


@given(st.sampled_from(sorted(CONVERTERS)), st.binary(max_size=60))
def test_any_bytes_on_any_link_become_a_frame_or_none(linktype: int, data: bytes) -> None:
    out = to_ethernet(Record(0, linktype, data, len(data)))
    assert out is None or linktype == 1 or len(out) >= 14


def test_frames_shorter_than_their_links_header_become_none() -> None:
    for linktype in sorted(set(CONVERTERS) - {1}):
        assert made(linktype, b"") is None
        assert made(linktype, b"\0\0\0") is None
