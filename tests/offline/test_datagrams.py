"""UDP, ICMP and other IP in two captures: equal ones find each other, in any order; the others are told one by one."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.offline import Options, Report, compare, parse_replica
from support import frames as f
from support.captures import Shot, pcap

Diff = Callable[..., Report]
SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
CONTENTS = [b"datagram %03d " % n + bytes([n]) * n for n in range(200)]
DATAGRAMS = [f.udp(content) for content in CONTENTS]


def test_the_same_datagrams_are_the_same(diff: Diff) -> None:
    report = diff(DATAGRAMS, DATAGRAMS)
    assert report.same
    assert report.totals.verified == sum(map(len, CONTENTS))
    assert report.connections[0].frames == (200, 200)


@given(st.integers(0, 2**32))
def test_order_makes_no_difference_nearby(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    keyed = sorted((place + rng.randint(0, 20), rng.random(), d) for place, d in enumerate(DATAGRAMS))
    folder = tmp_path_factory.getbasetemp()
    (folder / "p").write_bytes(pcap(Shot(BEGIN + n, d) for n, d in enumerate(DATAGRAMS)))
    (folder / "s").write_bytes(pcap(Shot(BEGIN + n, d) for n, (_, _, d) in enumerate(keyed)))
    report = compare(folder / "p", folder / "s", Options(side=parse_replica("10.0.0.2")))
    assert report.same
    assert report.totals.verified == sum(map(len, CONTENTS))


@pytest.mark.parametrize("place", [0, 100, 199])
def test_a_changed_byte_is_one_difference_at_that_byte(diff: Diff, place: int) -> None:
    content = CONTENTS[place][:-1] + b"?" if place else b"datagram ?00 "
    other = [*DATAGRAMS[:place], f.udp(content), *DATAGRAMS[place + 1 :]]
    (d,) = diff(DATAGRAMS, other).differences
    assert (d.reason, d.offset) == ("udp_payload", len(content) - 1 if place else 9)
    assert (d.primary_frames, d.secondary_frames) == ([place + 1], [place + 1])
    assert d.context_offset == 9 if not place else min(16, d.offset)


def test_another_length_is_a_difference(diff: Diff) -> None:
    other = [*DATAGRAMS[:50], f.udp(CONTENTS[50] + b"more"), *DATAGRAMS[51:]]
    (d,) = diff(DATAGRAMS, other).differences
    assert (d.reason, d.offset) == ("udp_length", len(CONTENTS[50]))


@pytest.mark.parametrize("lost", [[0], [10, 11, 12], list(range(50, 150)), [199]])
def test_datagrams_that_one_side_lacks_are_one_difference_and_no_other_is(diff: Diff, lost: list[int]) -> None:
    rest = [d for n, d in enumerate(DATAGRAMS) if n not in lost]
    for swap in (False, True):
        report = diff(*((rest, DATAGRAMS) if swap else (DATAGRAMS, rest)))
        (d,) = report.differences
        assert d.reason == ("timeout_secondary_only" if swap else "timeout_primary_only")
        assert d.length == sum(len(CONTENTS[n]) for n in lost)
        assert (d.secondary_frames if swap else d.primary_frames) == [n + 1 for n in lost][:32]
        assert report.totals.verified == sum(map(len, CONTENTS)) - d.length
    what = f"datagram of {d.length} bytes" if len(lost) == 1 else f"{len(lost)} datagrams, {d.length:,} bytes"
    assert d.detail == f"only the secondary has sent {'this' if len(lost) == 1 else 'these'} {what}"


def test_lost_ones_and_changed_ones_are_told_apart(diff: Diff) -> None:
    other = list(DATAGRAMS)
    other[120] = f.udp(CONTENTS[120][:-1] + b"!")
    del other[60]
    report = diff(DATAGRAMS, other)
    assert [(d.reason, d.primary_frames) for d in report.differences] == [
        ("udp_payload", [121]), ("timeout_primary_only", [61])
    ]  # fmt: skip


def test_repeated_datagrams_match_one_to_one(diff: Diff) -> None:
    same = [f.udp(b"tick")] * 100
    assert diff(same, same).same
    (d,) = diff(same, same[:90]).differences
    assert (d.reason, d.length) == ("timeout_primary_only", 40)


def test_when_everything_differs_every_datagram_is_told(diff: Diff) -> None:
    other = [f.udp(bytes(reversed(content))) for content in CONTENTS]
    report = diff(DATAGRAMS, other)
    assert len(report.differences) == 200
    assert [d.primary_frames for d in report.differences] == [d.secondary_frames for d in report.differences]


def test_a_captures_head_start_is_no_difference(diff: Diff) -> None:
    shots = [Shot(BEGIN + n * 1_000_000, d) for n, d in enumerate(DATAGRAMS)]
    for sides in ((shots, shots[100:]), (shots[100:], shots)):
        report = diff(*sides)
        assert report.same
        assert report.totals.before == sum(map(len, CONTENTS[:100]))
        assert report.totals.verified == sum(map(len, CONTENTS[100:]))


def test_pings_are_compared_with_their_data_and_numbers(diff: Diff) -> None:
    pings = [f.icmp(b"data" * n, number=n) for n in range(20)]
    report = diff(pings, pings)
    assert report.same
    assert report.totals.connections == 1
    (d,) = diff(pings, [*pings[:9], f.icmp(b"data" * 9, number=99), *pings[10:]]).differences
    assert (d.reason, d.offset) == ("icmp_payload", 3)
    v6 = [f.icmp(b"data" * n, kind=129, src=f.REPLICA6, dst=f.CLIENT6) for n in range(20)]
    assert diff(v6, v6, side="fd00::2").totals.verified > 0


def test_icmp_of_another_kind_is_a_difference(diff: Diff) -> None:
    (d,) = diff([f.icmp(b"x", kind=3, code=1)], [f.icmp(b"x", kind=3, code=3)]).differences
    assert d.reason == "icmp_payload"
    assert "0x0301" in d.detail


def test_other_ip_protocols_are_compared(diff: Diff) -> None:
    frames = [f.other(b"tunnel %d" % n) for n in range(10)]
    assert diff(frames, frames).same
    (d,) = diff(frames, [*frames[:3], f.other(b"tunnel X"), *frames[4:]]).differences
    assert (d.reason, d.offset, str(d.connection)) == ("other_payload", 7, "ip protocol 47 10.0.0.2 > 10.0.0.9")


def test_datagrams_in_fragments_are_compared_whole(diff: Diff) -> None:
    frames = [part for n in range(9) for part in f.fragments(f.udp_datagram(b"%04d" % n * 999), ident=n)]
    report = diff(frames, [f.udp(b"%04d" % n * 999) for n in range(9)])
    assert report.same
    assert report.totals.verified == 9 * 3996
    report = diff(frames, frames[:4] + frames[5:])
    assert report.secondary.fragments == 2
    assert [d.length for d in report.differences] == [3996]


def test_cut_datagrams_are_compared_as_far_as_they_go(diff: Diff) -> None:
    frames = [f.udp(b"%04d" % n * 99) for n in range(99)]
    cut = [Shot(BEGIN + n, frame[:60], len(frame)) for n, frame in enumerate(frames)]
    for sides in ((frames, cut), (cut, frames), (cut, cut)):
        report = diff(*sides)
        assert report.same, report.differences
        assert report.totals.verified == 99 * 18
        assert report.totals.unseen == 99 * (396 - 18)
    other = list(frames)
    other[50] = f.udp(b"0051" + b"0050" * 98)
    (d,) = diff(other, cut).differences
    assert (d.reason, d.offset) == ("udp_payload", 3)
    other[50] = f.udp(b"0050" * 98 + b"9999")
    assert diff(other, cut).same
    other[50] = f.udp(b"0050" * 98)
    (d,) = diff(other, cut).differences
    assert d.reason == "udp_length"


def test_broadcasts_of_link_layers_and_neighbours_are_not_compared(diff: Diff) -> None:
    neighbours = [f.icmp(bytes([n]) * 16, kind=135, src=f.REPLICA6, dst=f.CLIENT6) for n in range(5)]
    real = [f.udp(b"x", src=f.REPLICA6, dst=f.CLIENT6)]
    report = diff([*neighbours, f.arp(), *real], [*real, *neighbours[2:]], side="fd00::2")
    assert report.same
    assert report.primary.passed == 5
