"""The small guest: its archive is one that others can read."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import image


def test_an_archive_is_read_by_cpio() -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    records = [image.record(1, "a", 0o100644, b"text"), image.record(2, "bin/sh", 0o120777, b"busybox"),
               image.record(3, "folder", 0o040755, b""), image.record(0, "TRAILER!!!", 0, b"")]  # fmt: skip
    done = subprocess.run(["cpio", "-it", "--quiet"], input=b"".join(records), capture_output=True, check=True)
    assert done.stdout.split() == [b"a", b"bin/sh", b"folder"]


@pytest.mark.parametrize("size", range(9))
def test_every_record_fills_whole_words(size: int) -> None:
    assert len(image.record(1, "n" * size, 0o100644, b"c" * size)) % 4 == 0


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image, "BOOT", tmp_path)
    with pytest.raises(ColoproxyError, match="apt install linux-image-cloud-amd64 busybox-static"):
        image.build(tmp_path, "10.0.0.1/24")


@pytest.mark.qemu
def test_a_guest_has_an_init_and_its_drivers(tmp_path: Path) -> None:
    made = image.build(tmp_path, "10.0.0.1/24", "fd00::1/64", route="10.0.0.2")
    archive = gzip.decompress(made.initrd.read_bytes())
    assert b"for address in 10.0.0.1/24 fd00::1/64; do ip address add $address dev eth0; done\n" in archive
    assert b"\nip route add default via 10.0.0.2\n" in archive
    assert all(f"modules/{Path(driver).name}.ko\0".encode() in archive for driver in image.DRIVERS)
