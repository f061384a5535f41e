"""What of a segment is translated: numbers of the replicas', nothing else, with the checksum right, in any frame."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP as ScapyTcp
from scapy.layers.l2 import Ether

from coloproxy.packet import vnet
from coloproxy.packet.parse import parse
from coloproxy.packet.tcpopts import SACK, options, timestamps
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from support.frames import ACK, FIN, PSH, RST, SYN, URG, fragments, tcp, timestamp
from support.kinds import CHAIN, FRAGMENT_OF_ALL
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
NUMBERS = st.integers(0, 2**32 - 1)
VNETS = st.sampled_from([(0, 0), (10, 0), (12, 100), (20, 100), (12, 1448)])
TAGS = st.sampled_from([(), (5,), (7, 5)])
FAMILY = st.sampled_from(["v4", "v4 options", "v6", "v6 extensions", "v6 atomic fragment"])
FRONT = st.sampled_from([b"", b"\1", b"\1\1", b"\1\1\1"])  # options begin at any alignment
REPLICA6, CLIENT6 = "fd00::2", "fd00::9"


def ip_of(family: str) -> dict[str, object]:
    if family == "v4":
        return {}
    if family == "v4 options":
        return {"options_of_ip": b"\x94\4\0\0\1\1\1\0"}
    if family == "v6":
        return {"six": True}
    return {"six": True, "extensions": CHAIN if family == "v6 extensions" else (FRAGMENT_OF_ALL,)}


def built(from_client: bool, family: str, payload: bytes = b"", *, head: bytes = b"", **more: object) -> bytes:
    """A frame of either end; `head` are its TCP options."""
    ip = ip_of(family)
    ends = (CLIENT6, REPLICA6) if ip.pop("six", False) else ("10.0.0.9", "10.0.0.2")
    more["src"], more["dst"] = ends if from_client else ends[::-1]
    more["sport"], more["dport"] = (40000, 80) if from_client else (80, 40000)
    of_ip = ip.pop("options_of_ip", None)
    frame = tcp(payload, options=head, **more, **ip)  # type: ignore[arg-type]
    if of_ip is None:
        return frame
    # IPv4 options by hand, for `tcp` has one keyword for both: header longer, its sum anew; TCP's covers none of it.
    l3 = int(more.get("vnet", 0)) + 14 + 4 * len(more.get("vlan", ()))  # type: ignore[arg-type, call-overload]
    out = bytearray(frame[: l3 + 20] + of_ip + frame[l3 + 20 :])
    out[l3] = 0x45 + len(of_ip) // 4
    struct.pack_into(">H", out, l3 + 2, struct.unpack_from(">H", frame, l3 + 2)[0] + len(of_ip))
    struct.pack_into(">H", out, l3 + 10, 0)
    total = sum(struct.unpack(f">{(20 + len(of_ip)) // 2}H", out[l3 : l3 + 20 + len(of_ip)]))
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into(">H", out, l3 + 10, ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
    return bytes(out)


def opened(family: str, vlan: tuple[int, ...], p_isn: int, s_isn: int, stamp: int, general: bool) -> Rewriter:
    """A rewriter in whose sight a connection has opened. Its timestamps' offset is `stamp`."""
    rewriter = Rewriter(Config(timestamps="translate"))
    if general:
        rewriter.use_general_path()
    more = {"vlan": vlan}
    steps = (
        (Source.CLIENT, built(True, family, seq=C_ISN, flags=SYN, head=timestamp(7, 0), **more)),
        (Source.PRIMARY, built(False, family, seq=p_isn, ack=C_ISN + 1, flags=SYN | ACK,
                               head=timestamp(40, 7), **more)),
        (Source.SECONDARY, built(False, family, seq=s_isn, ack=C_ISN + 1, flags=SYN | ACK,
                                 head=timestamp(40 + stamp, 7), **more)),
        (Source.CLIENT, built(True, family, seq=C_ISN + 1, ack=p_isn + 1, head=timestamp(8, 40), **more)),
    )  # fmt: skip
    for source, frame in steps:
        assert rewriter.receive(source, frame, 0.0) is not None
    return rewriter


