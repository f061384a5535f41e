"""What captures may be like: links, formats, compression; cut off and corrupt; with nothing in them to compare."""

import gzip
import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from coloproxy.capture import Capture, CaptureError, PcapngWriter
from coloproxy.compare.rules import DEFAULT_RULES, Rule
from coloproxy.errors import ColoproxyError
from coloproxy.offline import Options, Report, compare, parse_replica
from coloproxy.offline.evidence import write_evidence
from support import frames as f
from support.captures import Shot, enhanced, interface, old, option, pcap, section
from support.recut import TIDY, recut, segment

STREAM = random.Random(5).randbytes(50_000)
SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
SIDE = Options(side=parse_replica("10.0.0.2"))


def frames(isn: int = 0, seed: int = 1, stream: bytes = STREAM) -> list[bytes]:
    pieces = recut(random.Random(seed), stream, TIDY)
    return [f.tcp(seq=isn, ack=1, flags=f.SYN | f.ACK), *(segment(piece, isn) for piece in pieces)]


def shots(links: Callable[[bytes], bytes] = bytes, isn: int = 0, seed: int = 1) -> list[Shot]:
    return [Shot(BEGIN + n * 1_000_000, links(frame)) for n, frame in enumerate(frames(isn, seed))]


def cooked(frame: bytes) -> bytes:
    return struct.pack(">HHH", 4, 1, 6) + frame[6:12] + bytes(2) + frame[12:]


def cooked_2(frame: bytes) -> bytes:
    return frame[12:14] + bytes(2) + struct.pack(">IHBB", 3, 1, 4, 6) + frame[6:12] + bytes(2) + frame[14:]


LINKS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    113: cooked,
    276: cooked_2,
    101: lambda frame: frame[14:],
    12: lambda frame: frame[14:],
    14: lambda frame: frame[14:],
    228: lambda frame: frame[14:],
    0: lambda frame: struct.pack("<I", 2) + frame[14:],
    108: lambda frame: struct.pack(">I", 2) + frame[14:],
}


def as_pcapng(order: str, linktype: int) -> bytes:
    out = section(order) + interface(linktype, options=option(9, b"\x09", order), order=order)
    for count, (time_ns, data, _) in enumerate(shots(LINKS[linktype], 99, 3)):
        out += (old if count % 2 else enhanced)(time_ns, data, order=order)
    return out


@pytest.mark.parametrize("linktype", LINKS)
def test_captures_of_any_link_are_compared_with_each_other(tmp_path: Path, linktype: int) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap(shots()))
    s.write_bytes(pcap(shots(LINKS[linktype], 99, 2), ">", nanoseconds=True, linktype=linktype))
    for pair in ((p, s), (s, p)):
        report = compare(*pair, SIDE)
        assert report.same
        assert report.totals.verified == len(STREAM)
    cut = [Shot(time, data[:90], len(data)) for time, data, _ in shots(LINKS[linktype], 99, 2)]
    s.write_bytes(pcap(cut, linktype=linktype))
    report = compare(p, s, SIDE)
    assert report.same
    assert report.totals.verified + report.totals.unseen == len(STREAM)
    assert report.totals.unseen > 30_000


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("linktype", [1, 113, 101])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pcapng_and_gzip_are_read_as_pcap_is(
    tmp_path: Path, order: str, linktype: int, pack: Callable[[bytes], bytes]
) -> None:  # fmt: skip
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap(shots(), order, modified=True))
    s.write_bytes(pack(as_pcapng(order, linktype)))
    report = compare(p, s, SIDE)
    assert report.same
    assert report.totals.verified == len(STREAM)
    assert (report.primary.format, report.secondary.format) == ("pcap", "pcapng")


def test_frames_of_unknown_links_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "p"
    data = section() + interface(1) + interface(147) + b"".join(enhanced(1, frame) for frame in frames())
    path.write_bytes(data + enhanced(1, b"?", 1) * 3)
    report = compare(path, path, SIDE)
    assert report.same
    assert report.primary.unknown_links == {"147": 3}


