"""`coloproxy diff`: what it prints, how it ends, and what it says when it cannot run."""

import gzip
import json
import os
import pty
import random
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from coloproxy.offline import Report
from support import frames as f
from support.captures import Shot, pcap
from support.process import COMMAND, run
from support.recut import recut, segment

SECOND = 10**9
STREAM = b"".join(b"line %06d of what the server sends\n" % n for n in range(3000))
PLACE = 54_321


def frames(stream: bytes = STREAM, isn: int = 0, seed: int = 1, **tcp: object) -> list[bytes]:
    syn = f.tcp(seq=isn, ack=1, flags=f.SYN | f.ACK, options=f.syn_options(), **tcp)  # type: ignore[arg-type]
    return [syn, *(segment(piece, isn, **tcp) for piece in recut(random.Random(seed), stream))]


def write(path: Path, captured: list[bytes]) -> Path:
    path.write_bytes(pcap(Shot(1_700_000_000 * SECOND + n * 10_000, frame) for n, frame in enumerate(captured)))
    return path


def flat(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


@pytest.fixture
def primary(tmp_path: Path) -> Path:
    return write(tmp_path / "primary.pcap", frames())


@pytest.fixture
def same(tmp_path: Path) -> Path:
    return write(tmp_path / "same.pcap", frames(isn=4_000_000_000, seed=2))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """With one byte changed."""
    changed = STREAM[:PLACE] + bytes([STREAM[PLACE] ^ 0x20]) + STREAM[PLACE + 1 :]
    return write(tmp_path / "other.pcap", frames(changed, isn=4_000_000_000, seed=2))


def test_the_same_ends_with_0_and_says_what_was_verified(primary: Path, same: Path) -> None:
    done = run("diff", str(primary), str(same))
    assert done.returncode == 0
    assert done.stderr == ""
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert re.fullmatch(r"tcp 10\.0\.0\.2:80 > 10\.0\.0\.9:40000 +111,000 +same", lines[-3])
    assert lines[-1] == "The same: 111,000 bytes verified in 1 connection."
    assert "10.0.0.2 (guessed: it answered most connections; --side names another)" in flat(done.stdout)


def test_a_difference_ends_with_1_and_is_explained_byte_by_byte(primary: Path, other: Path) -> None:
    done = run("diff", str(primary), str(other), "--side", "10.0.0.2")
    assert done.returncode == 1
    assert "guessed" not in done.stdout
    assert "1. tcp_payload: the bytes differ" in done.stdout
    assert f"byte 54,321 of the stream, sequence number {PLACE + 1} (secondary: {4_000_000_001 + PLACE})" in done.stdout
    (marked,) = [line for line in done.stdout.splitlines() if line.startswith(">")]
    ours, theirs = f"{STREAM[PLACE]:02x}", f"{STREAM[PLACE] ^ 0x20:02x}"
    begin = int(marked[2:10], 16)
    assert begin <= PLACE < begin + 8
    column = marked.index("  ", 9) + 2 + 3 * (PLACE - begin)
    assert marked[column : column + 2] == ours
    assert marked[column + 34 : column + 36] == theirs
    below = done.stdout.splitlines()[done.stdout.splitlines().index(marked) + 1]
    assert [match.start() for match in re.finditer(r"\^\^", below)] == [column, column + 34]
    assert "Not the same: 1 difference in 1 of 1 connection" in done.stdout


def test_every_line_fits_into_80_columns(primary: Path, other: Path, tmp_path: Path) -> None:
    long = {"src": "2001:db8:1234:5678:9abc:def0:1234:5678", "dst": "2001:db8:8765:4321:fedc:ba98:7654:3210"}
    v6 = [write(tmp_path / f"v6-{n}.pcap", frames(STREAM[: 5000 + n], **long)) for n in range(2)]
    for paths in ((primary, other), v6, (primary, v6[0])):
        done = run("diff", *map(str, paths))
        assert done.returncode == 1
        for line in done.stdout.splitlines():
            assert len(line) <= 80, line


def test_an_offset_beyond_32_bits_is_shown_in_full(tmp_path: Path) -> None:
    places = [n * 1_300_000_000 for n in range(5)]
    far = [f.tcp(b"far", seq=(1 + place) % 2**32) for place in places]
    path = write(tmp_path / "far.pcap", [frames()[0], *far])
    changed = write(tmp_path / "changed.pcap", [frames()[0], *far[:-1], f.tcp(b"fa?", seq=(1 + places[-1]) % 2**32)])
    done = run("diff", str(path), str(changed))
    assert done.returncode == 1
    assert "byte 5,200,000,002 of the stream" in done.stdout
    assert f"> {5_200_000_000:x}  66 61 72" in done.stdout


def test_json_is_the_whole_report(primary: Path, other: Path) -> None:
    done = run("diff", str(primary), str(other), "--json")
    assert done.returncode == 1
    report = msgspec.json.decode(done.stdout, type=Report)
    assert not report.same
    assert [d.offset for d in report.differences] == [PLACE]
    assert report.connections[0].verified + report.connections[0].skipped == len(STREAM)
    assert json.loads(done.stdout)["primary"]["path"] == str(primary)


def test_only_so_many_differences_are_explained(primary: Path, tmp_path: Path) -> None:
    report = write(tmp_path / "many.pcap", frames() + [f.udp(b"%d" % n, dport=n) for n in range(5000, 5030)])
    done = run("diff", str(primary), str(report))
    assert done.stdout.count("timeout_secondary_only") == 10
    assert "20 more differences not explained here (--show N, --json)." in done.stdout
    assert "... and 11 more connections." in done.stdout
    done = run("diff", str(primary), str(report), "--show", "0")
    assert done.stdout.count("timeout_secondary_only") == 0
    assert "30 more differences not explained here" in done.stdout


def test_when_nothing_matches_the_other_way_of_pairing_is_advised(primary: Path, tmp_path: Path) -> None:
    moved = write(tmp_path / "moved.pcap", frames(dport=50000))
    done = run("diff", str(primary), str(moved))
    assert done.returncode == 1
    assert "No connection is in both captures: --match order pairs them by order of appearance." in flat(done.stdout)
    done = run("diff", str(primary), str(moved), "--match", "order")
    assert done.returncode == 0


def test_the_other_way_of_pairing_is_not_advised_for_a_connection_that_both_have(tmp_path: Path) -> None:
    primary, other = (write(tmp_path / name, [f.tcp(name.encode(), seq=1)]) for name in ("hello", "jello"))
    done = run("diff", str(primary), str(other))
    assert done.returncode == 1
    assert "byte 0 of the stream" in done.stdout
    assert "--match" not in done.stdout


def test_a_difference_in_a_capture_that_ends_early_is_told_before_that_it_does(
    primary: Path, other: Path, tmp_path: Path
) -> None:  # fmt: skip
    packed = gzip.compress(other.read_bytes())
    cut = tmp_path / "cut.pcap.gz"
    cut.write_bytes(packed[: len(packed) * 9 // 10])
    done = run("diff", str(primary), str(cut))
    assert done.returncode == 1
    assert len(re.findall(r"^\d+\. ", done.stdout, re.MULTILINE)) == 1
    table = done.stdout[done.stdout.index("verdict") : done.stdout.index("1. tcp_payload")]
    told = " ".join(re.findall(r"[a-z0-9';]+", table.split("───\n")[1]))
    assert "1 difference; the secondary's" in told


def test_no_line_ends_with_blanks_when_it_is_piped(primary: Path, other: Path) -> None:
    done = run("diff", str(primary), str(other))
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []


def test_what_could_not_be_read_or_compared_is_said(primary: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    shots = [Shot(n, frame[:90], len(frame)) for n, frame in enumerate(frames())]
    cut.write_bytes(pcap(shots)[:-30])
    done = run("diff", str(primary), str(cut))
    assert done.returncode == 0
    told = flat(done.stdout)
    assert "could not be read to the end: the capture is cut short within a record, at byte" in told
    assert "cut by the snapshot length, compared as far as they go" in told
    assert "bytes not captured" in told
    assert "the secondary's capture could not be read to the end of it" in told


def test_when_nothing_could_be_compared_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "acks.pcap", [f.tcp(seq=n) for n in range(9)])
    done = run("diff", str(path), str(path))
    assert done.returncode == 0
    assert "No difference, but nothing that could be compared: 0 bytes verified in 0 connections." in flat(done.stdout)


def test_rules_are_followed(primary: Path, other: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nprotocol = "tcp"\nsource_port = 80\naction = "pass"\n')
    done = run("diff", str(primary), str(other), "--rules", str(rules))
    assert done.returncode == 0
    assert "not compared, by rule" in done.stdout


def message(*arguments: object) -> str:
    done = run("diff", *map(str, arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("coloproxy: ")
    assert done.stderr.endswith(".\n")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("coloproxy: ").removesuffix("\n")


def test_what_cannot_run_ends_with_2_and_one_sentence(primary: Path, tmp_path: Path) -> None:
    none, text = tmp_path / "none", tmp_path / "text"
    text.write_text("no capture\n")
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nprotocol = 'tpc'\n")
    assert message(none, primary) == f"capture {none}: No such file or directory; name a readable pcap or pcapng file."
    assert message(primary, tmp_path) == f"capture {tmp_path}: Is a directory; name a readable pcap or pcapng file."
    assert message(primary, text) == (
        f"capture {text}: it begins with 6e 6f 20 63, which is neither pcap nor pcapng; "
        "name a pcap or pcapng file, gzip or not."
    )
    assert message(primary, primary, "--side", "server") == (
        "side 'server': 'server' is no IP address; give ADDR, ADDR:PORT or [ADDR]:PORT, such as 10.0.0.2:80."
    )
    assert message(primary, primary, "--side", "10.9.9.9") == (
        f"capture {primary}: no frame in it was sent by 10.9.9.9; name the replica's address with --side."
    )
    arp = write(tmp_path / "arp.pcap", [f.arp()])
    assert message(arp, primary) == (
        f"capture {arp}: no IP packet is at its beginning; name the replica's address with --side."
    )
    assert message(primary, primary, "--rules", rules).startswith("rule 'rule 1': protocol = 'tpc' is no good")
    assert message(primary, primary, "--rules", none).startswith(f"rules file {none}: No such file")
    assert message(primary, primary, "--evidence", primary) == (
        f"evidence file {primary}: it is one of the captures; name another."
    )
    missing = tmp_path / "none" / "evidence.pcapng"
    assert message(primary, primary, "--evidence", missing) == (
        f"evidence file {missing}: it cannot be written; name one that can."
    )


def test_a_wrong_way_of_pairing_is_refused(primary: Path) -> None:
    done = run("diff", str(primary), str(primary), "--match", "luck")
    assert done.returncode == 2
    assert "five-tuple" in done.stderr


@pytest.mark.witness
def test_evidence_opens_in_wireshark(primary: Path, other: Path, tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        if os.environ.get("COLOPROXY_CI"):
            pytest.fail("tshark is missing")
        pytest.skip("tshark is missing")
    evidence = tmp_path / "evidence.pcapng"
    assert run("diff", str(primary), str(other), "--evidence", str(evidence)).returncode == 1
    command = [tshark, "-n", "-r", str(evidence), "-T", "fields"]
    for field in ("frame.interface_name", "frame.comment", "tcp.seq_raw"):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert {line[0] for line in told} == {"primary", "secondary"}
    assert all("difference 1: tcp_payload: the bytes differ" in line[1] for line in told)
    assert all(line[2] for line in told)


def test_progress_is_shown_on_a_terminal_and_only_there(tmp_path: Path) -> None:
    big = write(tmp_path / "big.pcap", frames(STREAM * 300))
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    command = [*COMMAND, "diff", str(big), str(big)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 4096):
                shown += part
        except OSError:  # how a terminal whose other end is closed ends
            pass
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(leader)
    assert process.returncode == 0
    assert b"comparing" in shown
    assert b"comparing" not in out
    assert b"The same" in out
