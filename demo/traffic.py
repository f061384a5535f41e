"""Makes real traffic: a web server and a client, two processes, and a capture of the frames the server sent.

    python -m demo.traffic SIZE OUT own|shared

OUT gets the server's frames, each behind its length as 32 bits, as QEMU frames them. `own`: the network namespace is
ours alone, and its loopback device is made like an Ethernet card; `shared`: it is others' too, and stays as it is.
"""

import array
import fcntl
import http.server
import multiprocessing
import random
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

import proxies
from coloproxy.errors import ColoproxyError

FORK = multiprocessing.get_context("fork")  # both processes are given the ledger as it lies in memory
CHUNK = 16 << 10
PATIENCE = 120.0  # seconds that the traffic may take
QUIET = 0.3  # seconds after the last frame at which no more are expected
LONGEST = 1 << 17  # bytes of a frame; a loopback device carries up to 64 KiB in one
SIOCSIFFLAGS, SIOCSIFMTU, SIOCETHTOOL = 0x8914, 0x8922, 0x8946  # linux/sockios.h
IFF_UP_RUNNING = 0x41
ETHTOOL_STSO, ETHTOOL_SGSO = 0x1F, 0x24  # linux/ethtool.h: segmentation offload, of TCP and in general
SOL_PACKET, PACKET_STATISTICS = 263, 6  # linux/if_packet.h
ETH_P_IP = 0x0800  # bound to it, a packet socket sees the loopback's frames once, where they arrive


class Network(NamedTuple):
    """Where the traffic is made: in words, the command that brings a program there, and whether it is ours alone."""

    words: str
    command: tuple[str, ...]
    own: bool


NETWORKS = (
    Network("in a network of their own", ("unshare", "--net"), True),
    Network("in a network of their own", ("unshare", "--map-root-user", "--net"), True),
    Network("over this machine's loopback", (), False),
)
PROBE = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"


# Seen from the demonstration


def network() -> Network:
    """The first of the networks in which frames may be captured. Raises ColoproxyError if there is none."""
    for found in NETWORKS:
        try:
            tried = subprocess.run([*found.command, sys.executable, "-c", PROBE], capture_output=True, check=False)
        except FileNotFoundError:
            continue
        if tried.returncode == 0:
            return found
    raise ColoproxyError(
        "frames cannot be captured here: run the demonstration as root, or allow user namespaces"
        " (sysctl user.max_user_namespaces), or grant CAP_NET_RAW."
    )


def make(size: int, out: Path, place: Network) -> None:
    """Let a server send `size` bytes, and write its frames to `out`. Raises ColoproxyError if that fails."""
    log = out.with_suffix(".log")
    kind = "own" if place.own else "shared"
    command = [*place.command, sys.executable, "-m", "demo.traffic", str(size), str(out), kind]
    with proxies.running(command, log) as process:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise ColoproxyError(f"the traffic was not over after {PATIENCE:.0f} s.") from None
    if process.returncode:
        words = log.read_text(errors="replace").strip().splitlines()
        raise ColoproxyError(f"the traffic could not be made: {words[-1] if words else process.returncode}")


# Seen from the process that makes it


def ledger(size: int) -> bytes:
    """Bank transfers, one a line, the same every time: in these, any digit that differs matters."""
    bits = random.Random(2018).getrandbits

    def line(number: int) -> bytes:
        x = bits(64)
        sender, receiver, units, cents = x % 9999999967, (x >> 20) % 9999999967, (x >> 40) % 100000, x % 100
        return b"%09d %010d -> %010d %8d.%02d EUR\n" % (number, sender, receiver, units, cents)

    return b"".join(map(line, range(size // len(line(0)) + 1)))[:size]


def loopback_up() -> None:
    """Bring up the loopback device with an Ethernet's MTU and without segmentation offload."""
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16sI12x", b"lo", 1500))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
        for command in (ETHTOOL_STSO, ETHTOOL_SGSO):
            value = array.array("B", struct.pack("II", command, 0))
            fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP8x", b"lo", value.buffer_info()[0]))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every request with the ledger, no faster than it is captured, so that the capture loses nothing."""

    disable_nagle_algorithm = True  # a loopback's segments are larger than what is written at a time
    body: bytes
    captured: "Synchronized[int]"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        for at in range(0, len(self.body), CHUNK):
            while at - self.captured.value > CHUNK:
                time.sleep(0.0002)
            self.wfile.write(self.body[at : at + CHUNK])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(server: http.server.HTTPServer, body: bytes, captured: "Synchronized[int]") -> None:
    """The server's process: one answer."""
    Handler.body, Handler.captured = body, captured
    server.handle_request()


def fetch(port: int, body: bytes) -> None:
    """The client's process: one request."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        if answer.read() != body:
            raise SystemExit("the client did not receive what the server sent")


def main() -> None:
    """Make the traffic and capture it."""
    size, out, own = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "own"
    if own:
        loopback_up()
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    sniffer.bind(("lo", 0))
    body, captured = ledger(size), FORK.Value("q")
    server = http.server.HTTPServer(("127.0.0.1", 80 if own else 0), Handler)
    port = server.server_port
    ends = ((serve, (server, body, captured)), (fetch, (port, body)))
    processes = [FORK.Process(target=target, args=args) for target, args in ends]
    for process in processes:
        process.start()
    capture(sniffer, port, out, captured, processes)
    lost = struct.unpack("II", sniffer.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed or lost:
        raise SystemExit(f"{len(failed)} of server and client failed, {lost} frames were lost")


def capture(
    sniffer: socket.socket, port: int, out: Path, captured: "Synchronized[int]", processes: Sequence[BaseProcess]
) -> None:
    """Write each frame that the server sends, until both processes have ended and nothing more comes."""
    sniffer.settimeout(QUIET)
    source = struct.pack(">H", port)
    with out.open("wb") as file:
        while True:
            try:
                frame = sniffer.recv(LONGEST)
            except TimeoutError:
                if not any(process.is_alive() for process in processes):
                    return
                continue
            if frame[34:36] == source and frame[23] == socket.IPPROTO_TCP:  # an IPv4 header without options
                file.write(struct.pack(">I", len(frame)) + frame)
                captured.value += len(frame) - 34 - (frame[46] >> 4) * 4


if __name__ == "__main__":
    main()