def sum_is_as_scapy_says(frame: bytes, vnet_len: int) -> bool:
    """A full checksum as scapy computes it; a partial one unchanged is looked at elsewhere."""
    witness = Ether(frame[vnet_len:])
    told = witness[ScapyTcp].chksum
    del witness[ScapyTcp].chksum
    return bool(Ether(bytes(witness))[ScapyTcp].chksum == told)


@given(
    family=FAMILY, vlan=TAGS, vnets=VNETS, p_isn=NUMBERS, s_isn=NUMBERS, stamp=NUMBERS, ack=NUMBERS, echo=NUMBERS,
    blocks=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2), front=FRONT, size=st.sampled_from([0, 3, 300]),
    flags=st.sampled_from([ACK, ACK | PSH, ACK | FIN, ACK | URG]), general=st.booleans(),
)  # fmt: skip
def test_the_clients_segments_speak_of_the_secondarys_numbers(
    family: str, vlan: tuple[int, ...], vnets: tuple[int, int], p_isn: int, s_isn: int, stamp: int, ack: int,
    echo: int, blocks: list[tuple[int, int]], front: bytes, size: int, flags: int, general: bool,
) -> None:  # fmt: skip
    def head(shift: int, shift_stamp: int) -> bytes:
        edges = [(edge + shift) & 0xFFFFFFFF for block in blocks for edge in block]
        said = front + b"\x08\x0a" + struct.pack(">II", 55, (echo + shift_stamp) & 0xFFFFFFFF)
        if blocks:
            said += bytes((5, 2 + 4 * len(edges))) + struct.pack(f">{len(edges)}I", *edges)
        return said + b"\1" * (-len(said) % 4)

    vnet_len, gso = vnets
    offset = (s_isn - p_isn) & 0xFFFFFFFF
    more = {"vlan": vlan, "vnet": vnet_len, "gso": gso, "flags": flags, "urgent": 2, "seq": C_ISN + 1, "pad": 2}
    rewriter = opened(family, vlan, p_isn, s_isn, stamp, general)
    got = rewriter.receive(
        Source.CLIENT, built(True, family, bytes(size), ack=ack, head=head(0, 0), **more), 0.0, vnet_len
    )
    assert got == built(True, family, bytes(size), ack=ack + offset, head=head(offset, stamp), **more)
    if not vnet.read(got, 0, vnet_len).needs_csum:
        assert sum_is_as_scapy_says(got, vnet_len)


@given(
    family=FAMILY, vlan=TAGS, vnets=VNETS, p_isn=NUMBERS, s_isn=NUMBERS, stamp=NUMBERS, seq=NUMBERS, value=NUMBERS,
    front=FRONT, size=st.sampled_from([0, 3, 300]), general=st.booleans(),
    flags=st.sampled_from([ACK, ACK | PSH, ACK | FIN, ACK | URG, RST, RST | ACK]),
)  # fmt: skip
def test_the_secondarys_segments_have_the_primarys_numbers(
    family: str, vlan: tuple[int, ...], vnets: tuple[int, int], p_isn: int, s_isn: int, stamp: int, seq: int,
    value: int, front: bytes, size: int, flags: int, general: bool,
) -> None:  # fmt: skip
    def head(shift_stamp: int) -> bytes:
        said = front + b"\x08\x0a" + struct.pack(">II", (value - shift_stamp) & 0xFFFFFFFF, 8)
        said += b"\x05\x0a" + struct.pack(">II", 4000, 5000)  # of the client's numbers, which are the same for both
        return said + b"\1" * (-len(said) % 4)

    vnet_len, gso = vnets
    more = {"vlan": vlan, "vnet": vnet_len, "gso": gso, "flags": flags, "urgent": 2, "ack": C_ISN + 1, "pad": 2}
    rewriter = opened(family, vlan, p_isn, s_isn, stamp, general)
    got = rewriter.receive(
        Source.SECONDARY, built(False, family, bytes(size), seq=seq, head=head(0), **more), 0.0, vnet_len
    )
    expected = built(False, family, bytes(size), seq=seq - s_isn + p_isn, head=head(stamp), **more)
    assert got == expected
    if not vnet.read(expected, 0, vnet_len).needs_csum:
        assert sum_is_as_scapy_says(got, vnet_len)


