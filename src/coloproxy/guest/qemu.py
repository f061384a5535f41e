"""Which QEMU is here, what it can do, and the command line of a guest."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from coloproxy.errors import ColoproxyError
from coloproxy.guest.config import Guest

OLDEST = 7, 2, 0  # the first with -netdev stream
BROKEN = (((10, 0, 0), (10, 0, 7)), ((10, 1, 0), (10, 2, 0)))  # COLO ends in "postmigrate"
UNIT = {"k": 1, "K": 1, "M": 1 << 10, "G": 1 << 20}  # KiB
BLOCK = 256  # KiB: under TCG, memory of a multiple of these is copied wrongly
PROBE = 4.0  # seconds for a kernel to start, or for firmware to say something
DEBUG_PORT = 0x402  # where SeaBIOS says what it does

Version = tuple[int, int, int]


class Qemu(NamedTuple):
    """A QEMU that can do COLO, and the accelerator that it is used with."""

    binary: str
    version: Version
    accelerator: str

    def warnings(self) -> list[str]:
        """What its user should know."""
        if self.accelerator != "tcg":
            return []
        return [
            "QEMU emulates the processor (TCG): slow, and its COLO has faults there, which are worked around: guest"
            " memory of an odd size, and a library that is preloaded."
        ]


def find(guest: Guest) -> Qemu:
    """The QEMU of the guest's file. Raises ColoproxyError if it is missing, or cannot do what is needed."""
    binary = shutil.which(guest.qemu)
    if binary is None:
        raise ColoproxyError(f"QEMU: there is no program '{guest.qemu}'; apt install qemu-system-x86.")
    version = _version(binary)
    said = ".".join(map(str, version))
    if version < OLDEST:
        raise ColoproxyError(f"QEMU {said} is too old: it must be 7.2 or newer, which has -netdev stream.")
    if any(first <= version < mended for first, mended in BROKEN):
        raise ColoproxyError(
            f"QEMU {said} cannot do COLO (its primary stops at the first copy): use 7.2 to 9.2, 10.0.7, or 10.2."
        )
    accelerator = guest.accelerator
    if accelerator == "auto":
        accelerator = "kvm" if runs_on_kvm(binary, guest.kernel) else "tcg"
    return Qemu(binary, version, accelerator)


def _version(binary: str) -> Version:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise ColoproxyError(f"QEMU: {binary} does not say its version; name QEMU for x86_64.")
    return int(found[1]), int(found[2]), int(found[3])


@functools.cache
def runs_on_kvm(binary: str, kernel: str | None) -> bool:
    """Whether KVM runs this guest here: /dev/kvm may be there, and open, and run firmware, and no kernel.

    So the kernel is started without a file system: if all is well it comes as far as to miss that. A guest without a
    kernel of its own is represented by its firmware.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.NamedTemporaryFile() as said:
        command = [binary, "-accel", "kvm", "-cpu", "host", "-m", "256M", "-nodefaults", "-display", "none"]
        if kernel is not None:
            command += ["-kernel", kernel, "-append", "console=ttyS0", "-serial", f"file:{said.name}"]
        else:
            debug = f"isa-debugcon,iobase={DEBUG_PORT},chardev=said"
            command += ["-chardev", f"file,id=said,path={said.name}", "-device", debug]
        wanted = b"No bootable device" if kernel is None else b"Unable to mount root fs"
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)
        try:
            end = time.monotonic() + PROBE
            while time.monotonic() < end and process.poll() is None:
                if wanted in Path(said.name).read_bytes():
                    return True
                time.sleep(0.02)
            return False
        finally:
            process.kill()
            process.wait()


def memory(guest: Guest, accelerator: str) -> str:
    """As much as the guest is to have, or a little more where that size would be copied wrongly."""
    size = int(guest.memory[:-1]) * UNIT[guest.memory[-1]]
    if accelerator == "tcg" and size % BLOCK == 0:
        size += 8
    return f"{size}k"


def command(
    guest: Guest, qemu: Qemu, place: Path, incoming: str | None, more: Sequence[str] = ()
) -> list[str]:  # fmt: skip
    """QEMU's command line. place: a folder for its sockets and its console; incoming: where its memory comes from;
    more: arguments for its disk and its keys."""
    boot = []
    if guest.kernel:
        boot = ["-kernel", guest.kernel, *(["-initrd", guest.initrd] if guest.initrd else []), "-append", guest.append]
    return [
        qemu.binary, "-machine", "pc", "-accel", qemu.accelerator,
        "-cpu", "host" if qemu.accelerator == "kvm" else "qemu64", "-smp", str(guest.cpus),
        "-m", memory(guest, qemu.accelerator), "-nodefaults", "-display", "none", *boot,
        "-serial", f"file:{place / 'console.log'}", "-qmp", f"unix:{place / 'qmp'},server=on,wait=off",
        *network(guest, qemu, place),
        *more, *guest.extra, *(["-incoming", incoming] if incoming else []),
    ]  # fmt: skip


def network(guest: Guest, qemu: Qemu, place: Path) -> list[str]:
    """The guest's card, and what is behind it."""
    card = f"{guest.card},netdev=hn0,mac={guest.mac},romfile="
    if guest.network == "stream":
        return ["-netdev", f"stream,id=hn0,server=on,addr.type=unix,addr.path={place / 'guest'}", "-device", card]
    memory_file = f"memory-backend-memfd,id=mem,size={memory(guest, qemu.accelerator)},share=on"
    return [
        "-object", memory_file, "-machine", "memory-backend=mem",
        "-chardev", f"socket,id=card,path={place / 'guest'},server=on,wait=off",
        "-netdev", "vhost-user,id=hn0,chardev=card,vhostforce=on",
        "-device", card + (",vectors=0" if qemu.accelerator == "tcg" else ""),  # MSI-X is QEMU's end there
    ]  # fmt: skip


def environment(guest: Guest, qemu: Qemu, place: Path) -> Mapping[str, str]:
    """QEMU's environment. Raises ColoproxyError if the work-around for TCG cannot be made."""
    if qemu.accelerator != "tcg" or "LD_PRELOAD" in guest.environment:
        return {**os.environ, **guest.environment}
    library, source = place / "tcg.so", resources.files("coloproxy.guest").joinpath("tcg.c")
    with resources.as_file(source) as path:
        build = ["cc", "-shared", "-fPIC", "-O2", "-pthread", "-o", str(library), str(path)]
        try:
            made = subprocess.run(build, capture_output=True, text=True, check=False)
        except OSError:
            raise ColoproxyError("QEMU under TCG needs a library that is made here: install a C compiler.") from None
    if made.returncode:
        raise ColoproxyError(f"QEMU under TCG needs a library; it could not be made: {made.stderr.strip()[:200]}.")
    return {**os.environ, "LD_PRELOAD": str(library), **guest.environment}
