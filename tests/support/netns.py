"""Network namespaces for tests, with devices in them, and frames on these devices as anybody's socket sees them."""

import contextlib
import itertools
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from coloproxy.lab.sandbox import privileged
from coloproxy.link.netns import inside
from support.frames import ones
from support.wire import PATIENCE

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
TP_STATUS_VLAN_VALID = 1 << 4
IPV6_OFF = "net/ipv6/conf/all/disable_ipv6"

needs_root = pytest.mark.skipif(
    not (privileged() or os.environ.get("COLOPROXY_CI")), reason="needs root, to make namespaces and devices"
)

_numbers = itertools.count()


class Namespace:
    """A network namespace by name; nothing in it speaks by itself."""

    def __init__(self) -> None:
        self.name = f"coloproxy-test-{os.getpid()}-{next(_numbers)}"
        ip("netns", "add", self.name)
        with inside(self.name), contextlib.suppress(OSError):
            Path("/proc/sys", IPV6_OFF).write_text("1")
        self.ip("link set lo up")

    def ip(self, command: str) -> str:
        """`ip` in here."""
        return ip("-n", self.name, *command.split())

    def tc(self, command: str) -> None:
        subprocess.run(["tc", "-n", self.name, *command.split()], check=True, capture_output=True)

    def tap(self, device: str, queue: int = 20000) -> None:
        """A TAP device that stays when nobody has it open."""
        self.ip(f"tuntap add {device} mode tap")
        self.ip(f"link set {device} txqueuelen {queue} up")

    def until_up(self, device: str) -> None:
        """Wait until a device sends what it is given: a carrier that came is noticed a little later."""
        end = time.monotonic() + PATIENCE
        while "state UP" not in self.ip(f"link show {device}"):
            assert time.monotonic() < end
            time.sleep(0.01)

    def socket(self, *arguments: int) -> socket.socket:
        """A socket that is in here, wherever it is used."""
        with inside(self.name):
            made = socket.socket(*arguments)
        made.settimeout(PATIENCE)
        return made

    def raw(self, device: str, vnet_hdr: bool = False) -> "Raw":
        return Raw(self, device, vnet_hdr)

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def veth(one: Namespace, device: str, other: Namespace, other_device: str) -> None:
    """Two devices joined by a wire, both up."""
    one.ip(f"link add {device} type veth peer name {other_device} netns {other.name}")
    one.ip(f"link set {device} up")
    other.ip(f"link set {other_device} up")
    one.until_up(device)
    other.until_up(other_device)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Raw:
    """A device's frames, sent and received by another packet socket than coloproxy's; with vnet_hdr behind the kernel's
    virtio-net header."""

    def __init__(self, where: Namespace, device: str, vnet_hdr: bool) -> None:
        self.sock = where.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._tag_at = 12 + (10 if vnet_hdr else 0)
        if vnet_hdr:
            self.sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.sock.bind((device, ETH_P_ALL))

    def send(self, *frames: bytes) -> int:
        """Send frames; how many the kernel took."""
        taken = 0
        for frame in frames:
            with contextlib.suppress(OSError):
                taken += self.sock.send(frame) == len(frame)
        return taken

    def frames(self, count: int) -> list[bytes]:
        """The next so many, with the tag in its place that the kernel takes off every frame."""
        return [self._frame() for _ in range(count)]

    def _frame(self) -> bytes:
        frame, ((_, _, auxdata),), _, _ = self.sock.recvmsg(1 << 17, 64)
        status, tci, tpid = struct.unpack("I12xHH", auxdata)
        tag = struct.pack(">HH", tpid, tci) if status & TP_STATUS_VLAN_VALID else b""
        return frame[: self._tag_at] + tag + frame[self._tag_at :]

    def silent(self, seconds: float = 0.2) -> bool:
        end = time.monotonic() + seconds
        self.sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            self.sock.recv(1 << 17)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        self.sock.close()


def finished(frame: bytes, vnet_len: int = 10) -> bytes:
    """A bare frame whose checksum is whole, from one with a virtio-net header that says where it is yet to be made."""
    flags, _, _, _, start, offset = struct.unpack_from("<BBHHHH", frame)
    bare = bytearray(frame[vnet_len:])
    if flags & 1:
        total = ~ones(bytes(bare[start:])) & 0xFFFF
        struct.pack_into(">H", bare, start + offset, total)
    return bytes(bare)