def test_a_wrong_checksum_stays_wrong(play: Make) -> None:
    begun = play().begun()
    frame = bytearray(replica(b"data", seq=S_ISN + 1))
    frame[-1] ^= 1
    got = begun.rewriter.receive(Source.SECONDARY, frame, 0.0)
    assert got is not None
    assert not sum_is_as_scapy_says(got, 0)
    assert parse(got, 0, len(got)).seq == P_ISN + 1


def test_the_primarys_frames_are_never_altered(play: Make) -> None:
    begun = play().begun()
    frame = replica(b"data", seq=P_ISN + 1)
    assert begun.rewriter.receive(Source.PRIMARY, frame, 0.0) == frame


def test_a_segment_of_the_client_without_ack_is_left_alone(play: Make) -> None:
    (reset,) = play().begun().c(client(seq=C_ISN + 1, ack=77, flags=RST))
    assert (reset.seq, reset.ack) == (C_ISN + 1, 77)


def test_a_reset_without_ack_is_numbered_as_what_it_answers(play: Make) -> None:
    """RFC 9293, 3.10.7.1: its number is what the client acknowledged, as the secondary got it."""
    (reset,) = play().begun().s(replica(seq=S_ISN + 1, ack=0, flags=RST))
    assert reset.seq == P_ISN + 1


def test_options_of_odd_lengths_are_left_alone(play: Make) -> None:
    begun = play().begun()
    odd = b"\x05\x06\0\0\3\xe9" + b"\x08\x03\1" + b"\1" * 3
    got = begun.rewriter.receive(Source.CLIENT, client(options=odd), 0.0)
    assert got == client(ack=S_ISN + 1, options=odd)


def test_sack_blocks_follow_in_every_mode(play: Make) -> None:
    for mode in ("strip", "translate", "keep"):
        begun = play(timestamps=mode).begun()
        got = begun.rewriter.receive(Source.CLIENT, client(options=b"\1\1\5\x0a" + struct.pack(">II", 2000, 3000)), 0.0)
        assert got is not None
        packet = parse(got, 0, len(got))
        ((kind, first, _),) = options(got, packet.l4 + 20, packet.payload)
        assert (kind, *struct.unpack_from(">II", got, first)) == (SACK, 2000 + OFFSET, 3000 + OFFSET)


# Timestamps


def test_stripping_takes_timestamps_out_of_every_syn_and_keeps_its_length(play: Make) -> None:
    stamped = client(seq=C_ISN, ack=0, flags=SYN, options=b"\2\4\5\xb4" + timestamp(5, 0))
    made = play()
    got = made.rewriter.receive(Source.CLIENT, stamped, 0.0)
    assert got == client(seq=C_ISN, ack=0, flags=SYN, options=b"\2\4\5\xb4" + b"\1" * 12)
    assert sum_is_as_scapy_says(got, 0)
    out = replica(seq=P_ISN, ack=0, flags=SYN, options=timestamp(5, 0), dport=7)
    for source in (Source.PRIMARY, Source.SECONDARY):
        assert made.rewriter.receive(source, out, 0.0) == replica(
            seq=P_ISN, ack=0, flags=SYN, options=b"\1" * 12, dport=7
        )
    assert made.accounting.stripped == 3


def test_a_syn_with_a_partial_checksum_keeps_it(play: Make) -> None:
    more = {"seq": C_ISN, "ack": 0, "flags": SYN, "vnet": 12, "gso": 1448}
    got = play().rewriter.receive(Source.CLIENT, client(options=timestamp(5, 0), **more), 0.0, 12)
    assert got == client(options=b"\1" * 12, **more)


