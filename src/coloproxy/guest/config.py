"""The guest's file: the guest, its two hosts, who decides, and how long things may take, as TOML."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from coloproxy import tables
from coloproxy.errors import ColoproxyError
from coloproxy.topology.config import DEVICE, Strict

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Size = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+[kKMG]$", examples=["512M"])]
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$", examples=["52:54:00:12:34:56"])]


class Guest(Strict, frozen=True, kw_only=True):
    """What QEMU runs. kernel, initrd, append: started directly; disk: a raw image, only read unless disk_writable, when
    each host's copy of it is kept in step. accelerator: auto takes KVM if it runs a guest here. network: how frames
    come out of QEMU and into it. environment: variables for QEMU."""

    memory: Size
    mac: Mac
    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    disk: str | None = None
    disk_writable: bool = False
    cpus: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1
    card: str = "virtio-net-pci"
    network: Literal["stream", "vhost-user"] = "stream"
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    qemu: str = "qemu-system-x86_64"
    extra: list[str] = []
    environment: dict[str, str] = {}


class Host(Strict, frozen=True, kw_only=True):
    """A machine. address: its own on the wire between the two, where it has ports port (the agents' connection),
    port + 1 (QEMU's copies) and port + 2 (its disk). disk: the image here, if it is not where guest.disk says. tap: a
    TAP device that the agent makes; bridge: put into that bridge. http: where metrics and a page are served, HOST:PORT
    or a port of this machine."""

    address: str
    tap: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65533)] = 9010
    disk: str | None = None
    bridge: str | None = None
    http: str | None = None


class Here(Strict, frozen=True, kw_only=True):
    """Both hosts are this machine, in a network namespace each, joined by a bridge. address: ours in the guest's
    network, with the length of its prefix."""

    address: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", examples=["192.0.2.1/24"])]


class Timing(Strict, frozen=True, kw_only=True):
    """Milliseconds. heartbeat: between two signs of life; the other host counts as lost when `misses` of them are.
    monitor: for an answer of QEMU's monitor. min_ and max_interval: between two checkpoints; checkpoint: for the whole
    of one; copy: for the first copy of memory, or for that of a disk to come further. lease: for how long a lease
    lasts; margin: how long before its end an agent that could not renew it falls silent; fence: for the command."""

    heartbeat: Milliseconds = 50
    misses: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 5
    monitor: Milliseconds = 1500
    min_interval: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 20
    max_interval: Milliseconds | None = None
    checkpoint: Milliseconds = 3000
    copy: Milliseconds = 60_000
    lease: Milliseconds = 3000
    margin: Milliseconds = 500
    fence: Milliseconds = 10_000


class File(Strict, frozen=True, kw_only=True):
    """A whole file. lease: file:PATH on one machine, or etcd:URL,URL,...; fence: a command that makes sure the other
    host is dead, run before its guest is taken over. protect: auto makes a secondary as soon as there is a host for
    one. folder: for sockets, logs and state. keys: a folder of keys for the connections between the hosts, plain
    without."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,9}$", examples=["web"])]
    guest: Guest
    host: Annotated[dict[str, Host], msgspec.Meta(min_length=2, max_length=2)]
    lease: str
    folder: str
    fence: str | None = None
    keys: str | None = None
    protect: Literal["auto", "manual"] = "manual"
    timing: Timing = Timing()
    here: Here | None = None

    def other(self, host: str) -> str:
        """The name of the other host."""
        return next(name for name in self.host if name != host)

    def place(self, host: str) -> Path:
        """A host's own folder."""
        return Path(self.folder) / host

    def disk(self, host: str) -> str | None:
        """Where a host has the guest's disk."""
        return self.host[host].disk or self.guest.disk


def load(path: Path) -> File:
    """Read a guest's file. Raises ColoproxyError, naming the key, for what is not as it must be."""
    where = f"guest file {path}"
    file: File = tables.convert(tables.load(path, "guest file"), File, where)
    _check(file, where)
    return file


def _check(file: File, where: str) -> None:
    """Raises ColoproxyError for what fits no machine."""
    _check_disks(file, where)
    if file.guest.network == "vhost-user" and not file.guest.card.startswith("virtio-net-"):
        raise ColoproxyError(f"{where}: guest: vhost-user is for virtio-net cards, not for {file.guest.card}.")
    for name, host in file.host.items():
        if not DEVICE.fullmatch(host.tap):
            raise ColoproxyError(f"{where}: host {name}: tap = {host.tap!r} is no device's name.")
    timing = file.timing
    if timing.margin >= timing.lease:
        raise ColoproxyError(f"{where}: timing: margin must be less than lease, {timing.lease} ms.")
    if timing.max_interval is not None and timing.max_interval < timing.min_interval:
        raise ColoproxyError(f"{where}: timing: max_interval must not be less than min_interval.")
    if len(str(file.place(max(file.host, key=len))).encode()) > 80:
        raise ColoproxyError(f"{where}: folder: its sockets' paths would be too long; use a shorter one.")


def _check_disks(file: File, where: str) -> None:
    disks = {host: file.disk(host) for host in file.host}
    if file.guest.kernel is None and not any(disks.values()):
        raise ColoproxyError(f"{where}: guest: give a kernel, a disk, or both.")
    if any(disks.values()) or file.guest.disk_writable:
        for host, path in disks.items():
            if path is None:
                raise ColoproxyError(f"{where}: host {host} has no disk: name it there, or as guest.disk for both.")
    if file.guest.disk_writable and file.here is not None and len(set(disks.values())) == 1:
        path = next(iter(disks.values()))
        raise ColoproxyError(f"{where}: both hosts are this machine and would write to {path}: name one for each.")
