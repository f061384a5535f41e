"""A host's copy of the guest's disk: the image, the overlays of a secondary's, and what QEMU is told of them.

    only read   guest - image
    primary     guest - disk - own                  disk is a quorum: it writes to all of its children, here to one or,
                             - far (NBD)            while there is a secondary, to two (`mirror`)
    secondary   guest - disk - replica - active - hidden - own

own is the image. hidden keeps what was in it at the last checkpoint, active what the secondary's guest wrote since.
"""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from coloproxy.errors import ColoproxyError
from coloproxy.guest.config import File

DISK, OWN, FAR, REPLICA, ACTIVE, HIDDEN = "disk", "own", "far", "replica", "active", "hidden"  # nodes of QEMU's
OVERLAYS = ACTIVE, HIDDEN
SECTOR = 512
QCOW2 = b"QFI\xfb"  # how such a file begins
THROWN_AWAY = {"no-flush": True}  # a cache that need not outlive its host


def prepare(file: File, host: str) -> int:
    """Look at a host's image: the bytes of a disk that is written, 0 if there is none. Raises ColoproxyError."""
    path = file.disk(host)
    if path is None:
        return 0
    size = measure(path)
    if not file.guest.disk_writable:
        return 0
    _make_empty(file.place(host), size)
    return size


def measure(path: str) -> int:
    """The bytes of a raw image, or of a device. Raises ColoproxyError if it is none."""
    try:
        with open(path, "rb") as image:
            begin, size = image.read(len(QCOW2)), image.seek(0, os.SEEK_END)
    except OSError as error:
        raise ColoproxyError(f"disk {path}: {error.strerror}; make it first, as long as the other host's.") from None
    if begin == QCOW2:
        raise ColoproxyError(f"disk {path} is a qcow2 image; it must be raw: qemu-img convert -O raw makes one.")
    if not size or size % SECTOR:
        raise ColoproxyError(f"disk {path} has {size} bytes; a disk has sectors of {SECTOR}: truncate -s makes one.")
    return size


def _make_empty(place: Path, size: int) -> None:
    """An overlay with nothing in it, of which those of each secondary here are copies."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(_overlay(place, "empty")), str(size)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        raise ColoproxyError("a disk that is written needs the program qemu-img: apt install qemu-utils.") from None
    if made.returncode:
        raise ColoproxyError(f"qemu-img makes no overlay in {place}: {made.stderr.strip()}.")


def _overlay(place: Path, name: str) -> Path:
    return place / f"{name}.qcow2"


def flush(path: str) -> None:
    """Have all that was written to an image be there even if the power goes: what was merged into it, too. Raises
    OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_overlays(place: Path) -> None:
    for name in OVERLAYS:
        _overlay(place, name).unlink(missing_ok=True)


def arguments(file: File, host: str, standby: bool) -> list[str]:
    """QEMU's arguments. standby: for a secondary, whose overlays are made. Raises ColoproxyError if they cannot
    be, or the image is gone."""
    path = file.disk(host)
    if path is None:
        return []
    if not file.guest.disk_writable:
        return ["-drive", f"file={path},if=virtio,format=raw,readonly=on"]
    try:
        driver = "host_device" if stat.S_ISBLK(os.stat(path).st_mode) else "file"
    except OSError as error:  # it was there when the agent was started
        raise ColoproxyError(f"disk {path}: {error.strerror}.") from None
    nodes: list[dict[str, Any]] = [{"driver": driver, "node-name": OWN, "filename": path}]
    if standby:
        nodes += _overlays(file.place(host))
    child = REPLICA if standby else OWN
    nodes.append(
        {"driver": "quorum", "node-name": DISK, "children": [child], "vote-threshold": 1, "read-pattern": "fifo"}
    )  # fmt: skip
    device = f"virtio-blk-pci,drive={DISK},werror=report,rerror=report"  # the guest hears of it, and does not stop
    return [*(word for node in nodes for word in ("-blockdev", json.dumps(node))), "-device", device]


def _overlays(place: Path) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    for name, below in ((HIDDEN, OWN), (ACTIVE, HIDDEN)):
        path = _overlay(place, name)
        try:
            shutil.copyfile(_overlay(place, "empty"), path)
        except OSError as error:
            raise ColoproxyError(f"overlay {path}: {error.strerror}.") from None
        here = {"driver": "file", "filename": str(path), "cache": THROWN_AWAY}
        nodes.append({"driver": "qcow2", "node-name": name, "file": here, "backing": below, "cache": THROWN_AWAY})
    nodes.append({"driver": "replication", "node-name": REPLICA, "mode": "secondary", "top-id": DISK, "file": ACTIVE})
    return nodes