@pytest.mark.parametrize("mode", ["translate", "keep"])
def test_other_modes_leave_the_syn_alone(play: Make, mode: str) -> None:
    stamped = client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(5, 0))
    assert play(timestamps=mode).rewriter.receive(Source.CLIENT, stamped, 0.0) == stamped


def test_the_secondary_is_echoed_the_timestamp_of_its_own_last_syn_ack(play: Make) -> None:
    """Whatever the two clocks and however often a SYN-ACK was sent: any other echo is refused by recent kernels."""
    made = play(timestamps="translate")
    made.c(client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(5, 0)))
    made.p(replica(seq=P_ISN, flags=SYN | ACK, options=timestamp(700, 5)))
    for stamp in (90_000, 91_000):
        made.s(replica(seq=S_ISN, flags=SYN | ACK, options=timestamp(stamp, 5)))
    got = made.rewriter.receive(Source.CLIENT, client(options=timestamp(6, 703)), 0.0)
    assert got == client(ack=S_ISN + 1, options=timestamp(6, 91_000))
    got = made.rewriter.receive(Source.CLIENT, client(options=timestamp(9, 803)), 0.0)
    assert got == client(ack=S_ISN + 1, options=timestamp(9, 91_100))
    got = made.rewriter.receive(Source.SECONDARY, replica(seq=S_ISN + 1, options=timestamp(91_500, 9)), 0.0)
    assert got == replica(seq=P_ISN + 1, options=timestamp(1203, 9))


def test_kept_timestamps_are_kept(play: Make) -> None:
    made = play(timestamps="keep")
    made.c(client(seq=C_ISN, ack=0, flags=SYN, options=timestamp(5, 0)))
    made.s(replica(seq=S_ISN, flags=SYN | ACK, options=timestamp(90_000, 5)))
    got = made.rewriter.receive(Source.CLIENT, client(options=timestamp(6, 703)), 0.0)
    assert got is not None
    packet = parse(got, 0, len(got))
    assert (packet.ack, timestamps(got, packet.l4 + 20, packet.payload)) == (S_ISN + 1, (6, 703))


# What is no segment to translate


def test_fragments_pass_untouched_and_are_counted(play: Make) -> None:
    begun = play().begun()
    whole = replica(b"x" * 100, seq=S_ISN + 1)[34:]
    pieces = fragments(whole, protocol=6, size=40)
    for piece in pieces:
        assert begun.rewriter.receive(Source.SECONDARY, piece, 0.0) == piece
    assert begun.accounting.fragments == len(pieces)


def test_malformed_frames_pass_untouched_and_are_counted(play: Make) -> None:
    begun = play().begun()
    frame = bytearray(replica(b"data", seq=S_ISN + 1))
    frame[34 + 12] = 0x10  # a header of 4 bytes
    assert begun.rewriter.receive(Source.SECONDARY, frame, 0.0) == frame
    assert begun.accounting.malformed == {"tcp_data_offset": 1}


def test_what_began_before_the_rewriter_passes_untouched(play: Make) -> None:
    made = play()
    for source, frame in ((Source.CLIENT, client(b"x")), (Source.SECONDARY, replica(b"x", seq=5)),
                          (Source.SECONDARY, S_SYN_ACK)):  # fmt: skip
        assert made.rewriter.receive(source, frame, 0.0) == frame
    assert made.state == ""


def test_a_frame_of_no_bytes_stays_that(play: Make) -> None:
    assert play().rewriter.receive(Source.CLIENT, b"", 0.0) == b""


def test_an_index_outside_the_buffer_is_the_callers_error(play: Make) -> None:
    batch = Batch([CLIENT_SYN, P_SYN_ACK])
    batch.index[4] += 1
    with pytest.raises(ValueError, match="outside"):
        play().rewriter.translate(Source.CLIENT, batch, 0.0)
    with pytest.raises(ValueError, match="outside"):
        play().rewriter.prepare(batch)
