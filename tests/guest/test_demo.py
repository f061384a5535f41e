"""The demonstration, as it is shown, and what it leaves behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from coloproxy.link.netns import NAMED


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
