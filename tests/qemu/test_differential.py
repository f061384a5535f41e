"""Wherever QEMU is right, coloproxy releases the same in the same order, and asks for checkpoints when QEMU does."""

import time
from collections.abc import Callable
from itertools import count, islice

import pytest
from contest import Contest
from contestants import Coloproxy, Qemu
from domain import LIMITS
from plays import Play, Refusal, Step
from reasons import Reason
from runs import NUMBERS, difference, make

from support.frames import ACK, icmp, tcp, udp


def test_both_do_the_same_wherever_qemu_is_right(contest: Contest) -> None:
    for number in NUMBERS:
        if told := difference(contest, number):
            pytest.fail(told)


def test_every_limit_of_the_domain_is_one_where_they_differ(contest: Contest) -> None:
    """The domain is as wide as it can be: for each reason, plays that go beyond it show a difference."""
    wanted = set(LIMITS) - {Reason.LIFO_OUTPUT}  # to which a distance is kept: it is a matter of speed
    wanted -= set() if contest.vnet_hdr else {Reason.VNET_LENGTH}
    for number in islice(count(), 3000):
        play = make(number, contest.vnet_hdr)
        for refusal in play.refusals:
            assert refusal.reason in LIMITS
            if refusal.reason in wanted and contest.perform(beyond(play, refusal)) is not None:
                wanted.discard(refusal.reason)
        if not wanted:
            return
    pytest.fail(f"no play beyond {', '.join(reason.name for reason in wanted)} shows a difference")


def beyond(play: Play, refusal: Refusal) -> Play:
    """The play, and in it what was refused."""
    said = Step(refusal.side, (refusal.said,))
    return Play(play.vnet_hdr, [*play.steps[: refusal.after], said, *play.steps[refusal.after :]])


HELD = {
    "bytes": tcp(b"data", seq=5, ack=9, flags=ACK),
    "an acknowledgement": tcp(seq=5, ack=9, flags=ACK),
    "a datagram": udp(b"question"),
    "an echo": icmp(b"ping"),
}


@pytest.mark.parametrize(
    ("side", "what"),
    [(side, what) for side in "ps" for what in HELD if (side, what) != ("s", "an acknowledgement")],  # Reason.IDLE_ACK
)
def test_both_ask_for_a_checkpoint_for_what_one_side_alone_has_said_too_long_ago(
    qemu: Callable[..., Qemu], ours: Callable[..., Coloproxy], side: str, what: str
) -> None:
    for each in (
        qemu(compare_timeout=150, expired_scan_cycle=20),
        ours("--compare-timeout", "150", "--expired-scan-cycle", "20"),
    ):
        matched = udp(b"both", sport=9)
        each.step(side, matched)
        each.step("s" if side == "p" else "p", matched)
        began = time.monotonic()
        each.step(side, HELD[what])
        each.wait_for_request()
        assert time.monotonic() - began > 0.15
