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

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        ports = free_ports(2 * MEMBERS)
        clients = [f"http://{host}:{port}" for port in ports[:MEMBERS]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[MEMBERS:]]
        whole = ",".join(f"m{number}={peer}" for number, peer in enumerate(peers))
        self.address = f"etcd:{','.join(clients)}"
        self.members: list[subprocess.Popen[bytes]] = []
        for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            command = [
                "etcd", "--name", f"m{number}", "--data-dir", str(folder / f"m{number}"),
                "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", whole, "--log-level", "error",
            ]  # fmt: skip
            log = (folder / f"m{number}.log").open("wb")
            self.members.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
        end = time.monotonic() + 30
        for client in clients:
            while not healthy(client):
                assert time.monotonic() < end, f"etcd does not answer at {client}"
                time.sleep(0.05)

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
