"""The networks of a run: namespaces without names, one each for the client, the replicas and the proxy.

    client e0 --- proxy --- e0 primary      e0: 10.77.0.2 and fd77::2 at the client, 10.77.0.1 and fd77::1 at both
                    '------ e0 secondary        replicas, which have one MAC address as well

With TAPs, e0 is a TAP device whose other end the proxy opens; with packet sockets, a veth pair whose other end
(client, primary, secondary) lies in the proxy's namespace. On the direct path client and primary are joined by a pair.
Neighbours are permanent, since the secondary's answers to ARP never leave; the proxy's namespace has no address.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from coloproxy.errors import ColoproxyError
from coloproxy.lab.plan import Ports
from coloproxy.lab.sandbox import CLONE_NEWNET, unshare
from coloproxy.link.netns import inside

DEVICE = "e0"
MTU = 1500
QUEUE = 20000  # frames a TAP may have waiting; with fewer, bursts of datagrams are lost
BURST = 256 << 10  # bytes a rate lets pass at once: several of the largest segments, so that none is cut
LATENCY = 0.05  # seconds that may wait for a rate
SERVER = {4: "10.77.0.1", 6: "fd77::1"}
CLIENT = {4: "10.77.0.2", 6: "fd77::2"}
PREFIX = {4: ("10.77.0.0/24", 24), 6: ("fd77::/64", 64)}
SERVER_MAC, CLIENT_MAC = "02:00:00:00:77:01", "02:00:00:00:77:02"
IFA_F_NODAD = 0x02  # linux/if_addr.h
# Of IPv6: no address of the device's own making, nothing learnt, no look-out for others with this address.
QUIET = {"addr_gen_mode": 1, "accept_ra": 0, "accept_dad": 0}


class Host:
    """A network namespace, kept by a descriptor; `path` leads there for every process of this user."""

    def __init__(self, name: str) -> None:
        self.name = name
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with inside(f"/proc/self/fd/{home}"):
            unshare(CLONE_NEWNET)
            self._fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.netlink: Any = IPRoute()
        os.close(home)
        # As those outside our PID namespace see it: the file system /proc is theirs.
        self.path = f"/proc/{os.readlink('/proc/self')}/fd/{self._fd}"
        self.up("lo")

    def index(self, device: str) -> int:
        return int(self.netlink.link_lookup(ifname=device)[0])

    def up(self, device: str) -> None:
        self.netlink.link("set", index=self.index(device), state="up")

    def cut(self) -> None:
        """Nothing gets out of here any more, and nothing in."""
        self.netlink.link("set", index=self.index(DEVICE), state="down")

    def sysctl(self, name: str, value: int) -> None:
        with inside(self.path):
            Path("/proc/sys/net", name).write_text(str(value))


class Network:
    """The hosts, joined as a path needs it. Raises ColoproxyError if that may not be done here."""

    def __init__(self, hosts: Sequence[str], ports: Ports | None, rate: float | None) -> None:
        """`hosts`: "client" and the replicas. ports: how a proxy gets at them; None: they are joined directly."""
        if not Path("/proc/sys/net/ipv6").exists():
            raise ColoproxyError("the lab needs IPv6 in the kernel: start it without ipv6.disable=1.")
        try:
            self.hosts = {name: Host(name) for name in hosts}
            self.proxy = Host("proxy")
            self._join(ports)
            for name, host in self.hosts.items():
                _configure(host, client=name == "client", rate=rate)
        except PermissionError as error:
            raise _refused(error) from None
        except NetlinkError as error:
            raise _refused(error) from None

    def _join(self, ports: Ports | None) -> None:
        if ports is None:
            client, server = (self.hosts[name] for name in self.hosts)
            _pair(client, DEVICE, server, DEVICE)
        for name, host in self.hosts.items() if ports is not None else ():
            if ports == "tap":
                with inside(host.path):
                    host.netlink.link("add", ifname=DEVICE, kind="tuntap", mode="tap")
            else:
                _pair(self.proxy, name, host, DEVICE)
                self.proxy.sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
                self.proxy.up(name)


def _pair(one: Host, name: str, other: Host, other_name: str) -> None:
    peer = {"ifname": other_name, "net_ns_fd": other._fd}
    one.netlink.link("add", ifname=name, kind="veth", peer=peer)


def _configure(host: Host, *, client: bool, rate: float | None) -> None:
    """Addresses, neighbours and routes of e0, and the rate of what it sends."""
    netlink, index = host.netlink, host.index(DEVICE)
    own, others = (CLIENT, SERVER) if client else (SERVER, CLIENT)
    mac, other_mac = (CLIENT_MAC, SERVER_MAC) if client else (SERVER_MAC, CLIENT_MAC)
    netlink.link("set", index=index, address=mac, mtu=MTU, txqlen=QUEUE)
    for name, value in QUIET.items():
        host.sysctl(f"ipv6/conf/{DEVICE}/{name}", value)
    host.up(DEVICE)
    for family, address in own.items():
        prefix, length = PREFIX[family]
        flags = {"flags": IFA_F_NODAD} if family == 6 else {}
        netlink.addr("add", index=index, address=address, prefixlen=length, **flags)
        netlink.neigh("replace", dst=others[family], lladdr=other_mac, ifindex=index, state="permanent")
        route = {"scope": "link", "prefsrc": address} if family == 4 else {"priority": 256}
        # The algorithm of the route: that of the system may be one that needs pacing, which costs.
        netlink.route("replace", dst=prefix, oif=index, proto="kernel", metrics={"cc_algo": "cubic"}, **route)
    if rate is not None:
        _limit(host, index, rate)


def _limit(host: Host, index: int, rate: float) -> None:
    bytes_per_second = int(rate / 8)
    limit = int(bytes_per_second * LATENCY) + BURST
    try:
        host.netlink.tc("replace", "tbf", index, rate=bytes_per_second, burst=BURST, limit=limit)
    except NetlinkError as error:
        raise ColoproxyError(f"a rate needs the kernel's token bucket filter (module sch_tbf): {error}.") from None


def _refused(error: Exception) -> ColoproxyError:
    return ColoproxyError(
        f"the lab may not make networks here ({error}): run it as root, or let the user namespaces of ordinary users"
        " have them (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0)."
    )
