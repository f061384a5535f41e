"""TCP in two captures: what is the same, what differs and where, and what a capture cannot tell."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.compare.rules import DEFAULT_RULES, Rule
from coloproxy.offline import Options, Report, compare, parse_replica
from coloproxy.packet.parse import parse
from support import frames as f
from support.captures import Shot, pcap
from support.recut import Habits, changed, first_difference, recut, segment

Diff = Callable[..., Report]
SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND


def syn_ack(isn: int = 0, **tcp: object) -> bytes:
    return f.tcp(seq=isn, ack=1, flags=f.SYN | f.ACK, **({"options": f.syn_options()} | tcp))  # type: ignore[arg-type]


def sent(stream: bytes, isn: int = 0, size: int = 1000, fin: bool = True, **tcp: object) -> list[bytes]:
    """A whole connection, as the replica sends it."""
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    out = [syn_ack(isn, **tcp)]
    for count, piece in enumerate(pieces):
        out.append(f.tcp(piece, seq=isn + 1 + count * size, ack=1, **tcp))  # type: ignore[arg-type]
    if fin:
        out.append(f.tcp(seq=isn + 1 + len(stream), ack=1, flags=f.FIN | f.ACK, **tcp))  # type: ignore[arg-type]
    return out


def text(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def reasons(report: Report) -> list[str]:
    return [str(d.reason) for d in report.differences]


def quick(factory: pytest.TempPathFactory, primary: list[bytes], secondary: list[bytes]) -> Report:
    """As `diff`, for property tests, which a fixture of one test does not serve."""
    folder = factory.getbasetemp()
    for name, frames in (("p", primary), ("s", secondary)):
        (folder / name).write_bytes(pcap(Shot(BEGIN + n * 1000, frame) for n, frame in enumerate(frames)))
    return compare(folder / "p", folder / "s", Options(side=parse_replica("10.0.0.2")))


def adds_up(report: Report) -> None:
    """What is told of the connections is what is told of all."""
    for name in ("verified", "unseen", "before", "skipped", "differences"):
        assert getattr(report.totals, name) == sum(getattr(c, name) for c in report.connections)
    assert report.same == (not report.totals.differences)


# The same


def test_a_stream_cut_elsewhere_and_numbered_otherwise_is_the_same(diff: Diff) -> None:
    stream = text(100_000)
    report = diff(sent(stream, isn=7, size=1460), sent(stream, isn=4_000_000_000, size=999))
    assert report.same
    (one,) = report.connections
    assert (one.verdict, one.verified, one.unseen, one.note) == ("same", 100_000, 0, "")
    assert one.connection.source_port == 80
    assert one.frames == (71, 103)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32))
def test_no_cut_no_order_and_no_repetition_makes_a_difference_wherever_numbers_wrap(
    tmp_path_factory: pytest.TempPathFactory, p_isn: int, s_isn: int, seed: int
) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(rng.randint(0, 8_000))
    sides = [[syn_ack(isn)] + [segment(p, isn) for p in recut(rng, stream, Habits())] for isn in (p_isn, s_isn)]
    report = quick(tmp_path_factory, *sides)
    assert report.same, report.differences
    assert report.totals.verified == len(stream)
    adds_up(report)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32))
def test_a_byte_changed_inserted_or_deleted_is_found_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, p_isn: int, s_isn: int, seed: int
) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(rng.randint(1, 8_000))
    other = changed(rng, stream)
    habits = Habits(repeat=0, overlap=0)
    sides = [
        [syn_ack(isn)] + [segment(p, isn) for p in recut(rng, s, habits)]
        for isn, s in ((p_isn, stream), (s_isn, other))
    ]
    report = quick(tmp_path_factory, *sides)
    place = first_difference(stream, other)
    first = report.differences[0]
    assert first.offset == place
    assert first.seq == (p_isn + 1 + place) % 2**32
    assert first.secondary_seq == (s_isn + 1 + place) % 2**32
    if len(stream) == len(other):
        assert reasons(report) == ["tcp_payload"]
    adds_up(report)


def test_ipv6_vlan_tags_and_ip_options_are_compared_as_well(diff: Diff) -> None:
    stream = text(5000)
    v6 = {"src": f.REPLICA6, "dst": f.CLIENT6}
    assert diff(sent(stream, **v6), sent(stream, isn=9, size=77, **v6), side="fd00::2").totals.verified == 5000
    tagged = {"vlan": (7, 5)}
    assert diff(sent(stream, **tagged), sent(stream, isn=9, size=77, **tagged)).totals.verified == 5000
    assert diff(sent(stream), sent(stream, isn=9, size=77, options=f.timestamp(1, 2))).totals.verified == 5000
    chain = {"src": f.REPLICA6, "dst": f.CLIENT6, "extensions": ((0, b"\5\2\0\0"),)}
    assert diff(sent(stream, **v6), sent(stream, isn=9, **chain), side="fd00::2").totals.verified == 5000


def test_one_connection_in_three_vlans_is_three_connections(diff: Diff) -> None:
    sides = [sent(text(5000, n), isn=n, vlan=vlan) for n, vlan in enumerate([(), (5,), (7, 5)])]
    frames = [frame for together in zip(*sides) for frame in together]
    report = diff(frames, frames)
    assert report.same
    assert [c.verified for c in report.connections] == [5000] * 3
    assert {c.connection.vlan for c in report.connections} == {(), (5,), (7, 5)}


def test_what_the_client_sends_is_not_compared(diff: Diff) -> None:
    ours = sent(b"answer")
    theirs = [f.tcp(b"question", sport=40000, dport=80, src=f.CLIENT, dst=f.REPLICA, seq=n) for n in (1, 2)]
    report = diff([ours[0], theirs[0], *ours[1:]], [ours[0], theirs[1], *ours[1:], theirs[0]])
    assert report.same
    assert (report.primary.frames, report.primary.sent) == (4, 3)


def test_acknowledgements_windows_timestamps_and_checksums_are_not_compared(diff: Diff) -> None:
    stream = text(3000)
    other = [f.tcp(ack=77, seq=1), *sent(stream, window=5, options=f.timestamp(5, 9), ttl=3, tos=8)]
    other[1] = syn_ack(0, options=f.syn_options(), window=9)
    assert diff(sent(stream, options=b""), other).differences[0].reason == "tcp_syn_options"
    plain = sent(stream)
    plain[0] = other[1]
    assert diff(plain, other).same


def test_garbage_in_a_keepalive_makes_no_difference(diff: Diff) -> None:
    stream = text(2000)
    frames = sent(stream, fin=False)
    probe = f.tcp(b"\0", seq=len(stream), ack=1)
    report = diff([*frames, probe], frames)
    assert report.same
    assert report.totals.verified == 2000


# What differs


@pytest.mark.parametrize("size", [1460, 100])
def test_after_a_difference_the_comparison_goes_on(diff: Diff, size: int) -> None:
    stream = text(1_000_000)
    other = bytearray(stream)
    places = [1000, 400_000, 900_000]
    for place in places:
        other[place] ^= 1
    report = diff(sent(stream, size=1400), sent(bytes(other), isn=5, size=size))
    assert [d.offset for d in report.differences] == places
    assert reasons(report) == ["tcp_payload"] * 3
    (one,) = report.connections
    assert (one.verdict, one.differences) == ("differs", 3)
    assert one.verified + one.skipped == len(stream)
    assert one.skipped < 3 * 64 * 1400 + 3000


def test_a_difference_is_shown_with_both_sides_and_their_frames(diff: Diff) -> None:
    stream = bytes(range(256)) * 20
    other = stream[:3000] + b"?" + stream[3001:]
    (d,) = diff(sent(stream, isn=50), sent(other, isn=90)).differences
    assert (d.offset, d.seq, d.secondary_seq) == (3000, 3051, 3091)
    assert bytes.fromhex(d.primary) == stream[3000:3064]
    assert bytes.fromhex(d.secondary) == other[3000:3064]
    assert d.context_offset == 0
    assert (d.primary_frames[0], d.secondary_frames[0]) == (5, 5)
    (d,) = diff(sent(stream, isn=50, size=900), sent(other, isn=90, size=800)).differences
    assert d.context_offset == 16
    assert bytes.fromhex(d.primary) == stream[2984:3048]


def test_bytes_that_only_one_side_has_are_counted_and_shown(diff: Diff) -> None:
    stream = text(10_000)
    for swap, reason in ((False, "timeout_primary_only"), (True, "timeout_secondary_only")):
        sides = [sent(stream), sent(stream[:6_500], isn=9, fin=False)]
        report = diff(*(reversed(sides) if swap else sides))
        (d,) = report.differences
        who = "secondary" if swap else "primary"
        assert (d.reason, d.offset, d.length) == (reason, 6_500, 3_500)
        assert d.detail == f"only the {who} has sent these 3,500 bytes"
        assert bytes.fromhex(d.secondary if swap else d.primary) == stream[6_500:6_564]
        assert (d.secondary_frames if swap else d.primary_frames) == [8, 9, 10, 11, 12]
        assert report.totals.verified == 6_500
        adds_up(report)


def test_an_end_that_only_one_side_has_is_a_difference(diff: Diff) -> None:
    stream = text(3000)
    (d,) = diff(sent(stream), sent(stream, fin=False)).differences
    assert (d.reason, d.offset, d.detail) == ("tcp_fin", 3000, "only the primary has ended its stream")
    (d,) = diff(sent(stream, fin=False), sent(stream)).differences
    assert (d.reason, d.detail) == ("tcp_fin", "only the secondary has ended its stream")


def test_an_end_where_the_other_goes_on_is_one_difference(diff: Diff) -> None:
    stream = text(9000)
    (d,) = diff(sent(stream[:4000]), sent(stream)).differences
    assert (d.reason, d.offset) == ("tcp_fin", 4000)
    assert d.detail == "the primary ends its stream here, the secondary goes on"


def test_a_reset_that_only_one_side_sends_is_a_difference(diff: Diff) -> None:
    frames = sent(text(3000), fin=False)
    reset = f.tcp(seq=3001, flags=f.RST)
    assert diff([*frames, reset], [*frames, reset]).same
    (d,) = diff([*frames, reset], frames).differences
    assert (d.reason, d.detail, d.primary_frames) == ("tcp_rst", "only the primary has reset the connection", [5])
    (d,) = diff(frames, [*frames, reset]).differences
    assert (d.reason, d.detail) == ("tcp_rst", "only the secondary has reset the connection")
    assert diff([reset], [f.tcp(seq=9, flags=f.RST)]).same  # a connection that both refuse


def test_syn_options_that_differ_are_a_difference_which_a_rule_may_relax(diff: Diff) -> None:
    stream = text(5000)
    ours, theirs = sent(stream, isn=3), sent(stream, isn=8)
    theirs[0] = syn_ack(8, options=f.syn_options(mss=1400))
    report = diff(ours, theirs)
    (d,) = report.differences
    assert (d.reason, d.offset, d.seq) == ("tcp_syn_options", None, 3)
    assert "mss 1460" in d.detail
    assert report.totals.verified == 5000  # and the stream is compared
    relaxed = Rule(name="mss", source_port=80, ignore=("tcp_syn_options",))  # type: ignore[arg-type]
    assert diff(ours, theirs, rules=[relaxed, *DEFAULT_RULES]).same


def test_a_connection_that_only_one_side_has_is_a_difference(diff: Diff) -> None:
    both, only = sent(text(2000)), sent(text(3000), dport=40001)
    report = diff([*both, *only], both)
    (d,) = report.differences
    assert (d.reason, d.length) == ("timeout_primary_only", 3000)
    assert d.detail == "only the primary has this connection, and sent these 3,000 bytes"
    assert d.connection.destination_port == 40001
    (d,) = diff(both, [*both, syn_ack(dport=40001)]).differences
    assert d.detail == "only the secondary has this connection"
    (d,) = diff(both, [*both, f.tcp(dport=40001, flags=f.RST)]).differences
    assert (d.reason, d.detail) == ("tcp_rst", "only the secondary has this connection, and reset it")


def test_ports_used_again_are_connections_of_their_own(diff: Diff) -> None:
    streams = [text(5000, n) for n in range(5)]
    primary = [frame for n, s in enumerate(streams) for frame in sent(s, isn=1000 * n, fin=n % 2 == 0)]
    secondary = [frame for n, s in enumerate(streams) for frame in sent(s, isn=7777 * n, size=700, fin=n % 2 == 0)]
    report = diff(primary, secondary)
    assert report.same
    assert [c.verified for c in report.connections] == [5000] * 5
    streams[3] = streams[3][:100] + b"!" + streams[3][101:]
    secondary = [frame for n, s in enumerate(streams) for frame in sent(s, isn=7777 * n, size=700, fin=n % 2 == 0)]
    (d,) = diff(primary, secondary).differences
    assert (d.offset, d.seq) == (100, 3101)


def test_a_syn_that_is_repeated_begins_nothing_anew(diff: Diff) -> None:
    frames = sent(text(3000))
    report = diff([frames[0], frames[0], *frames[1:]], [*frames[:2], frames[0], *frames[2:]])
    assert report.same
    assert report.totals.connections == 1


# What a capture does not have


def test_frames_cut_by_the_snapshot_length_are_compared_as_far_as_they_go(diff: Diff) -> None:
    stream = text(50_000)
    whole = sent(stream, size=1000)
    cut = [Shot(BEGIN + n, frame[:96], len(frame)) for n, frame in enumerate(sent(stream, isn=9, size=1460))]
    for sides in ((whole, cut), (cut, whole), (cut, cut)):
        report = diff(*sides)
        assert report.same, report.differences
        (one,) = report.connections
        assert one.verified == 35 * 42
        assert one.verified + one.unseen == len(stream)
    assert report.primary.cut == 35


def test_a_byte_that_differs_in_front_of_the_cut_is_found_and_one_behind_it_cannot_be(diff: Diff) -> None:
    stream = text(20_000)
    for place, found in ((1460 * 3 + 41, 1), (1460 * 3 + 42, 0)):
        other = stream[:place] + bytes([stream[place] ^ 1]) + stream[place + 1 :]
        cut = [Shot(BEGIN + n, frame[:96], len(frame)) for n, frame in enumerate(sent(other, size=1460))]
        report = diff(sent(stream), cut)
        assert [d.offset for d in report.differences] == [place] * found


def test_frames_cut_within_their_headers_are_gaps(diff: Diff) -> None:
    stream = text(20_000)
    frames: list[bytes | Shot] = list(sent(stream))
    frames[5] = Shot(BEGIN + 5, sent(stream)[5][:40], 1054)
    report = diff(frames, sent(stream, size=700))
    assert report.same
    assert (report.totals.verified, report.totals.unseen) == (19_000, 1000)
    assert report.primary.short == 1


@pytest.mark.parametrize("missing", [[7], [7, 8, 9], [3, 12, 18]])
def test_frames_that_a_capture_lost_are_no_difference_and_counted(diff: Diff, missing: list[int]) -> None:
    stream = text(20_000)
    whole = sent(stream)
    lossy = [frame for n, frame in enumerate(whole) if n not in missing]
    for sides in ((lossy, sent(stream, isn=9, size=333)), (sent(stream, isn=9, size=333), lossy), (lossy, lossy)):
        report = diff(*sides)
        assert report.same, report.differences
        assert report.totals.unseen == 1000 * len(missing)
        assert report.totals.verified == 20_000 - 1000 * len(missing)


def test_a_difference_behind_a_gap_is_found(diff: Diff) -> None:
    stream = text(50_000)
    other = stream[:30_000] + b"??" + stream[30_002:]
    lossy = [frame for n, frame in enumerate(sent(stream)) if n not in (10, 11)]
    for sides in ((lossy, sent(other, isn=9, size=333)), (sent(other, isn=9, size=333), lossy)):
        (d,) = diff(*sides).differences
        assert d.offset == 30_000


def test_a_gap_of_any_size_is_leapt_over(diff: Diff) -> None:
    first, second = text(3000), text(3000, 2)
    for gap in (2 << 20, 1 << 30, 3 << 30):
        frames = [*sent(first, fin=False), *[f.tcp(second, seq=3001 + gap), f.tcp(seq=6001 + gap, flags=f.FIN | f.ACK)]]
        report = diff(frames, frames)
        assert report.same
        assert (report.totals.verified, report.totals.unseen) == (6000, gap)
        other = [*frames[:-2], f.tcp(second[:-1] + b"?", seq=3001 + gap), frames[-1]]
        (d,) = diff(frames, other).differences
        assert d.offset == 3000 + gap + 2999


def test_captures_that_begin_in_mid_stream_are_compared_from_where_both_have_begun(diff: Diff) -> None:
    stream = text(30_000)
    ours, theirs = sent(stream), sent(stream, size=700)  # numbered alike: nothing tells by how much they would differ
    report = diff(ours[5:], theirs[20:])
    assert report.same
    assert (report.totals.verified, report.totals.before) == (30_000 - 19 * 700, 19 * 700 - 4000)
    report = diff(ours, theirs[20:])
    assert report.same
    assert (report.totals.verified, report.totals.before) == (30_000 - 19 * 700, 19 * 700)
    other = stream[:20_000] + b"?" + stream[20_001:]
    (d,) = diff(ours[5:], sent(other, size=700)[20:]).differences
    assert (d.offset, d.seq) == (20_000 - 19 * 700, 20_001)


def test_unrelated_numbers_in_mid_stream_are_said_and_no_difference(diff: Diff) -> None:
    stream = text(30_000)
    report = diff(sent(stream, isn=0)[5:], sent(stream, isn=2_000_000_000)[5:])
    assert report.same
    (one,) = report.connections
    assert (one.verdict, one.verified) == ("not compared", 0)
    assert one.note == "the captures begin within it, and number its bytes differently"
    report = diff(sent(stream, isn=0)[5:], sent(stream, isn=2_000_000)[5:])
    (one,) = report.connections
    assert one.note == "the captures have no part of it in common, or number its bytes differently"


def test_a_connection_from_before_the_other_capture_begins_is_no_difference(diff: Diff) -> None:
    late = sent(text(2000), dport=40001)
    early = [Shot(BEGIN - SECOND + n, frame) for n, frame in enumerate(sent(text(3000))[1:])]
    report = diff([*early, *late], late)
    assert report.same
    assert [c.verdict for c in report.connections] == ["same", "not compared"]
    assert "it was there before the secondary's capture begins" in report.connections[1].note


def test_malformed_segments_are_said_and_are_gaps(diff: Diff) -> None:
    stream = text(10_000)
    frames = sent(stream)
    bad = bytearray(frames[4])
    bad[14 + 20 + 12] = 0x10  # a TCP header of 4 bytes
    report = diff([*frames[:4], bytes(bad), *frames[5:]], frames)
    assert report.same
    assert report.primary.malformed == 1
    assert report.totals.unseen == 1000


def test_a_segment_in_fragments_is_compared_whole(diff: Diff) -> None:
    stream = text(9000)
    frames = sent(stream, size=3000)
    parts = []
    for frame in frames:
        p = parse(frame, 0, len(frame))
        whole = frame[p.l4 : p.l4_end]
        parts += f.fragments(whole, protocol=6, size=1480, ident=len(parts)) if len(whole) > 1480 else [frame]
    assert len(parts) > len(frames)
    report = diff(parts, sent(stream, isn=5))
    assert report.same
    assert report.totals.verified == 9000
    assert report.primary.sent == len(parts)
    report = diff(parts[:2] + parts[3:], frames)
    assert report.same
    assert report.primary.fragments == 2
    assert report.totals.unseen == 3000
