"""Comparators on the same kind of sockets, to be fed the same and watched alike: QEMU's and coloproxy's.

Nothing is timed. After every step a frame that passes at once follows the primary's, and a datagram that both send
follows the secondary's: when these come out, all that went in before them has been looked at.
"""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from said import Unit

from support.frames import MACS, ethernet, udp
from support.wire import PATIENCE, connect, framed

VNET = 12  # bytes of the virtio-net header where there is one
FOREVER = 600_000  # ms
TRACED = "colo_compare_*", "colo_proxy_*", "colo_old_packet_*"
COMMON = {  # what QEMU and coloproxy trace alike
    "colo_compare_icmp_miscompare", "colo_compare_ip_info", "colo_compare_main", "colo_compare_tcp_info",
    "colo_compare_udp_miscompare", "colo_old_packet_check_found", "colo_proxy_main", "colo_proxy_main_vnet_info",
}  # fmt: skip
DO_CHECKPOINT = struct.pack(">I", 13) + b"DO_CHECKPOINT"
FENCE_TYPE = 0x88B5  # an ethertype for local experiments (IEEE 802); unknown to both, so it passes
FENCE_ADDRESS = "10.255.255.1"


def qemu_program() -> str | None:
    """The QEMU to contest with."""
    return os.environ.get("QEMU") or shutil.which("qemu-system-x86_64")


