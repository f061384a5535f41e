"""The demonstration, as it is shown, and what it leaves behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from coloproxy.guest.showcase.load import Download, Echo, Sample
from coloproxy.guest.showcase.play import Moment, Story
from coloproxy.guest.showcase.screen import COLUMNS, NAME, bars, lines
from coloproxy.link.netns import NAMED


def test_the_line_of_time_shows_where_nothing_came_and_what_happened_then() -> None:
    echo, download = Echo("0.0.0.0"), Download("0.0.0.0")
    echo.samples = [Sample(100 + second, 0.9 if second == 33 else 0.001, 100) for second in range(66) if second != 20]
    download.samples = [Sample(100 + second, 1.0, 1 << 20) for second in range(66) if second not in (20, 21)]
    moments = [Moment(0.0, "begin"), Moment(20.5, "off", True), Moment(33.5, "on", True)]
    shown = [Text.from_markup(line).plain for line in lines(Story(100, 166, moments, echo, download, 1.0))]
    assert max(map(len, shown)) <= 80
    got, trips, marks, legend, *told = shown
    assert got[NAME + 19 : NAME + 23] == "█  █"
    assert trips[NAME + 20] == " "
    assert trips[NAME + 33] == "█"
    assert trips[NAME + 34] not in " █"
    assert (marks.index("a"), marks.index("b")) == (NAME + 20, NAME + 33)
    assert "a column is 1.00 s; up to 1 MiB/s; up to 900 ms, logarithmic" in legend
    assert [line.split(maxsplit=2)[2] for line in told] == ["begin", "a off", "b on"]


def test_bars_of_nothing_are_nothing() -> None:
    assert bars([0.0] * COLUMNS) == " " * COLUMNS


@pytest.mark.qemu
@pytest.mark.root
@pytest.mark.timeout(180)
def test_a_host_is_switched_off_and_clients_notice_only_a_gap(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coloproxy", "guest", "demo", "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "host a is switched off" in said
    assert "the guest lives on host b" in said
    assert said.count("protected: what leaves now, both copies have said") == 2
    assert re.search(r"[1-9]\d* echoes on one connection, [1-9]\d* downloads: every byte right", said)
    assert (tmp_path / "guest.svg").read_text().rstrip().endswith("</svg>")
    assert not list(Path(NAMED).glob("sample-*")), "namespaces are left behind"
