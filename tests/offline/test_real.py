"""Real captures: with themselves no difference; with a copy cut otherwise none; with one byte changed exactly one."""

import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from coloproxy.capture import Capture, Record
from coloproxy.compare.events import Side
from coloproxy.compare.rules import DEFAULT_RULES, Action, Rules
from coloproxy.errors import ColoproxyError
from coloproxy.offline import Options, Report, compare, parse_replica
from coloproxy.offline.places import Ranges
from coloproxy.packet.edit import tcp_part
from coloproxy.packet.parse import Kind, Malformed, Packet, parse
from support.captures import Shot, pcap

NOT_IP = "pppoe-over-qinq.pcap"
CHANGES = 4  # for each capture
# What these hold of the replica's cannot be compared at all: fragments that overlap, bytes that lie behind a cut.
NOTHING = {"ipv6-reassembly-state-leak.pcap", "tcp-reassembly.pcap"}


class Sent(NamedTuple):
    """A record of the replica's, taken apart."""

    index: int
    record: Record
    packet: Packet


@pytest.fixture(scope="module")
def compared(captures: Path) -> list[tuple[Path, Report]]:
    """Every capture, compared with itself."""
    out = []
    for path in sorted(captures.glob("*.pcap*")):
        if path.name == NOT_IP:
            with pytest.raises(ColoproxyError, match="no IP packet"):
                compare(path, path)
        else:
            out.append((path, compare(path, path)))
    return out


def shots(path: Path) -> list[Shot]:
    with Capture(path) as capture:
        return [Shot(record.time_ns, record.data, record.original_length) for record in capture]


def sent(path: Path, side: str) -> Iterator[Sent]:
    """What the replica sent whole, and the default rules have compared."""
    address, rules = parse_replica(side).address, Rules(DEFAULT_RULES)
    with Capture(path) as capture:
        for index, record in enumerate(capture):
            try:
                packet = parse(record.data, 0, len(record.data))
            except Malformed:
                continue
            icmp = record.data[packet.l4] if packet.kind in (Kind.ICMP, Kind.ICMPV6) else -1
            ours = packet.src == address and packet.fragment is None and packet.version
            if ours and rules.decide(packet, Side.PRIMARY, icmp).action is Action.COMPARE:
                yield Sent(index, record, packet)


def test_with_itself_there_is_no_difference(compared: list[tuple[Path, Report]]) -> None:
    assert len(compared) >= 30
    for path, report in compared:
        assert report.same, (path.name, report.differences)
        assert not report.totals.skipped
        assert not report.totals.before
        assert report.primary == report.secondary
        assert report.totals.verified or path.name in NOTHING, path.name


