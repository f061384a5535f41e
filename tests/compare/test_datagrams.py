"""UDP, ICMP, other IP, non-IP, fragments, malformed frames and rules."""

from collections.abc import Callable

import pytest

from coloproxy.compare.events import FrameRefused
from coloproxy.compare.rules import Rule
from support.frames import arp, ethernet, fragments, icmp, ipv4, ipv6, other, udp, udp_datagram
from support.play import Play

Make = Callable[..., Play]
ENDS6 = {"src": "fd00::2", "dst": "fd00::9"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (udp(b"answer"), udp(b"answer", ttl=3, ident=9, tos=4)),
        (udp(b"answer", pad=12), udp(b"answer")),
        (udp(b"answer", **ENDS6), udp(b"answer", **ENDS6, hops=3)),
        (icmp(b"ping" * 10), icmp(b"ping" * 10, ttl=3)),
        (icmp(b"ping" * 10, kind=129, **ENDS6), icmp(b"ping" * 10, kind=129, **ENDS6, hops=9)),
        (other(b"gre"), other(b"gre", ident=5)),
        (other(b"gre", **ENDS6), other(b"gre", **ENDS6)),
    ],
)
def test_equal_datagrams_leave_whatever_their_ip_headers_say(play: Make, ours: bytes, theirs: bytes) -> None:
    made = play().p(ours)
    assert made.left() == []
    assert made.s(theirs).left() == [ours]
    made = play().s(theirs)
    assert made.p(ours).left() == [ours]
    assert made.held == (0, 0)


def test_the_secondarys_order_does_not_matter_and_the_primarys_is_kept(play: Make) -> None:
    datagrams = [udp(bytes([n]) * 20) for n in range(10)]
    made = play().p(*datagrams).s(*reversed(datagrams))
    assert made.left() == datagrams
    assert made.held == (0, 0)


def test_equal_datagrams_match_one_to_one(play: Make) -> None:
    made = play().p(udp(b"same"), udp(b"same")).s(udp(b"same"))
    assert made.left() == [udp(b"same")]
    assert made.s(udp(b"same")).left() == [udp(b"same")]


def test_a_partner_has_the_grace_of_reordering_to_come(play: Make) -> None:
    made = play().p(udp(b"one")).s(udp(b"two")).after(0.009)
    assert made.divergences == []
    assert made.s(udp(b"one")).left() == [udp(b"one")]
    made.after(0.1)
    assert made.divergences == []


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (udp(b"one"), udp(b"two"), "udp_payload"),
        (udp(b"one"), udp(b"three"), "udp_length"),
        (icmp(b"one"), icmp(b"two"), "icmp_payload"),
        (icmp(b"one"), icmp(b"one", code=3), "icmp_payload"),
        (icmp(b"one"), icmp(b"three"), "icmp_length"),
        (other(b"one"), other(b"two"), "other_payload"),
        (other(b"one"), other(b"three"), "other_length"),
    ],
)
def test_after_the_grace_a_difference_is_a_divergence(play: Make, ours: bytes, theirs: bytes, reason: str) -> None:
    made = play().p(ours).s(theirs).after(0.011)
    assert made.left() == []
    assert made.reasons == [reason]


def test_without_grace_a_difference_diverges_at_once(play: Make) -> None:
    assert play(reorder_grace=0).p(udp(b"one")).s(udp(b"two")).reasons == ["udp_payload"]


def test_the_first_differing_byte_of_a_datagram_is_shown(play: Make) -> None:
    (divergence,) = play().p(udp(b"some bytes")).s(udp(b"some bites")).after(0.02).divergences
    at = divergence.context_offset
    assert (bytes.fromhex(divergence.primary)[at:], bytes.fromhex(divergence.secondary)[at:]) == (b"ytes", b"ites")


def test_datagrams_of_one_side_only_time_out(play: Make) -> None:
    assert play().p(udp(b"x")).after(4.1).reasons == ["timeout_primary_only"]
    assert play().s(udp(b"x")).after(4.1).reasons == ["timeout_secondary_only"]


def test_other_connections_are_not_touched(play: Make) -> None:
    made = play().p(udp(b"x", dport=1)).s(udp(b"x", dport=2)).after(1)
    assert made.divergences == []
    assert made.s(udp(b"x", dport=1)).left() == [udp(b"x", dport=1)]


def test_the_identifier_of_an_echo_makes_its_connection(play: Make) -> None:
    made = play().p(icmp(b"a", ident=1), icmp(b"b", ident=2)).s(icmp(b"b", ident=2), icmp(b"a", ident=1))
    assert made.left() == [icmp(b"b", ident=2), icmp(b"a", ident=1)]


# What is not compared


def test_arp_and_neighbour_discovery_pass_from_the_primary_only(play: Make) -> None:
    advertisement = icmp(b"x" * 16, kind=136, **ENDS6)
    made = play().p(arp(), advertisement).s(arp(), advertisement)
    assert made.left() == [arp(), advertisement]
    accounting = made.comparator.accounting()
    assert (accounting.primary.passed.frames, accounting.secondary.dropped.frames) == (2, 2)


