"""The trace events that both have are fired in the same cases, and written with the same values and texts."""

import time
from collections.abc import Callable

import plays
import pytest
from contest import Contest
from contestants import Coloproxy, Contestant, Qemu
from runs import NUMBERS, difference

from support.frames import tcp, udp


def test_both_trace_the_same_wherever_qemu_is_right(traced: Contest) -> None:
    for number in NUMBERS[: len(NUMBERS) // 3 + 1]:
        if told := difference(traced, number, plays.calm):
            pytest.fail(told)


def test_the_lines_tell_what_is_compared(qemu: Callable[..., Qemu], ours: Callable[..., Coloproxy]) -> None:
    """What the lines look like, so that an empty log would be noticed."""
    lines = [
        "colo_compare_ip_info ppkt size = 58, ip_src = 10.0.0.2, ip_dst = 10.0.0.9, "
        "spkt size = 58, ip_src = 10.0.0.2, ip_dst = 10.0.0.9",
        "colo_compare_tcp_info pri: seq/ack= 1000/1 hdlen= 54 pdlen= 4 offset= 0 flags=16",
        "colo_compare_tcp_info sec: seq/ack= 1000/1 hdlen= 54 pdlen= 4 offset= 0 flags=16",
        "colo_compare_main : packet same and release packet",
    ]
    said = tcp(b"data", seq=1000, ack=1)
    for each in (qemu(trace=True), ours(trace=True)):
        each.p(said)
        each.traced()
        each.s(said)
        assert [line for line in each.traced() if "unsupported" not in line][:4] == lines


@pytest.mark.parametrize("side", ["p", "s"])
def test_an_old_packet_is_told_by_the_time_of_its_arrival(
    qemu: Callable[..., Qemu], ours: Callable[..., Coloproxy], side: str
) -> None:
    for each in (
        qemu(trace=True, compare_timeout=200, expired_scan_cycle=20),
        ours("--compare-timeout", "200", "--expired-scan-cycle", "20", trace=True),
    ):
        began = time.time()
        each.step(side, udp(b"alone"))
        ended = time.time()
        each.wait_for_request()
        assert int(began * 1000) - 1 <= found(each) <= int(ended * 1000) + 1


def found(each: Contestant) -> int:
    """The time that it tells of the first old packet, in milliseconds."""
    lines = [line.split() for line in each.traced()]
    return next(int(words[1]) for words in lines if words[0] == "colo_old_packet_check_found")
