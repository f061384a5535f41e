"""Three members of etcd on this machine."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MEMBERS = 3


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


class Cluster:
    """`address` is what a guest's file says of it."""

    def __init__(self, folder: Path) -> None:
        self.ports = ports = free_ports(2 * MEMBERS)
        clients = [f"http://127.0.0.1:{port}" for port in ports[:MEMBERS]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[MEMBERS:]]
        whole = ",".join(f"m{number}={peer}" for number, peer in enumerate(peers))
        self.address = self.at("127.0.0.1")
        self._folder, self._clients = folder, clients
        self._commands = [
            [
                "etcd", "--name", f"m{number}", "--data-dir", str(folder / f"m{number}"),
                "--listen-client-urls", client.replace("127.0.0.1", "0.0.0.0"),
                "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", whole, "--log-level", "error",
            ]
            for number, (client, peer) in enumerate(zip(clients, peers, strict=True))
        ]  # fmt: skip
        self.members = [self._start(number) for number in range(MEMBERS)]
        self.wait()

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        with (self._folder / f"m{number}.log").open("ab") as log:
            return subprocess.Popen(self._commands[number], stdout=log, stderr=log)

    def wait(self) -> None:
        """All members answer."""
        end = time.monotonic() + 30
        for client in self._clients:
            while not healthy(client):
                assert time.monotonic() < end, f"etcd does not answer at {client}"
                time.sleep(0.05)

    def at(self, host: str) -> str:
        """The lease, for those who know this machine by that address."""
        return self.at_each([host] * MEMBERS)

    def at_each(self, hosts: list[str]) -> str:
        """The lease, for those who know each member by an address of its own."""
        pairs = zip(hosts, self.ports[:MEMBERS], strict=True)
        return f"etcd:{','.join(f'http://{host}:{port}' for host, port in pairs)}"

    @contextmanager
    def without(self, *numbers: int) -> Iterator[None]:
        """Some members stand still."""
        for number in numbers:
            os.kill(self.members[number].pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in numbers:
                os.kill(self.members[number].pid, signal.SIGCONT)

    @contextmanager
    def killed(self, *numbers: int) -> Iterator[None]:
        """Some members are killed, and started again."""
        for number in numbers:
            self.members[number].kill()
            self.members[number].wait()
        try:
            yield
        finally:
            for number in numbers:
                self.members[number] = self._start(number)
            self.wait()

    def end(self) -> None:
        for member in self.members:
            member.kill()
            member.wait()


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return b"true" in answer.read()
    except (OSError, urllib.error.URLError):
        return False