def test_of_a_capture_cut_off_what_could_be_read_is_compared_and_the_rest_is_no_difference(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap(shots()))
    whole = pcap(shots(isn=99, seed=2))
    s.write_bytes(whole[:20_000])
    for pair, name in (((p, s), "secondary"), ((s, p), "primary")):
        report = compare(*pair, SIDE)
        assert report.same
        assert 15_000 < report.totals.verified < 20_000
        (one,) = report.connections
        assert one.note == f"the {name}'s capture could not be read to the end of it"
        problem = getattr(report, name).problem
        assert problem is not None
        assert problem.startswith("the capture is cut short within a record, at byte ")
    changed = bytearray(whole[:20_000])
    changed[10_000] ^= 1
    s.write_bytes(bytes(changed))
    assert len(compare(p, s, SIDE).differences) == 1


def test_what_a_broken_capture_has_more_than_the_whole_one_is_a_difference(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(frames(stream=STREAM[:5000])[:-1])]))
    s.write_bytes(pcap(shots(isn=99, seed=2))[:30_000])
    (d,) = compare(p, s, SIDE).differences
    assert d.reason == "timeout_secondary_only"


def test_datagrams_and_connections_beyond_a_cut_are_no_difference(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    more = [Shot(BEGIN + SECOND, f.udp(b"late")), Shot(BEGIN + SECOND, f.tcp(flags=f.SYN | f.ACK, dport=9))]
    p.write_bytes(pcap([*shots(), *more]))
    s.write_bytes(pcap(shots())[:-5])
    report = compare(p, s, SIDE)
    assert report.same
    assert [c.verdict for c in report.connections] == ["same", "not compared", "not compared"]
    assert all("could not be read" in c.note for c in report.connections)


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pcap(shots()))
    bad.write_bytes(b"no capture")
    for pair in ((good, bad), (bad, good), (good, tmp_path / "none")):
        with pytest.raises(CaptureError):
            compare(*pair, SIDE)


def test_nothing_of_that_side_is_refused(tmp_path: Path) -> None:
    path, empty = tmp_path / "p", tmp_path / "empty"
    path.write_bytes(pcap(shots()))
    empty.write_bytes(pcap([]))
    with pytest.raises(ColoproxyError, match=r"p: no frame in it was sent by 10\.9\.9\.9; name the replica's address"):
        compare(path, path, Options(side=parse_replica("10.9.9.9")))
    with pytest.raises(ColoproxyError, match=r"no frame in it was sent by 10\.0\.0\.2:81"):
        compare(path, path, Options(side=parse_replica("10.0.0.2:81")))
    with pytest.raises(ColoproxyError, match="empty: no frame in it was sent by 10"):
        compare(path, empty, SIDE)
    with pytest.raises(ColoproxyError, match="empty: no IP packet is at its beginning; name the replica"):
        compare(empty, path)


def corrupt(capture: bytes, at: int, size: int) -> bytes:
    """A capture with another length at a place."""
    return capture[:at] + struct.pack("<I", size) + capture[at + 4 :]


BROKEN = "and it is cut short or corrupt"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pcap([Shot(BEGIN, f.udp(b"x"))], linktype=999), "its link type 999 is not known; name a capture of Ethernet"),
        (corrupt(as_pcapng("<", 1), 4, 7), f"{BROKEN}: a block claims 7 bytes, at byte 0 of the file; name a whole"),
        (corrupt(pcap(shots()), 32, 2**31), f"{BROKEN}: a record claims 2147483648 bytes, at byte 24 of the file;"),
        (pcap(shots())[:50], f"{BROKEN}: the capture is cut short within a record, at byte 24 of the file;"),
    ],
    ids=["link", "pcapng", "pcap", "cut"],
)
@pytest.mark.parametrize("side", [None, SIDE], ids=["guessed", "told"])
def test_what_keeps_a_capture_from_being_read_at_all_is_said(
    tmp_path: Path, data: bytes, why: str, side: Options | None
) -> None:  # fmt: skip
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pcap(shots()))
    bad.write_bytes(data)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(ColoproxyError) as error:
            compare(*pair, side)
        assert str(error.value).startswith(f"capture {bad}: ")
        assert why in str(error.value)
        assert "--side" not in str(error.value)


