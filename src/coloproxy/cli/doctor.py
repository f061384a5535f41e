"""`coloproxy doctor`: what this machine can do, and what to do about what it cannot."""

import ctypes
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coloproxy import COMPILED, __version__
from coloproxy.watch.launch import NEEDED

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # sched.h
TUN = "/dev/net/tun"
OF_USERS = "in a user namespace, as lab and demo do"


class Finding(msgspec.Struct, frozen=True):
    """One thing this machine can do or not: what was found and, where it is missing, what to do."""

    what: str
    ok: bool
    found: str
    advice: str = ""


def python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("Python", ok, platform.python_version(), "" if ok else "install Python 3.11 or newer")


def compiled_engine() -> Finding:
    ok = COMPILED
    if os.environ.get("COLOPROXY_UNCOMPILED"):
        advice = "unset COLOPROXY_UNCOMPILED"
    elif compiler():
        advice = "install coloproxy again, there is a C compiler now: pip install --force-reinstall --no-deps coloproxy"
    else:
        advice = "install a C compiler (Debian: apt install gcc python3-dev), then coloproxy again"
    if ok:
        return Finding("compiled engine", True, "compiled")
    return Finding("compiled engine", False, "uncompiled: right, but many times slower", advice)


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def root() -> Finding:
    if os.geteuid() == 0:
        return Finding("root", True, "yes")
    return Finding("root", False, f"no, user {os.geteuid()}", "for TAP devices: use sudo; lab and demo need none")


def capability(number: int) -> bool:
    """Whether this process has a capability in effect (capabilities(7))."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(line.split()[1], 16) >> number & 1)


def tap() -> Finding:
    if not os.path.exists(TUN):
        return Finding("TAP devices", False, f"no {TUN}", "load the module: modprobe tun")
    if not os.access(TUN, os.R_OK | os.W_OK):
        return Finding("TAP devices", False, f"{TUN} may not be opened", "run as root, or grant access to it")
    if not capability(12):
        return Finding("TAP devices", False, "CAP_NET_ADMIN is missing", "run as root, or with that capability")
    return Finding("TAP devices", True, TUN)


def namespaces() -> Finding:
    """Tried in a child process: a namespace of the network, of our own right or within a user namespace."""
    for how, flags in (("as root", CLONE_NEWNET), (OF_USERS, CLONE_NEWUSER | CLONE_NEWNET)):
        if in_child(lambda flags=flags: ctypes.CDLL(None).unshare(flags)):  # type: ignore[misc]
            return Finding("network namespaces", True, how)
    advice = "run as root; in a container, with CAP_SYS_ADMIN"
    return Finding("network namespaces", False, "may not be made", advice)


def in_child(call: Callable[[], int]) -> bool:
    """Whether a call returns 0, in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if call() == 0 else 1)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def packet_sockets() -> Finding:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        advice = "run as root, or with CAP_NET_RAW; lab and demo need neither"
        return Finding("packet sockets", False, str(error.strerror), advice)
    return Finding("packet sockets", True, "AF_PACKET")


def qemu() -> Finding:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return Finding("QEMU", False, "no qemu-system-x86_64", "Debian: apt install qemu-system-x86")
    version = output(program, "--version").partition("version ")[2].split()
    if "colo-compare" not in output(program, "-object", "help"):
        return Finding("QEMU", False, f"{program} without colo-compare", "use a build with COLO, such as Debian's")
    return Finding("QEMU", True, f"{version[0] if version else 'of some version'}, with colo-compare")


def kvm() -> Finding:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Finding("KVM", True, "/dev/kvm")
    advice = "guests run without it, slowly; enable virtualisation, join the group kvm"
    return Finding("KVM", False, "no access to /dev/kvm", advice)


def output(*command: str) -> str:
    """What a command says, or nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def tshark() -> Finding:
    found = shutil.which("tshark")
    advice = "to look at evidence: apt install tshark (or wireshark)"
    return Finding("tshark", True, found) if found else Finding("tshark", False, "not found", advice)


def plots() -> Finding:
    return extra("plots", "plot", ("matplotlib", "plotext"))


def page() -> Finding:
    return extra("metrics and page", "http", NEEDED)


def experiments() -> Finding:
    return extra("lab and demo", "lab", ("pyftpdlib", "pyroute2"))


def guests() -> Finding:
    return extra("guests", "guest", ("qemu.qmp", "etcd3gw", "pyroute2"))


def extra(what: str, name: str, modules: Sequence[str]) -> Finding:
    """The packages of an extra."""
    there = {module: found(module) for module in modules}
    missing = [module.replace("_", "-") for module, here in there.items() if not here]
    if missing:
        return Finding(what, False, f"no {', '.join(missing)}", f"pip install 'coloproxy[{name}]'")
    return Finding(what, True, ", ".join(module.replace("_", "-") for module in modules))


def found(module: str) -> bool:
    """Whether a module could be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


CHECKS = (
    python, compiled_engine, root, tap, namespaces, packet_sockets, qemu, kvm, tshark, plots, page, experiments, guests,
)  # fmt: skip


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Say what this machine can do, and what to do about what is missing."""
    findings = [check() for check in CHECKS]
    if as_json:
        print(msgspec.json.encode({"version": __version__, "findings": findings}).decode())
        return
    table = Table("", "", "", "what to do", box=box.SIMPLE_HEAD, title=f"coloproxy {__version__}", title_justify="left")
    for finding in findings:
        mark = "[green]yes[/]" if finding.ok else "[red]no[/]"
        table.add_row(mark, finding.what, escape(finding.found), escape(finding.advice))
    Console().print(table)
