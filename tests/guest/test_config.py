"""The guest's file: what is wrong is said, with its place."""

from pathlib import Path

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import qemu
from coloproxy.guest.config import Guest, load

RIGHT = """
name = "web"
lease = "file:/tmp/lease"
folder = "/run/web"
[guest]
kernel = "k"
memory = "128M"
mac = "52:54:00:00:00:01"
[host.a]
address = "192.0.2.1"
tap = "t0"
[host.b]
address = "192.0.2.2"
tap = "t0"
"""


def test_a_file_that_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(RIGHT)
    file = load(path)
    assert file.other("a") == "b"
    assert file.place("b") == Path("/run/web/b")
    assert file.timing.misses * file.timing.heartbeat == 250


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('name = "web"', 'name = "1"', "name = '1' is no good: write a string such as web."),
        ('memory = "128M"', 'memory = "128"', "guest: memory = '128' is no good: write a string such as 512M."),
        ('kernel = "k"\n', "", "guest: give a kernel, a disk, or both."),
        ('kernel = "k"', 'kernel = "k"\ndisk_writable = true', "host a has no disk: name it there, or as guest.disk"),
        ('tap = "t0"\n[host.b]', 'tap = "t0"\ndisk = "d"\n[host.b]', "host b has no disk: name it there, or as"),
        (
            '[guest]\nkernel = "k"', '[here]\naddress = "192.0.2.3/24"\n[guest]\ndisk = "d"\ndisk_writable = true',
            "both hosts are this machine and would write to d: name one for each.",
        ),
        ('kernel = "k"', 'kernel = "k"\ncard = "e1000"\nnetwork = "vhost-user"', "for virtio-net cards, not for e1000"),
        ('[host.b]\naddress = "192.0.2.2"\ntap = "t0"\n', "", ": write a table, 2 or more."),
        ('tap = "t0"\n[host.b]', 'tap = "a/b"\n[host.b]', "host a: tap = 'a/b' is no device's name"),
        ('folder = "/run/web"', 'folder = "/run/web"\ntiming = { margin = 3000 }', "margin must be less than lease"),
        (
            'folder = "/run/web"', 'folder = "/run/web"\ntiming = { min_interval = 9, max_interval = 8 }',
            "max_interval must not be less than min_interval",
        ),
        ('folder = "/run/web"', f'folder = "/{"x" * 90}"', "sockets' paths would be too long"),
        ('lease = "file:/tmp/lease"', 'leese = "file:/tmp/lease"', "unknown key 'leese'; did you mean lease?"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_a_sentence(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = tmp_path / "f.toml"
    assert before in RIGHT
    path.write_text(RIGHT.replace(before, after))
    with pytest.raises(ColoproxyError) as error:
        load(path)
    assert str(error.value).startswith(f"guest file {path}: ")
    assert said in str(error.value)


@pytest.mark.parametrize(("memory", "shown"), [("128M", 131080), ("1G", 1048584), ("1000k", 1000)])
def test_memory_has_an_odd_size_under_tcg_only(memory: str, shown: int) -> None:
    guest = Guest(memory=memory, mac="52:54:00:00:00:01", kernel="k")
    assert qemu.memory(guest, "tcg") == f"{shown}k"
    assert qemu.memory(guest, "kvm") == f"{shown // 256 * 256 if shown > 1000 else shown}k"


@pytest.mark.parametrize(
    ("version", "said"),
    [("6.2.0", "too old"), ("7.1.9", "too old"), ("10.0.2", "cannot do COLO"), ("10.1.3", "cannot do COLO")],
)
def test_a_qemu_that_cannot_do_it_is_refused(tmp_path: Path, version: str, said: str) -> None:
    with pytest.raises(ColoproxyError, match=said):
        qemu.find(shown(tmp_path, version))


@pytest.mark.parametrize("version", ["7.2.0", "7.2.22", "8.2.1", "9.2.4", "10.0.7", "10.2.0"])
def test_a_qemu_that_can_is_taken(tmp_path: Path, version: str) -> None:
    assert ".".join(map(str, qemu.find(shown(tmp_path, version)).version)) == version


def shown(folder: Path, version: str) -> Guest:
    """A guest whose QEMU says this version."""
    program = folder / "qemu"
    program.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian)'\n")
    program.chmod(0o755)
    return Guest(memory="1M", mac="52:54:00:00:00:01", kernel="k", qemu=str(program), accelerator="tcg")


def test_a_qemu_that_is_not_there_is_a_sentence() -> None:
    guest = Guest(memory="1M", mac="52:54:00:00:00:01", kernel="k", qemu="qemu-none")
    with pytest.raises(ColoproxyError, match="there is no program 'qemu-none'"):
        qemu.find(guest)