def test_a_capture_that_ends_early_may_also_be_another_replicas(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(pcap(shots())[:-5])
    with pytest.raises(ColoproxyError, match=rf"no frame in it .*, {BROKEN}: .* or the replica's address with --side"):
        compare(path, path, Options(side=parse_replica("10.9.9.9")))


def test_a_port_of_the_replica_leaves_its_others_out(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap([*shots(), Shot(BEGIN, f.udp(b"x")), Shot(BEGIN, f.icmp(b"x"))]))
    s.write_bytes(pcap(shots(seed=9)))
    assert len(compare(p, s, SIDE).differences) == 2
    report = compare(p, s, Options(side=parse_replica("10.0.0.2:80")))
    assert report.same
    assert report.primary.sent == len(shots())


def test_rules_leave_out_what_they_pass(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap([*shots(), *(Shot(BEGIN, f.udp(b"%d" % n)) for n in range(9))]))
    s.write_bytes(pcap(shots(seed=9)))
    rules = [Rule(name="clock", protocol="udp", action="pass"), *DEFAULT_RULES]  # type: ignore[arg-type]
    report = compare(p, s, Options(side=parse_replica("10.0.0.2"), rules=rules))
    assert report.same
    assert report.primary.passed == 9
    assert report.connections[0].verified == len(STREAM)


def test_a_difference_names_the_rule_that_had_it_compared(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    p.write_bytes(pcap(shots()))
    s.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(frames(stream=STREAM[:-1] + b"?"))]))
    rules = [Rule(name="web", source_port=80), *DEFAULT_RULES]
    (d,) = compare(p, s, Options(side=parse_replica("10.0.0.2"), rules=rules)).differences
    assert d.rule == "web"


def test_progress_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(frames(stream=STREAM * 300))]))
    size = path.stat().st_size
    told: list[tuple[int, int | None]] = []
    compare(path, path, Options(progress=lambda done, total: told.append((done, total))))
    assert len(told) > 3
    assert told == sorted(told)  # type: ignore[type-var]
    assert all(total == 2 * size and done <= 2 * size for done, total in told)


def evidence(report: Report) -> list[tuple[str, int, bytes, str]]:
    file = io.BytesIO()
    write_evidence(PcapngWriter(file), report)
    return [(r.interface, r.linktype, r.data, r.comment or "") for r in Capture(io.BytesIO(file.getvalue()))]


def test_evidence_is_the_frames_as_they_were_captured_with_the_reason(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    ours = frames()
    p.write_bytes(pcap([Shot(BEGIN + n, cooked(frame)) for n, frame in enumerate(ours)], linktype=113))
    place = 20_000
    theirs = frames(stream=STREAM[:place] + bytes([STREAM[place] ^ 1]) + STREAM[place + 1 :])
    s.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(theirs)]))
    report = compare(p, s, SIDE)
    (d,) = report.differences
    found = evidence(report)
    assert ("primary", 113, cooked(ours[d.primary_frames[0] - 1])) in [entry[:3] for entry in found]
    assert ("secondary", 1, theirs[d.secondary_frames[0] - 1]) in [entry[:3] for entry in found]
    assert all("difference 1: tcp_payload: the bytes differ" in comment for _, _, _, comment in found)
    assert f"frame {d.primary_frames[0]} of the primary" in found[0][3]


def test_evidence_of_what_one_side_lacks_is_what_the_other_has(tmp_path: Path) -> None:
    p, s = tmp_path / "p", tmp_path / "s"
    ours = frames()
    p.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(ours)]))
    s.write_bytes(pcap([Shot(BEGIN + n, frame) for n, frame in enumerate(ours[:30])]))
    found = evidence(compare(p, s, SIDE))
    assert [data for _, _, data, _ in found] == ours[30:62]
    assert evidence(compare(p, p, SIDE)) == []
