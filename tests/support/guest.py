"""One real guest behind a real `coloproxy run`: its card is a port, its network a TAP device in a namespace."""

import hashlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

from coloproxy.guest import image
from coloproxy.link.netns import inside
from support.frames import ones
from support.netns import Namespace
from support.topology import Topology

ADDRESS, OURS = "10.77.0.1", "10.77.0.2"
ECHO, SINK = 7001, 7004
MEMORY = "160M"
BOOT = 90.0  # seconds that it may take

TEXT = """
wires = ["network -> guest", "guest -> network"]
[port.network]
tap = "e0"
netns = "{netns}"
offload = {offload}
[port.guest]
{port}
"""
CARD = 'vhost_user = "unix:DIR/card,server"\noffload = {offload}'
STREAM = 'socket = "unix:DIR/card,server"'


class Guest:
    """A guest that is up. `device`: more for its card."""

    def __init__(
        self, folder: Path, netdev: list[str], netns: Namespace, device: str = "", memory: str = MEMORY
    ) -> None:  # fmt: skip
        self.folder, self.netns = folder, netns
        made = image.build(folder, f"{ADDRESS}/24")
        self.console = folder / "console.log"
        command = [
            "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", memory, "-nodefaults",
            "-display", "none", "-kernel", str(made.kernel), "-initrd", str(made.initrd),
            "-append", "console=ttyS0 quiet panic=1", "-serial", f"file:{self.console}",
            "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", *netdev,
            "-device", f"virtio-net-pci,netdev=hn0,mac=52:54:00:01:77:01,romfile=,vectors=0{device}",
        ]  # fmt: skip
        with (folder / "qemu.log").open("wb") as log, inside(netns.name):
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def booted(self) -> "Guest":
        end = time.monotonic() + BOOT
        while image.READY not in self.said():
            assert self.process.poll() is None, (self.folder / "qemu.log").read_text()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)
        return self

    def said(self) -> str:
        return self.console.read_text() if self.console.exists() else ""

    def connect(self, port: int) -> socket.socket:
        sock = self.netns.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.connect((ADDRESS, port))
        return sock

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def shared(folder: Path, memory: str = MEMORY) -> list[str]:
    """QEMU's arguments for a card that is a port of ours, which listens."""
    return [
        "-object", f"memory-backend-memfd,id=mem,size={memory},share=on", "-machine", "memory-backend=mem",
        "-chardev", f"socket,id=card,path={folder / 'card'},reconnect=1",
        "-netdev", "vhost-user,id=hn0,chardev=card,vhostforce=on",
    ]  # fmt: skip


def stream(folder: Path) -> list[str]:
    """The same for QEMU's framing."""
    return ["-netdev", f"stream,id=hn0,server=off,addr.type=unix,addr.path={folder / 'card'}"]


@contextmanager
def network() -> Iterator[Namespace]:
    """A namespace with the TAP device e0, and our address on it."""
    made = Namespace()
    try:
        made.tap("e0")
        made.ip(f"addr add {OURS}/24 dev e0")
        yield made
    finally:
        made.remove()


def topology(folder: Path, netns: Namespace, *options: str, card: bool = True, offload: bool = True) -> Topology:
    """The proxy, at work."""
    said = str(offload and card).lower()
    port = (CARD if card else STREAM).format(offload=said)
    return Topology(folder, TEXT.format(netns=netns.name, offload=said, port=port), *options).running()


def asked(guest: Guest, request: bytes, data: bytes = b"") -> bytes:
    """The body of an HTTP answer."""
    with guest.connect(80) as sock:
        sock.sendall(request + b" HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        answer = HTTPResponse(sock)
        answer.begin()
        return answer.read()


def fetched(guest: Guest, count: int) -> bool:
    """Whether so many mebibytes come as they are there."""
    return asked(guest, b"GET /cgi-bin/blocks?%d" % count) == image.block() * count


def taken(guest: Guest, data: bytes) -> bool:
    """Whether what is sent arrives as it is here."""
    return asked(guest, b"POST /cgi-bin/sum", data).split()[0].decode() == hashlib.md5(data).hexdigest()


def echoed(guest: Guest, data: bytes) -> bool:
    """Whether what is said comes back."""
    with guest.connect(ECHO) as sock:
        talker = threading.Thread(target=sock.sendall, args=[data])
        talker.start()
        got = bytearray()
        while len(got) < len(data) and (part := sock.recv(1 << 20)):
            got += part
        talker.join()
    return got == data


def pinged(guest: Guest, size: int = 1000) -> bool:
    """Whether it answers an ICMP echo request (RFC 792)."""
    body = struct.pack(">HH", 77, 1) + bytes(size)
    with guest.netns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.sendto(b"\x08\0" + struct.pack(">H", ~ones(b"\x08\0\0\0" + body) & 0xFFFF) + body, (ADDRESS, 0))
        while (answer := sock.recv(65536)[20:])[0] != 0:
            pass
    return answer[4:] == body
