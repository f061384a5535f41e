"""Both hosts on one machine: two network namespaces, a wire between them, and a bridge to us.

    here: bridge NAME - veth NAME-a | up0 - bridge br0 - the agent's TAP      namespace NAME-a, and the same for b
                                      wire ----------------------- wire       between the namespaces

All of it has names that begin with the guest's, so that it can be found and removed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetNS, netns
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from coloproxy.errors import ColoproxyError
from coloproxy.guest.config import File
from coloproxy.link.netns import NAMED, inside
from coloproxy.watch.launch import listen

DEVICES = "wire", "up0"
ENDING = 3.0  # seconds in which a process ends that was told to


def namespace(file: File, host: str) -> str:
    """The name of a host's network namespace."""
    return f"{file.name}-{host}"


def make(file: File) -> None:
    """Make the networks. Raises ColoproxyError if that may not be done, or they are there."""
    assert file.here is not None
    made = [namespace(file, host) for host in file.host]
    for name in made:
        if Path(NAMED, name).exists():
            raise ColoproxyError(f"network namespace {name} is there already; coloproxy guest down removes it.")
    try:
        for name in made:
            netns.create(name)
        with IPRoute() as ours:
            _bridge(ours, file.name)
            address, _, length = file.here.address.partition("/")
            _address(ours, _index(ours, file.name), address, int(length))
            for host in file.host:
                _connect(ours, file, host)
        _wire(file)
    except (NetlinkError, OSError) as error:
        remove(file)
        why = error.args[1] if len(error.args) > 1 else error
        raise ColoproxyError(f"the networks of two hosts cannot be made here: {why}; run as root.") from None


def _bridge(there: Any, name: str) -> None:
    there.link("add", ifname=name, kind="bridge", br_forward_delay=0)
    there.link("set", index=_index(there, name), state="up")


def _connect(ours: Any, file: File, host: str) -> None:
    """A host's namespace: its bridge, and the wire from that to ours."""
    outer, name = f"{file.name}-{host}", namespace(file, host)
    ours.link("add", ifname=outer, kind="veth", peer={"ifname": "up0", "net_ns_fd": name})
    ours.link("set", index=_index(ours, outer), master=_index(ours, file.name), state="up")
    with NetNS(name) as there:
        there.link("set", index=_index(there, "lo"), state="up")
        bridge = file.host[host].bridge
        if bridge is not None:
            _bridge(there, bridge)
            there.link("set", index=_index(there, "up0"), master=_index(there, bridge))
        there.link("set", index=_index(there, "up0"), state="up")


def _wire(file: File) -> None:
    """The wire between the two namespaces."""
    first, second = file.host
    with NetNS(namespace(file, first)) as there:
        there.link(
            "add", ifname="wire", kind="veth", peer={"ifname": "wire", "net_ns_fd": namespace(file, second)}
        )  # fmt: skip
    for host, settings in file.host.items():
        with NetNS(namespace(file, host)) as there:
            index = _index(there, "wire")
            _address(there, index, settings.address, 64 if ":" in settings.address else 24)
            there.link("set", index=index, state="up")
        with inside(namespace(file, host)), contextlib.suppress(FileNotFoundError):  # without IPv6
            Path("/proc/sys/net/ipv6/conf/wire/keep_addr_on_down").write_text("1")


def _address(there: Any, index: int, address: str, length: int) -> None:
    """Nobody else has it: of IPv6, it can be used at once."""
    more = {"flags": IFA_F_NODAD} if ":" in address else {}
    there.addr("add", index=index, address=address, prefixlen=length, **more)


def _index(there: Any, device: str) -> int:
    return int(there.link_lookup(ifname=device)[0])


def start(file: File, path: Path, host: str) -> None:
    """Start a host's agent."""
    place = file.place(host)
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "coloproxy", "guest", "agent", str(path), "--host", host]
    with ExitStack() as stack:
        kept = []
        if (http := file.host[host].http) is not None:  # the page is to be had here, not in the namespace
            kept = [stack.enter_context(listen(http)).fileno()]
            command += ["--http", f"fd:{kept[0]}"]
        log = stack.enter_context((place / "agent.log").open("ab"))
        stack.enter_context(inside(namespace(file, host)))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=kept
        )
    process.returncode = 0  # it is not ours to wait for: it outlives us


def switch(file: File, host: str, device: str, up: bool) -> None:
    """One of a host's devices, up or down: `wire` leads to the other host, `up0` to us."""
    with NetNS(namespace(file, host)) as there:
        there.link("set", index=_index(there, device), state="up" if up else "down")


def switch_off(file: File, host: str) -> None:
    """The power goes: nothing of the host says a word any more, not even that a connection ends."""
    for device in DEVICES:
        switch(file, host, device, False)
    end(namespace(file, host))


def switch_on(file: File, path: Path, host: str) -> None:
    """It is there again, and its agent is started."""
    for device in DEVICES:
        switch(file, host, device, True)
    start(file, path, host)


def remove(file: File) -> None:
    """End all that goes on in the namespaces, and remove the networks."""
    for host in file.host:
        end(namespace(file, host))
    with IPRoute() as ours:
        for name in (*(f"{file.name}-{host}" for host in file.host), file.name):
            for index in ours.link_lookup(ifname=name):
                with contextlib.suppress(NetlinkError):
                    ours.link("del", index=index)
    for host in file.host:
        name = namespace(file, host)
        if Path(NAMED, name).exists():
            netns.remove(name)


def end(name: str) -> None:
    """End all processes of a namespace. The kernel tells which these are."""
    deadline = time.monotonic() + ENDING
    while time.monotonic() < deadline and (found := processes(name)):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def processes(name: str) -> list[int]:
    """The processes of a namespace."""
    try:
        there = os.stat(Path(NAMED, name))
    except FileNotFoundError:
        return []
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{entry.name}/ns/net").st_ino == there.st_ino and _runs(entry.name):
                found.append(int(entry.name))
    return found


def _runs(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
