"""With keys, who listens between the hosts sees nothing of the guest, and QEMU speaks to no stranger."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coloproxy.guest import here
from coloproxy.guest.image import block
from coloproxy.guest.tls import context, for_qemu, make_keys
from coloproxy.link.netns import inside
from support.etcd import free_ports
from support.netns import ETH_P_ALL
from support.pair import Pair, running
from support.qmp import qmp
from support.writer import MIB, Disk

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(120)]

KNOWN = [block()[at : at + 32] for at in range(1000, 1 << 20, 1 << 16)]  # what the guest has in its memory, once
SO_RCVBUFFORCE = 33
MAGIC = b"QEVM"  # how a copy begins


class Listener(threading.Thread):
    """Looks at all that is on the wire between the hosts: how much it was, and how often something known was in it."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(daemon=True)
        with inside(here.namespace(pair.file, "a")):
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._sock.bind(("wire", ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        self._sock.settimeout(0.2)
        self.ended = False
        self.heard = self.found = 0

    def run(self) -> None:
        while not self.ended:
            self._look()
        with contextlib.suppress(BlockingIOError):  # what was there when it ended
            self._sock.setblocking(False)
            while True:
                self._look()

    def _look(self) -> None:
        with contextlib.suppress(TimeoutError):
            frame = self._sock.recv(1 << 17)
            self.heard += len(frame)
            self.found += sum(known in frame for known in KNOWN)


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
def test_what_a_listener_learns_of_the_guest(tmp_path: Path, keys: bool) -> None:
    make_keys(tmp_path / "keys", ["a", "b"])
    more = f'keys = "{tmp_path}/keys"' if keys else ""
    with running(tmp_path, protect=False, extra=more, disk=8 * MIB) as pair:
        disk = Disk(pair)
        disk.say("fill 1 0")
        listener = Listener(pair)
        listener.start()
        pair.command("protect")
        pair.command("checkpoint")
        copied = listener.found
        for number in range(2, 6):
            disk.say(f"fill {number} 0")
        listener.ended = True
        listener.join(60)
        assert not listener.is_alive()
    assert listener.heard > 20 << 20
    assert listener.found == 0 if keys else listener.found > copied + len(KNOWN) > 2 * len(KNOWN)


class Qemu:
    """A QEMU of host a's, without a guest, that expects host b; what it does, as the end of a connection."""

    def __init__(self, folder: Path, end: str) -> None:
        make_keys(folder / "right", ["a", "b"])
        make_keys(folder / "wrong", ["a", "b"])
        self._folder, self._end = folder, end
        secrets = for_qemu(folder / "right", "a", "b", folder)
        command = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", *secrets,
                   "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
                   *(["-incoming", "defer"] if end == "server" else [])]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while not (folder / "qmp").exists():
            assert self._process.poll() is None
            time.sleep(0.02)

    def copy(self, port: int) -> None:
        parameters = ("migrate-set-parameters", {"tls-creds": self._end, "tls-hostname": "b"})
        command = "migrate" if self._end == "client" else "migrate-incoming"
        qmp(self._folder / "qmp", parameters, (command, {"uri": f"tcp:127.0.0.1:{port}"}))

    def other(self, keys: str) -> ssl.SSLContext:
        """For the other end, with some keys; a stranger, who has the wrong ones, does not mind who we are."""
        made = context(self._folder / keys, "b", "a", self._end == "client")
        if keys == "wrong":
            made.load_verify_locations(self._folder / "right" / "a.crt")
        return made

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def without_guest(end: str) -> Iterator[Qemu]:
    folder = Path(tempfile.mkdtemp(prefix="colo-"))  # a short path: a socket is in it
    made = Qemu(folder, end)
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder)


@pytest.mark.parametrize("keys", ["right", "wrong"])
def test_a_copy_goes_to_the_other_host_only(keys: str) -> None:
    copied = b""
    with without_guest("client") as qemu, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        qemu.copy(server.getsockname()[1])
        sock, _ = server.accept()
        sock.settimeout(20)
        with sock, contextlib.suppress(OSError), qemu.other(keys).wrap_socket(sock, server_side=True) as secret:
            copied = secret.recv(4)
    assert copied == (MAGIC if keys == "right" else b"")


@pytest.mark.parametrize("keys", ["right", "wrong"])
def test_a_copy_is_taken_from_the_other_host_only(keys: str) -> None:
    (port,) = free_ports(1)
    with without_guest("server") as qemu:
        qemu.copy(port)
        with socket.create_connection(("127.0.0.1", port), 20) as sock, qemu.other(keys).wrap_socket(sock) as secret:
            secret.settimeout(2)
            try:
                said = secret.recv(1)
            except TimeoutError:
                refused = False  # it waits for the copy to begin
            except OSError:
                refused = True
            else:
                refused = said == b""
    assert refused == (keys == "wrong")