class Contestant:
    """A comparator that listens on p, s, o and n in a folder. `trace` is the file that its trace goes to."""

    trace: Path

    def __init__(self, folder: Path, vnet_hdr: bool, command: Sequence[str]) -> None:
        self.folder, self.vnet_hdr = folder, vnet_hdr
        self.passes = False  # from the primary to the output
        self._half = b""
        self._out: list[Unit] = []
        self._notes = b""
        self._fences = 0
        self._traced = 0
        self._sockets: dict[str, socket.socket] = {}
        with open(folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True
            )

    def path(self, name: str) -> str:
        """Where it listens."""
        return str(self.folder / name)

    def connect(self) -> Any:
        """Connect all four; returns when frames pass from the primary to the output."""
        for name in "ospn":
            self.reconnect(name)
        end = time.monotonic() + PATIENCE
        while not self.passes:
            assert time.monotonic() < end, f"no frame came out: {self.errors()}"
            self.send("p", self._fence_frame(0))
            self._read(0.05)
        self.fence()
        self.fence("s")
        self.init()
        return self

    def reconnect(self, name: str) -> None:
        """Connect one of the sockets anew."""
        if name in self._sockets:
            self._sockets[name].close()
        while not Path(self.path(name)).exists():
            assert self.alive(), f"it did not start: {self.errors()}"
            time.sleep(0.01)
        self._sockets[name] = connect(self.path(name))
        self._sockets[name].settimeout(PATIENCE)

    def init(self) -> None:
        """Say hello on the notify socket, and wait for the answer: then requests are heard."""
        self.note(b"COLO_USERSPACE_PROXY_INIT")
        answer = b"COLO_COMPARE_GET_XEN_INIT"
        end = time.monotonic() + PATIENCE
        while answer not in self._notes:
            assert time.monotonic() < end, f"no answer on the notify socket: {self._notes!r}"
            self._hear(0.05)
        self._notes = self._notes.replace(struct.pack(">I", len(answer)) + answer, b"")

    def note(self, text: bytes) -> None:
        """Send a message on the notify socket."""
        self._sockets["n"].sendall(framed(text, 0 if self.vnet_hdr else None))

    # What goes in

    def wire(self, unit: Unit) -> bytes:
        """A frame as it goes over the sockets."""
        return framed(unit.data, unit.vnet if self.vnet_hdr else None)

    def unit(self, frame: bytes) -> Unit:
        """A bare frame with an empty virtio-net header, where there are such."""
        return Unit(bytes(VNET) + frame, VNET) if self.vnet_hdr else Unit(frame)

    def send(self, side: str, *frames: bytes) -> None:
        """Bare frames of one replica, "p" or "s"."""
        self.raw(side, b"".join(self.wire(self.unit(frame)) for frame in frames))

    def raw(self, side: str, data: bytes) -> None:
        """Bytes of one replica."""
        self._sockets[side].sendall(data)

    def step(self, side: str, *frames: bytes) -> list[bytes]:
        """Frames of one replica, and what came out because of them."""
        self.send(side, *frames)
        return self.settle(side)

    def p(self, *frames: bytes) -> list[bytes]:
        """The primary sends these; what came out."""
        return self.step("p", *frames)

    def s(self, *frames: bytes) -> list[bytes]:
        """The secondary sends these; what came out."""
        return self.step("s", *frames)

    def settle(self, side: str = "p") -> list[bytes]:
        """Wait until everything that side sent has been looked at; the bare frames that came out meanwhile."""
        return [unit.bare for unit in self.feed(side)]

    def feed(self, side: str, *units: Unit) -> list[Unit]:
        """Frames of one replica with their virtio-net headers, and what came out because of them."""
        self.raw(side, b"".join(map(self.wire, units)))
        self.fence(side)
        self.fence()  # the turn that asks for a checkpoint is over when a second fence has passed
        self._hear(0)
        taken, self._out = self._out, []
        return taken

    def checkpoint(self) -> list[bytes]:
        """Say that a checkpoint has been made; the bare frames released because of it."""
        return [unit.bare for unit in self.flush()]

    def flush(self) -> list[Unit]:
        """Say that a checkpoint has been made; what is released because of it. Forgets the requests so far."""
        self._fences += 1
        sentinel = udp(struct.pack(">I", self._fences), sport=2, dst=FENCE_ADDRESS)
        self.send("p", sentinel)
        out = self.feed("p")
        self.note(b"COLO_CHECKPOINT")
        end = time.monotonic() + PATIENCE
        while self.unit(sentinel) not in self._out:
            assert time.monotonic() < end, f"a checkpoint released nothing: {self.errors()}"
            self._read(0.05)
        out += self.feed("p")
        self._notes = b""
        out.remove(self.unit(sentinel))
        return out

    # What comes out

    def requests(self) -> int:
        """How many checkpoints were asked for since the last one."""
        self._hear(0)
        count = len(self._notes) // len(DO_CHECKPOINT)
        assert (DO_CHECKPOINT * (count + 1)).startswith(self._notes), self._notes
        return count

    def wait_for_request(self, count: int = 1) -> None:
        """Wait until so many have been asked for."""
        end = time.monotonic() + PATIENCE
        while self.requests() < count:
            assert time.monotonic() < end, "no checkpoint was asked for"
            self._hear(0.05)

    def fence(self, side: str = "p") -> None:
        """Wait until all that was sent before has been looked at."""
        self._fences += 1
        if side == "p":
            expected = self._fence_frame(self._fences)
            self.send("p", expected)
        else:
            expected = udp(struct.pack(">I", self._fences), sport=1, dst=FENCE_ADDRESS)
            self.send("p", expected)
            self.fence()
            self.send("s", expected)
        end = time.monotonic() + PATIENCE
        while self.unit(expected) not in self._out:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.errors()}"
            assert time.monotonic() < end, f"the fence did not come out: {self.errors()}"
            self._read(0.05)
        self._out.remove(self.unit(expected))

    @staticmethod
    def _fence_frame(number: int) -> bytes:
        return ethernet(FENCE_TYPE, struct.pack(">I", number).ljust(46, b"\0"), macs=MACS)

    def _read(self, seconds: float) -> None:
        for data in self._receive("o", seconds):
            self._half += data
            self._out += self._cut()

    def _cut(self) -> list[Unit]:
        """The frames that have come whole, without those that were sent to see whether any pass."""
        head, at, units = 8 if self.vnet_hdr else 4, 0, []
        while len(self._half) - at >= head:
            size, vnet = struct.unpack_from(">II", self._half.ljust(at + 8), at)
            if len(self._half) - at < head + size:
                break
            units.append(Unit(self._half[at + head : at + head + size], vnet if self.vnet_hdr else 0))
            at += head + size
        self._half = self._half[at:]
        first = self.unit(self._fence_frame(0))
        self.passes |= first in units
        return [unit for unit in units if unit != first]

    def _hear(self, seconds: float) -> None:
        self._notes += b"".join(self._receive("n", seconds))

    def _receive(self, name: str, seconds: float) -> list[bytes]:
        sock = self._sockets[name]
        sock.settimeout(seconds)
        try:
            return [sock.recv(1 << 20)]
        except (TimeoutError, BlockingIOError):
            return []
        finally:
            sock.settimeout(PATIENCE)

    def take(self, count: int) -> list[bytes]:
        """The next so many bare frames, without a fence."""
        end = time.monotonic() + PATIENCE
        while len(self._out) < count:
            assert time.monotonic() < end, f"{len(self._out)} of {count} frames came out: {self.errors()}"
            self._read(0.05)
        taken, self._out = self._out[:count], self._out[count:]
        return [unit.bare for unit in taken]

    def stalls(self, side: str, frame: bytes) -> bool:
        """Whether it has stopped reading a replica's frames, so that the socket fills up."""
        self._sockets[side].settimeout(2)
        try:
            self.raw(side, self.wire(self.unit(frame)) * ((1 << 20) // len(frame)))
        except TimeoutError:
            return True
        return False

    # Its process

    def errors(self) -> str:
        """What it said."""
        return (self.folder / "stderr").read_text(errors="replace")

    def traced(self) -> list[str]:
        """The lines of its trace since the last time, of events that both have, for all that has been waited for."""
        with open(self.trace) as file:
            file.seek(self._traced)
            lines = file.read().splitlines()
            self._traced = file.tell()
        return [line for line in lines if line.split(" ")[0] in COMMON]

    def ended(self) -> int:
        """Wait for it to end by itself; its status."""
        return self.process.wait(PATIENCE)

    def alive(self) -> bool:
        """Whether it is still there."""
        return self.process.poll() is None

    def end(self) -> None:
        """End it, and whatever it started."""
        for sock in self._sockets.values():
            sock.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Qemu(Contestant):
    """QEMU with nothing in it but colo-compare in a thread of its own."""

    def __init__(self, folder: Path, vnet_hdr: bool = False, trace: bool = False, **properties: int) -> None:
        program = qemu_program()
        assert program is not None, "qemu-system-x86_64 is not installed"
        command = [program, "-machine", "none", "-display", "none", "-nodefaults", "-monitor", "none"]
        for name in "pson":
            command += ["-chardev", f"socket,id={name},path={folder / name},server=on,wait=off"]
        settings = {"compare_timeout": FOREVER, **properties}
        compare = (
            "colo-compare,id=c,primary_in=p,secondary_in=s,outdev=o,notify_dev=n,iothread=t,vnet_hdr_support="
            + ("on" if vnet_hdr else "off")
            + "".join(f",{name}={value}" for name, value in settings.items())
        )
        for pattern in TRACED if trace else ():
            command += ["-trace", pattern]
        super().__init__(folder, vnet_hdr, [*command, "-object", "iothread,id=t", "-object", compare])
        self.trace = folder / "stderr"


class Coloproxy(Contestant):
    """`coloproxy compare` on the same sockets."""

    # As QEMU does it: judge at once, never alter a frame. Then what comes out can be compared byte by byte.
    AT_ONCE: ClassVar = (
        "--reorder-grace", "0", "--epoch-grace", "0", "--ack-rule", "hold", "--no-prefix-release",
        "--retry-after", str(FOREVER), "--compare-timeout", str(FOREVER),
    )  # fmt: skip

    def __init__(self, folder: Path, vnet_hdr: bool, *options: str, trace: bool = False) -> None:
        command = [sys.executable, "-c", "from coloproxy.cli import main; main()", "compare"]
        for option, name in (("primary-in", "p"), ("secondary-in", "s"), ("outdev", "o"), ("notify-dev", "n")):
            command += [f"--{option}", f"unix:{folder / name},server"]
        if not any(option == "--compare-timeout" for option in options):
            command += ["--compare-timeout", str(FOREVER)]
        self.trace = folder / "trace"
        for pattern in TRACED if trace else ():
            command += ["--trace", pattern, "--trace-file", str(self.trace)]
        super().__init__(folder, vnet_hdr, [*command, *(["--vnet-hdr"] if vnet_hdr else []), *options])
