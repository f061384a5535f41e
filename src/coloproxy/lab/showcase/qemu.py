"""QEMU with nothing in it but its comparator, colo-compare: no machine, no guest."""

import os
import shutil
import subprocess
from pathlib import Path

QUEUE = 1_000_000  # frames that may wait in each connection: none is to be lost for that reason
DEVICES = ("primary", "secondary", "out", "notify")  # its sockets, and their names


def program() -> str | None:
    """The QEMU to compare with: $QEMU, or that which is installed."""
    return os.environ.get("QEMU") or shutil.which("qemu-system-x86_64")


def version() -> str | None:
    """Of QEMU, as it says itself; None without one."""
    found = program()
    if found is None:
        return None
    try:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.partition("\n")[0].removeprefix("QEMU emulator version ").partition(" ")[0]


def command(folder: Path) -> list[str]:
    """What starts it, with its sockets in a folder."""
    found = [program() or "qemu-system-x86_64", "-machine", "none", "-display", "none", "-nodefaults"]
    found += ["-monitor", "none", "-object", "iothread,id=own"]
    for name in DEVICES:
        found += ["-chardev", f"socket,id={name},path={folder / name},server=on,wait=off"]
    settings = "primary_in=primary,secondary_in=secondary,outdev=out,notify_dev=notify,iothread=own"
    return [*found, "-object", f"colo-compare,id=compare,{settings},vnet_hdr_support=on,max_queue_size={QUEUE}"]
