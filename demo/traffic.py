"""Makes real traffic in a network of its own: a web server, a client, and a capture of what the server sent.

    python -m demo.traffic SIZE OUT      (inside a fresh network namespace)

OUT gets the server's frames, each behind its length as 32 bits, as QEMU frames them.
"""

import fcntl
import http.server
import multiprocessing
import random
import socket
import struct
import sys
import threading
import time
import urllib.request
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

PORT = 8080
CHUNK = 16 << 10
SIOCSIFFLAGS, SIOCSIFMTU, SIOCETHTOOL = 0x8914, 0x8922, 0x8946
IFF_UP_RUNNING = 0x41
ETHTOOL_STSO, ETHTOOL_SGSO = 0x1F, 0x24
ETH_P_IP = 0x0800  # bound to it, a packet socket sees the loopback's frames once, where they arrive


def loopback_up() -> None:
    """Bring up the loopback device with an Ethernet's MTU and without segmentation offload."""
    import array

    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16sI12x", b"lo", 1500))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING))
        for command in (ETHTOOL_STSO, ETHTOOL_SGSO):
            value = array.array("B", struct.pack("II", command, 0))
            fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP8x", b"lo", value.buffer_info()[0]))


class Handler(http.server.BaseHTTPRequestHandler):
    body = b""
    captured: "Synchronized[int]"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        for at in range(0, len(self.body), CHUNK):
            while at - self.captured.value > CHUNK:  # no faster than the capture, so that it loses nothing
                time.sleep(0.0002)
            self.wfile.write(self.body[at : at + CHUNK])

    def log_message(self, *_: object) -> None:
        pass


def serve(size: int, ready: "multiprocessing.synchronize.Event", captured: "Synchronized[int]") -> None:
    Handler.captured = captured
    Handler.body = random.Random(2018).randbytes(size)
    server = http.server.HTTPServer(("127.0.0.1", PORT), Handler)
    ready.set()
    server.handle_request()


def fetch(size: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/") as answer:
        if answer.read() != random.Random(2018).randbytes(size):
            raise SystemExit("the client did not receive what the server sent")


def capture(sniffer: socket.socket, out: Path, done: threading.Event, captured: "Synchronized[int]") -> None:
    """Write each frame that the server sends, until the traffic is over."""
    sniffer.settimeout(0.3)
    with out.open("wb") as file:
        while True:
            try:
                frame = sniffer.recv(4096)
            except TimeoutError:
                if done.is_set():
                    return
                continue
            if frame[34:36] == struct.pack(">H", PORT):
                file.write(struct.pack(">I", len(frame)) + frame)
                captured.value += len(frame) - 14 - 20 - (frame[46] >> 4) * 4


def main() -> None:
    size, out = int(sys.argv[1]), Path(sys.argv[2])
    loopback_up()
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    sniffer.bind(("lo", 0))
    done, ready, captured = threading.Event(), multiprocessing.Event(), multiprocessing.Value("q")
    watcher = threading.Thread(target=capture, args=(sniffer, out, done, captured))
    watcher.start()
    server = multiprocessing.Process(target=serve, args=(size, ready, captured))
    server.start()
    ready.wait(30)
    client = multiprocessing.Process(target=fetch, args=(size,))
    client.start()
    client.join()
    server.join()
    done.set()
    watcher.join()
    lost = struct.unpack("II", sniffer.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS
    if client.exitcode or server.exitcode or lost:
        raise SystemExit(f"the traffic failed: client {client.exitcode}, server {server.exitcode}, {lost} frames lost")


if __name__ == "__main__":
    main()
