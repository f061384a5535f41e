"""Real connections through real devices: a forwarder of every kind, and the standard topology one-host."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from coloproxy.topology.standard import HERE
from support.netns import Namespace, needs_root, veth
from support.topology import Topology
from support.wire import PATIENCE

pytestmark = [pytest.mark.root, needs_root]

CLIENT, SERVER = "10.77.0.2", "10.77.0.1"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:77:02", "02:00:00:00:77:01"
CONTENT = random.Random(1).randbytes(20_000_000)
Start = Callable[..., Topology]


@pytest.fixture
def space() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces; removes them with the test."""
    made: list[Namespace] = []

    def new() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield new
    for each in made:
        each.remove()


def configure(host: Namespace, *, server: bool) -> None:
    """Addresses of e0, and the other's."""
    own, other = ((SERVER, SERVER_MAC), (CLIENT, CLIENT_MAC))[:: 1 if server else -1]
    host.ip(f"link set e0 address {own[1]} up")
    host.ip(f"addr add {own[0]}/24 dev e0")
    host.ip(f"neigh add {other[0]} lladdr {other[1]} dev e0 nud permanent")


@contextmanager
def serving(*hosts: Namespace) -> Iterator[None]:
    """On each a server that sends CONTENT to whoever asks, and takes what he says until he ends."""
    listeners = []
    for host in hosts:
        listener = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((SERVER, 80))
        listener.listen()
        listeners.append(listener)
    threads = [threading.Thread(target=serve, args=[listener]) for listener in listeners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(PATIENCE)
        for listener in listeners:
            listener.close()


def serve(listener: socket.socket) -> None:
    with listener.accept()[0] as sock:
        sock.settimeout(PATIENCE)
        assert sock.recv(100) == b"get"
        sock.sendall(CONTENT)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 20):
            pass


def fetch(client: Namespace) -> bytes:
    """Ask for it."""
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((SERVER, 80))
        sock.sendall(b"get")
        got = bytearray()
        while data := sock.recv(1 << 20):
            got += data
        return bytes(got)


PORTS = {
    "tap": ("tap", 'tap = "e0"\nnetns = "{there}"'),
    "plain": ("tap", 'tap = "e0"\nnetns = "{there}"\noffload = false'),
    "packet": ("veth", 'packet = "{name}"\nnetns = "{here}"'),
}


@pytest.mark.parametrize("kinds", [("tap", "tap"), ("packet", "packet"), ("tap", "packet"), ("tap", "plain")], ids=str)
def test_a_forwarder_carries_a_download(
    topology: Start, space: Callable[[], Namespace], kinds: tuple[str, str]
) -> None:
    here, hosts = space(), [space(), space()]
    text = 'wires = ["client -> server", "server -> client"]\n'
    for name, kind, host in zip(("client", "server"), kinds, hosts, strict=True):
        device, lines = PORTS[kind]
        if device == "tap":
            host.tap("e0")
        else:
            veth(host, "e0", here, name)
        configure(host, server=name == "server")
        text += f"[port.{name}]\n{lines.format(there=host.name, here=here.name, name=name)}\n"
    running = topology(text).running()
    for host in hosts:
        host.until_up("e0")
    with serving(hosts[1]):
        assert fetch(hosts[0]) == CONTENT
    ports = running.stop()["ports"]
    assert ports["server"]["received"] == ports["client"]["sent"]
    assert ports["client"]["received"] == ports["server"]["sent"]
    for account in ports.values():
        assert (account["dropped"]["frames"], account["pending"]) == (0, 0)
    size = ports["server"]["received"]["bytes"] / ports["server"]["received"]["frames"]
    assert (size > 5000) == (kinds[1] != "plain")


def test_one_host_as_it_comes_along(topology: Start, space: Callable[[], Namespace]) -> None:
    hosts = {name: space() for name in ("client", "primary", "secondary")}
    text = (HERE / "one-host.toml").read_text().replace("/run/coloproxy.control", "DIR/control")
    for name, host in hosts.items():
        host.tap("e0")
        configure(host, server=name != "client")
        assert f'netns = "{name}"' in text
        text = text.replace(f'netns = "{name}"', f'netns = "{host.name}"')
    running = topology(text).running()
    for host in hosts.values():
        host.until_up("e0")
    with serving(hosts["primary"], hosts["secondary"]):
        assert fetch(hosts["client"]) == CONTENT
    summary = running.stop()
    assert summary["elements"]["compare"] | {"verified_bytes": len(CONTENT), "divergences": 0} == (
        summary["elements"]["compare"]
    )
    assert summary["elements"]["rewriter"]["connections"] == 1
    assert all(account["dropped"]["frames"] == 0 for account in summary["ports"].values())
