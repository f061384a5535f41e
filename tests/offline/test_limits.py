"""Captures with much in them: connections are put on record when they are over, and little is kept waiting."""

import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coloproxy.offline import Report, comparison, lineup, report, stream
from support import frames as f
from support.captures import Shot

Diff = Callable[..., Report]


def short(n: int, isn: int, content: bytes) -> list[bytes]:
    """A short connection on one of 50 ports, in turn."""
    where = {"dport": 40000 + n % 50}
    return [
        f.tcp(seq=isn, ack=1, flags=f.SYN | f.ACK, **where),  # type: ignore[arg-type]
        f.tcp(content, seq=isn + 1, ack=1, flags=f.FIN | f.ACK, **where),  # type: ignore[arg-type]
    ]


def test_connections_that_ended_are_put_on_record_and_forgotten(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineup, "KEPT", 20)
    most = 0
    sweep = lineup.Lineup.sweep

    def watched(self: lineup.Lineup) -> None:
        nonlocal most
        sweep(self)
        most = max(most, len(self._connections) + len(self._all_flows))

    monkeypatch.setattr(lineup.Lineup, "sweep", watched)
    sides = []
    for isn in (5, 1 << 31):
        frames = []
        for n in range(3000):
            frames += short(n, isn + 97 * n, b"content %d" % n * 40)
            frames.append(f.udp(b"query %d" % n, dport=1024 + n))
        sides.append(frames)
    result = diff(*sides)
    assert result.same, result.differences[:3]
    assert result.totals.connections == 6000
    assert most < 4500
    sides[1][3 * 2990 + 1] = short(2990, (1 << 31) + 97 * 2990, b"content 2991" * 40)[1]
    (d,) = diff(*sides).differences
    assert d.offset == 11


def test_of_very_many_the_weightiest_are_listed_all_counted(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_LISTED", 10)
    frames = [frame for n in range(50) for frame in short(n, 0, bytes(n))]
    result = diff(frames, frames)
    assert result.totals.connections == 50
    assert [c.verified for c in result.connections] == [49, 48, 47, 46, 45, 44, 43, 42, 41, 40]
    other = [frame for n in range(50) for frame in short(n, 0, bytes(max(n - 1, 0)) + b"?" * (n > 0))]
    result = diff(frames, other)
    assert result.totals.differences == 49
    assert len(result.differences) == len(result.connections) == 10
    assert all(c.verdict == "differs" for c in result.connections)


def long(n: int, size: int, seed: int = 1) -> Iterator[bytes]:
    content = random.Random(seed).randbytes(size)
    yield f.tcp(seq=0, ack=1, flags=f.SYN | f.ACK, dport=40000 + n)
    for at in range(0, size, 1000):
        yield f.tcp(content[at : at + 1000], seq=1 + at, ack=1, dport=40000 + n)


def test_captures_in_another_order_are_compared_within_the_limit(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "WAITING", 3 << 20)
    primary = [frame for n in range(4) for frame in long(n, 500_000, n)]
    secondary = [frame for n in reversed(range(4)) for frame in long(n, 500_000, n)]
    times = [Shot(n, frame) for n, frame in enumerate(primary)], [Shot(1 << 60, frame) for frame in secondary]
    assert diff(*times).same


def test_captures_too_far_apart_are_given_up_where_most_waits(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "WAITING", 1 << 20)
    monkeypatch.setattr(stream, "REORDERED", 1 << 19)
    waiting = 0
    relieve = lineup.Lineup.relieve

    def watched(self: lineup.Lineup) -> None:
        nonlocal waiting
        relieve(self)
        waiting = max(waiting, *self.shared.waiting)

    monkeypatch.setattr(lineup.Lineup, "relieve", watched)
    sizes = (4_000_000, 100_000, 4_000_000)
    primary = [frame for n in range(3) for frame in long(n, sizes[n], n)]
    secondary = [frame for n in reversed(range(3)) for frame in long(n, sizes[n], n)]
    result = diff(primary, secondary)
    assert [str(d.reason) for d in result.differences] == ["memory_limit"]
    given_up, *others = result.connections
    assert (given_up.verdict, given_up.verified) == ("differs", 0)
    assert [c.verified for c in others] == [4_000_000, 100_000]
    assert 0 < waiting < 3 << 20


def test_gaps_are_filled_when_much_waits_behind_them(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "REORDERED", 50_000)
    whole = list(long(0, 2_000_000))
    lossy = whole[:100] + whole[101:1000] + whole[1005:]
    for sides in ((whole, lossy), (lossy, whole), (lossy, lossy)):
        result = diff(*sides)
        assert result.same
        assert (result.totals.verified, result.totals.unseen) == (1_994_000, 6000)


BIG = 300 << 20
BLOCK = random.Random(7).randbytes(1 << 20)


def write_big(path: Path, size: int, isn: int, seed: int, connections: int = 20) -> None:
    """A capture of `connections` streams, `BIG` bytes in all, cut into segments of `size` bytes, mingled at random."""
    rng = random.Random(seed)
    heads = [f.tcp(dport=30000 + n)[:54] for n in range(connections)]
    total = BIG // connections
    places = [0] * connections
    left = list(range(connections))
    with open(path, "wb", 1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for n in left:
            frame = f.tcp(dport=30000 + n, flags=f.SYN | f.ACK, seq=isn + n)
            file.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
        while left:
            n = rng.choice(left)
            for _ in range(10):
                at = places[n]
                piece = BLOCK[(at + n * 977) % len(BLOCK) :][: min(size, total - at)]
                head = bytearray(heads[n])
                struct.pack_into(">H", head, 16, 40 + len(piece))
                struct.pack_into(">I", head, 38, (isn + n + 1 + at) % 2**32)
                length = len(head) + len(piece)
                file.write(struct.pack("<IIII", 1, 0, length, length) + head + piece)
                places[n] = at + len(piece)
                if places[n] == total:
                    left.remove(n)
                    break


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_stays_small_on_captures_larger_than_it(tmp_path: Path) -> None:
    paths = tmp_path / "p", tmp_path / "s"
    write_big(paths[0], 1460, 1000, 1)
    write_big(paths[1], 1000, 4_000_000_000, 2)
    assert all(path.stat().st_size > BIG for path in paths)
    program = (
        "import sys; from coloproxy.offline import compare\n"
        "report = compare(*sys.argv[1:]); assert report.same, report.differences\n"
        f"assert report.totals.verified == {BIG}\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200_000  # KiB; getrusage(2) would count what we had when we forked, too