def places_to_change(path: Path, side: str) -> list[tuple[Sent, int]]:
    """(record, index of a byte) for bytes of payload that are sent there for the first time."""
    found: list[tuple[Sent, int]] = []
    seen: dict[bytes, Ranges] = defaultdict(Ranges)
    for one in sent(path, side):
        p = one.packet
        if p.kind == Kind.TCP:
            low = p.seq - (1 << 32)  # twice, in case numbers wrap in between
            new = seen[p.key].outside(low, low + p.payload_end - p.payload)
            found += [(one, p.payload + place - low) for a, b in new for place in {a, (a + b) // 2, b - 1}]
            seen[p.key].add(low, low + p.payload_end - p.payload) if p.payload < p.payload_end else None
        elif p.kind == Kind.UDP and p.payload < p.payload_end:
            found += [(one, place) for place in {p.payload, p.payload_end - 1}]
        elif p.kind == Kind.OTHER and p.l4 < p.l4_end:
            found.append((one, p.l4_end - 1))
        elif p.kind in (Kind.ICMP, Kind.ICMPV6) and p.l4_end - p.l4 > 8:
            found.append((one, p.l4 + 8))
    return found


def test_one_changed_byte_is_one_difference_at_that_byte(compared: list[tuple[Path, Report]], tmp_path: Path) -> None:
    rng = random.Random(20)
    copy = tmp_path / "copy.pcap"
    tried = 0
    for path, report in compared:
        original = shots(path)
        places = places_to_change(path, report.side)
        for one, place in rng.sample(places, min(CHANGES, len(places))):
            data = bytearray(one.record.data)
            data[place] ^= rng.randint(1, 255)
            changed = list(original)
            changed[one.index] = changed[one.index]._replace(data=bytes(data))
            copy.write_bytes(pcap(changed, nanoseconds=True))
            found = compare(path, copy, Options(side=parse_replica(report.side)))
            where = path.name, one.index + 1, place, found.differences
            (difference,) = found.differences
            p = one.packet
            if p.kind == Kind.TCP:
                assert difference.reason == "tcp_payload", where
                assert difference.seq == (p.seq + place - p.payload) % 2**32, where
            else:
                begin = p.payload if p.kind == Kind.UDP else p.l4 if p.kind == Kind.OTHER else p.l4 + 4
                assert difference.offset == place - begin, where
            assert one.index + 1 in difference.primary_frames, where
            assert one.index + 1 in difference.secondary_frames, where
            tried += 1
    assert tried > 100


def cut_anew(rng: random.Random, path: Path, side: str) -> list[Shot]:
    """The capture, with what the replica sent by TCP in other segments: some twice, some overtaken by the next."""
    out = shots(path)
    for one in sent(path, side):
        p, data = one.packet, one.record.data
        size = p.payload_end - p.payload
        if p.kind != Kind.TCP or not size:
            continue
        cuts = sorted({0, size, *(rng.randrange(size) for _ in range(rng.randint(0, 4)))})
        parts = [tcp_part(data, p, a, b) for a, b in pairwise(cuts)]
        parts += [rng.choice(parts)] * rng.randint(0, 1)
        if rng.random() < 0.2 and not p.flags & 7:
            rng.shuffle(parts)
        out[one.index] = [Shot(one.record.time_ns, part) for part in parts]  # type: ignore[call-overload]
    return [shot for entry in out for shot in (entry if isinstance(entry, list) else [entry])]


def test_cut_into_other_segments_there_is_no_difference(compared: list[tuple[Path, Report]], tmp_path: Path) -> None:
    rng = random.Random(21)
    copy = tmp_path / "copy.pcap"
    for path, report in compared:
        copy.write_bytes(pcap(cut_anew(rng, path, report.side), nanoseconds=True))
        options = Options(side=parse_replica(report.side))
        for pair in ((path, copy), (copy, path)):
            again = compare(*pair, options)
            assert again.same, (path.name, again.differences)
            assert again.totals == report.totals, path.name


def test_cut_off_by_a_snapshot_length_there_is_no_difference(
    compared: list[tuple[Path, Report]], tmp_path: Path
) -> None:  # fmt: skip
    copy = tmp_path / "copy.pcap"
    for path, report in compared:
        for length in (100, 400):
            cut = [Shot(s.time_ns, s.data[:length], s.original) for s in shots(path)]
            copy.write_bytes(pcap(cut, nanoseconds=True))
            for pair in ((path, copy), (copy, path)):
                again = compare(*pair, Options(side=parse_replica(report.side)))
                assert again.same, (path.name, length, again.differences)
                assert again.totals.verified <= report.totals.verified


def test_with_frames_lost_there_is_no_difference_in_streams(
    compared: list[tuple[Path, Report]], tmp_path: Path
) -> None:  # fmt: skip
    rng = random.Random(22)
    copy = tmp_path / "copy.pcap"
    for path, report in compared:
        segments = [one for one in sent(path, report.side) if one.packet.kind == Kind.TCP and not one.packet.flags & 7]
        lost = {one.index for one in segments if rng.random() < 0.05}
        copy.write_bytes(pcap([s for n, s in enumerate(shots(path)) if n not in lost], nanoseconds=True))
        again = compare(path, copy, Options(side=parse_replica(report.side)))
        wrong = [d for d in again.differences if d.length is None]
        assert not wrong, (path.name, wrong)
