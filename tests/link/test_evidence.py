"""Evidence on a disk that is full: nothing is left of what could not be written, and there is a next time."""

import errno
from pathlib import Path

import pytest

from coloproxy.capture import PcapngWriter
from coloproxy.compare.comparator import Evidence
from coloproxy.link.clock import Clock
from coloproxy.link.evidence import EvidenceFolder
from support.frames import udp
from support.play import Play


def found() -> Evidence:
    (evidence,) = Play(evidence=True).p(udp(b"ours")).s(udp(b"theirs")).after(1).comparator.take_evidence()
    return evidence


def test_a_full_disk_leaves_no_halves_and_uses_up_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = EvidenceFolder(str(tmp_path), Clock())

    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PcapngWriter, "write", full)
        assert "No space left" in str(folder.write(found()))
    assert list(tmp_path.iterdir()) == []
    assert folder.write(found()) is None
    assert [path.name for path in tmp_path.iterdir()] == ["0001-udp_length.pcapng"]
