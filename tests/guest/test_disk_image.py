"""A host's image of the disk: what is no good is said before QEMU is started."""

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import disk
from coloproxy.guest.config import File, Guest, Host


def file(folder: Path, writable: bool = True) -> File:
    image = str(folder / "image")
    guest = Guest(memory="1M", mac="52:54:00:00:00:01", disk=image, disk_writable=writable)
    hosts = {name: Host(address="192.0.2.1", tap="t0") for name in ("a", "b")}
    hosts["b"] = Host(address="192.0.2.2", tap="t0", disk=image + "-b")
    for name in hosts:
        (folder / name).mkdir()
    return File(name="web", guest=guest, host=hosts, lease="file:l", folder=str(folder))


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, "No such file or directory; make it first, as long as the other host's"),
        (b"", "has 0 bytes; a disk has sectors of 512"),
        (bytes(700), "has 700 bytes; a disk has sectors of 512"),
        (b"QFI\xfb" + bytes(508), "is a qcow2 image; it must be raw: qemu-img convert -O raw"),
    ],
)
def test_an_image_that_is_no_good_is_a_sentence(tmp_path: Path, contents: bytes | None, said: str) -> None:
    if contents is not None:
        (tmp_path / "image").write_bytes(contents)
    with pytest.raises(ColoproxyError, match=said):
        disk.prepare(file(tmp_path), "a")


def test_an_image_that_is_gone_when_the_guest_is_started_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ColoproxyError, match=f"disk {tmp_path}/image: No such file or directory."):
        disk.arguments(file(tmp_path), "a", standby=False)


def test_without_qemu_img_it_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image").write_bytes(bytes(1024))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ColoproxyError, match="apt install qemu-utils"):
        disk.prepare(file(tmp_path), "a")


def test_a_disk_that_is_only_read_is_one_drive(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(1024))
    read_only = file(tmp_path, writable=False)
    assert disk.prepare(read_only, "a") == 0
    assert disk.arguments(read_only, "a", standby=True) == [
        "-drive", f"file={tmp_path}/image,if=virtio,format=raw,readonly=on"
    ]  # fmt: skip


@pytest.mark.skipif(
    shutil.which("qemu-img") is None and not os.environ.get("COLOPROXY_CI"), reason="qemu-img is not installed"
)
def test_a_secondary_writes_to_overlays_that_are_empty_each_time(tmp_path: Path) -> None:
    (tmp_path / "image-b").write_bytes(bytes(1 << 20))
    written = file(tmp_path)
    assert disk.prepare(written, "b") == 1 << 20
    said = disk.arguments(written, "b", standby=True)
    nodes = [json.loads(value) for option, value in itertools.pairwise(said) if option == "-blockdev"]
    assert [node["node-name"] for node in nodes] == ["own", "hidden", "active", "replica", "disk"]
    assert nodes[0]["filename"] == str(tmp_path / "image-b")
    overlays = [Path(node["file"]["filename"]) for node in nodes[1:3]]
    empty = [overlay.read_bytes() for overlay in overlays]
    for overlay in overlays:
        overlay.write_bytes(b"written")
    disk.arguments(written, "b", standby=True)
    assert [overlay.read_bytes() for overlay in overlays] == empty
    disk.remove_overlays(tmp_path / "b")
    assert not any(overlay.exists() for overlay in overlays)
    assert not any("hidden" in word for word in disk.arguments(written, "b", standby=False))
