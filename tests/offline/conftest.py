"""Two captures made of frames, and compared."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from coloproxy.offline import Options, Report, compare, parse_replica
from support.captures import Shot, pcap

SECOND = 10**9
Frames = Iterable[bytes | Shot]


def shots(frames: Frames, begin: int = 1_700_000_000 * SECOND) -> list[Shot]:
    """The frames a millisecond apart, but for those that have their own time."""
    return [
        frame if isinstance(frame, Shot) else Shot(begin + count * 1_000_000, frame)
        for count, frame in enumerate(frames)
    ]


@pytest.fixture
def diff(tmp_path: Path) -> Callable[..., Report]:
    """Compares frames of the primary with frames of the secondary; the replica is frames.REPLICA unless told."""
    paths = tmp_path / "p.pcap", tmp_path / "s.pcap"

    def run(primary: Frames, secondary: Frames, side: str | None = "10.0.0.2", **options: object) -> Report:
        for path, frames in zip(paths, (primary, secondary)):
            path.write_bytes(pcap(shots(frames), nanoseconds=True))
        replica = None if side is None else parse_replica(side)
        return compare(*paths, Options(side=replica, **options))  # type: ignore[arg-type]

    return run