def test_the_first_rule_that_matches_decides(play: Make) -> None:
    rules = [
        Rule(name="clock", protocol="udp", source_port="120-130", action="pass"),
        Rule(name="evil", protocol="udp", destination="10.0.0.0/24", destination_port=666, action="refuse"),
    ]
    made = play(rules=rules)
    made.p(udp(b"now", sport=123), udp(b"no", dport=666), udp(b"both"))
    assert made.left() == [udp(b"now", sport=123)]
    (refused,) = [event for event in made.events if isinstance(event, FrameRefused)]
    assert (refused.side, refused.reason) == ("primary", "evil")
    assert made.comparator.accounting().primary.refused.frames == 1


def test_rules_can_be_changed_at_run_time(play: Make) -> None:
    made = play().both(udp(b"one"))
    made.left()
    made.comparator.set_rules([Rule(protocol="udp", action="pass")])
    assert made.p(udp(b"two")).left() == [udp(b"two")]
    made.comparator.set_rules([])
    assert made.p(udp(b"three")).left() == []
    assert made.s(udp(b"three")).left() == [udp(b"three")]


def test_malformed_frames_pass_from_the_primary_and_are_counted(play: Make) -> None:
    broken = bytearray(udp(b"hello"))
    broken[14] = 0x42  # a header of 8 bytes
    made = play().both(bytes(broken), b"short")
    assert made.left() == [bytes(broken), b"short"]
    accounting = made.comparator.accounting()
    assert accounting.malformed == {"ipv4_header_length": 2, "ethernet_header": 2}
    assert accounting.secondary.dropped.frames == 2


def test_malformed_frames_can_be_refused(play: Make) -> None:
    made = play(malformed="refuse").both(b"short")
    assert made.left() == []
    assert made.comparator.accounting().primary.refused.frames == 1
    assert [type(event) for event in made.events] == [FrameRefused, FrameRefused]


# Fragments


@pytest.mark.parametrize("ends", [{}, ENDS6])
def test_fragments_are_compared_whole_and_released_as_they_came(play: Make, ends: dict[str, str]) -> None:
    datagram = udp_datagram(bytes(range(256)) * 16, **ends)
    ours = fragments(datagram, size=1480, **ends)
    theirs = fragments(datagram, size=512, ident=3, **ends)
    made = play().p(*ours)
    assert made.left() == []
    assert made.held == (len(ours), 0)
    made.s(*reversed(theirs))
    assert made.left() == ours
    assert made.held == (0, 0)


def test_a_fragmented_datagram_matches_an_unfragmented_one(play: Make) -> None:
    payload = b"z" * 1400
    ours = fragments(udp_datagram(payload), size=800)
    assert play().p(*ours).s(udp(payload)).left() == ours
    assert play().s(*ours).p(udp(payload)).left() == [udp(payload)]


def test_overlapping_fragments_are_a_divergence_of_their_own(play: Make) -> None:
    first = ethernet(0x0800, ipv4(17, b"a" * 64, ident=5, offset=0, more=True))
    second = ethernet(0x0800, ipv4(17, b"b" * 64, ident=5, offset=32, more=True))
    made = play().p(first, second)
    assert made.reasons == ["fragment_overlap"]
    assert made.left() == []
    assert made.checkpoint().left() == [first, second]


def test_a_datagram_that_stays_incomplete_is_held_until_the_checkpoint_it_asks_for(play: Make) -> None:
    first, *_ = fragments(udp_datagram(b"x" * 3000))
    made = play().p(first).after(3.1)
    assert made.reasons == ["timeout_primary_only"]
    assert made.held == (1, 0)
    assert made.checkpoint().left() == [first]
    assert play().s(first).after(31).divergences == []


def test_an_atomic_fragment_is_no_fragment(play: Make) -> None:
    packet = ipv6(17, udp_datagram(b"whole", **ENDS6), extensions=((44, b"\0\0\0\0\0\7"),))
    atomic = ethernet(0x86DD, packet)
    assert play().p(atomic).s(udp(b"whole", **ENDS6)).left() == [atomic]


def test_what_is_malformed_is_so_in_fragments_too(play: Make) -> None:
    wrong = udp_datagram(b"x" * 1600, length=4)
    pieces = fragments(wrong, size=800)
    made = play(malformed="refuse").p(*pieces)
    assert made.left() == []
    account = made.comparator.accounting()
    assert account.malformed == {"udp_length": 1}
    assert account.primary.refused.frames == len(pieces)
    assert play().p(*pieces).left() == pieces


def test_of_two_equal_datagrams_the_one_that_is_used_up_is_not_used_again(play: Make) -> None:
    made = play(on_divergence="release").both(udp(b"before")).checkpoint()
    made.s(udp(b"same"))  # this one may be of the epoch before, the next is not
    made.after(0.1).s(udp(b"same")).p(udp(b"else")).after(0.1)
    assert made.reasons == ["udp_payload"]
    assert made.left() == [udp(b"before"), udp(b"else")]
    assert made.p(udp(b"same")).left() == [udp(b"same")]
    assert made.held == (0, 0)
    made.p(udp(b"same"))
    assert made.held == (1, 0)
