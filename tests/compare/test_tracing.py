"""What is traced, in the words of QEMU's comparator. That these are its words is tested in tests/qemu."""

import io
from collections.abc import Callable, Iterator

import pytest

from coloproxy import trace
from support.frames import ACK, PSH, RST, SYN, arp, ethernet, ipv4, tcp, udp
from support.play import Play

Make = Callable[..., Play]
Lines = Callable[[], list[str]]

RELEASED = "colo_compare_main : packet same and release packet"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines traced since the last time."""
    file = io.BytesIO()
    trace.TRACER.open_backend("log", file)
    trace.enable("colo_compare_*")
    trace.enable("colo_proxy_*")
    trace.enable("colo_old_packet_*")

    def take() -> list[str]:
        taken = file.getvalue().decode().splitlines()
        file.seek(0)
        file.truncate()
        return [line for line in taken if "checkpoint" not in line and "flush" not in line]

    yield take
    trace.enable("-colo_*")
    trace.close()


def data(payload: bytes, seq: int = 1000, ack: int = 1, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, flags=ACK | PSH, **more)  # type: ignore[arg-type]


def ip_info(primary: bytes, secondary: bytes) -> str:
    return (
        f"colo_compare_ip_info ppkt size = {len(primary)}, ip_src = 10.0.0.2, ip_dst = 10.0.0.9, "
        f"spkt size = {len(secondary)}, ip_src = 10.0.0.2, ip_dst = 10.0.0.9"
    )


def tcp_info(side: str, seq: int, size: int, offset: int) -> str:
    return f"colo_compare_tcp_info {side}: seq/ack= {seq}/1 hdlen= 54 pdlen= {size} offset= {offset} flags=24"


def test_equal_segments_are_told_without_offsets(play: Make, lines: Lines) -> None:
    play().both(data(b"hello"))
    assert lines() == [
        ip_info(data(b"hello"), data(b"hello")), tcp_info("pri", 1000, 5, 0), tcp_info("sec", 1000, 5, 0), RELEASED
    ]  # fmt: skip


def test_segments_that_end_together_are_told_with_what_is_done_of_the_secondarys(play: Make, lines: Lines) -> None:
    whole, first, second = data(b"hello"), data(b"he"), data(b"llo", 1002)
    play().p(whole).s(first, second)
    assert lines() == [
        ip_info(whole, first), tcp_info("pri", 1000, 5, 2), tcp_info("sec", 1000, 2, 0),
        ip_info(whole, second), tcp_info("pri", 1000, 5, 2), tcp_info("sec", 1002, 3, 3), RELEASED,
    ]  # fmt: skip


def test_a_piece_is_told_by_the_segment_it_came_in(play: Make, lines: Lines) -> None:
    """The secondary sends two bytes again, and three new ones."""
    play().p(data(b"he"), data(b"llo", 1002)).s(data(b"he"), data(b"hello"))
    assert lines()[-3:] == [tcp_info("pri", 1002, 3, 0), tcp_info("sec", 1000, 5, 2), RELEASED]


def test_differing_segments_of_equal_bounds_are_compared_twice(play: Make, lines: Lines) -> None:
    play().p(data(b"good")).s(data(b"evil"))
    assert lines() == 2 * [ip_info(data(b"good"), data(b"evil"))]
    play().p(data(b"good")).s(data(b"evils"))
    assert lines() == [ip_info(data(b"good"), data(b"evils"))]


def test_syn_and_rst_are_released_like_any_other(play: Make, lines: Lines) -> None:
    play().both(tcp(seq=1, flags=SYN))
    assert lines() == [RELEASED]
    play().both(tcp(seq=1, flags=RST))
    assert lines() == [RELEASED]


@pytest.mark.parametrize("ahead", [0, 10])
def test_a_retransmission_is_told_when_it_leaves(play: Make, lines: Lines, ahead: int) -> None:
    made = play(ack_rule="hold").both(data(b"hello"))
    lines()
    made.p(data(b"hello", ack=1 + ahead))
    if ahead:
        assert lines() == []
        made.s(tcp(seq=1005, ack=1 + ahead))
    assert lines() == ["colo_compare_main : pri: this packet has compared", RELEASED]


def test_the_search_for_a_datagrams_partner_is_told_in_full(play: Make, lines: Lines) -> None:
    play().s(udp(b"a"), udp(b"bb"), udp(b"c"), udp(b"d")).p(udp(b"c"))
    size = len(udp(b"c"))
    compared = ["colo_compare_main : compare udp", ip_info(udp(b"c"), udp(b"c"))]
    assert lines() == [
        *compared,
        f"colo_compare_udp_miscompare : primary pkt size = {size}",
        f"colo_compare_udp_miscompare : Secondary pkt size = {size}",
        "colo_compare_main : compare udp",
        "colo_compare_main : UDP: payload size of packets are different",
        *compared,
        RELEASED,
    ]


CUT_SHORT = "colo_proxy_main : pkt->size < network_header + network_length"
UNSUPPORTED = {
    "arp": (arp(), None),
    "tagged arp": (ethernet(0x0806, bytes(46), vlan=(5,)), "colo_proxy_main : COLO-proxy don't support vlan"),
    "cut short": (ethernet(0x0800, ipv4(17, b"")[:15]), CUT_SHORT),
    "cut short in tags": (ethernet(0x0800, ipv4(17, b"")[:15], vlan=(7, 5)), CUT_SHORT),
    "short": (
        arp()[:17], "colo_proxy_main_vnet_info : This received packet load wrong  pkt->vnet_hdr_len = 0, pkt->size = 17"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_compared_is_unsupported(play: Make, lines: Lines, name: str) -> None:
    frame, why = UNSUPPORTED[name]
    explained = [why] if why else []
    play().p(frame)
    assert lines() == [*explained, "colo_compare_main : primary: unsupported packet in"]
    play().s(frame)
    assert lines() == [*explained, "colo_compare_main : secondary: unsupported packet in"]


def test_an_old_packet_is_told_by_the_time_of_its_arrival(play: Make, lines: Lines) -> None:
    made = play().after(100).p(udp(b"first"))
    made.after(0.5).p(udp(b"second", dport=9)).after(5)
    first, second = (int(line.split()[1]) for line in lines())
    assert second - first == 500
