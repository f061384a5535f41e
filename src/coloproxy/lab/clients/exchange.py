"""Short conversations with an echo: connections of one byte, round trips on one connection, datagrams."""

import contextlib
import select
import socket
import struct
import time

from coloproxy.lab.clients.meter import Meter
from coloproxy.lab.clients.order import Order
from coloproxy.lab.content import Content, Mismatch

PORT = 7
WINDOW = 16  # datagrams on their way
WAITING = 4 << 20  # bytes of answers that may wait, as far as the system allows
LOST = 1.0  # seconds after which a datagram is
NUMBER = struct.Struct(">Q")


def connections(order: Order, meter: Meter) -> None:
    """Connect, one byte there and back, close."""
    for unit in meter.units():
        begun = time.perf_counter()
        try:
            with connected(order) as sock:
                round_trip(sock, bytes([unit & 0xFF]))
        except (OSError, Mismatch) as error:
            meter.failed(error, unit)
        else:
            meter.moved(1, time.perf_counter())
            meter.done(latency=time.perf_counter() - begun)


def round_trips(order: Order, meter: Meter) -> None:
    """One byte there and back, on one connection; after an error, on a new one."""
    with contextlib.ExitStack() as opened:
        sock = None
        for unit in meter.units():
            try:
                sock = sock or opened.enter_context(connected(order))
                begun = time.perf_counter()
                round_trip(sock, bytes([unit & 0xFF]))
                now = time.perf_counter()
            except (OSError, Mismatch) as error:
                meter.failed(error, unit)
                sock = None
            else:
                meter.moved(1, now)
                meter.done(latency=now - begun)


def connected(order: Order) -> socket.socket:
    sock = socket.create_connection((order.address, PORT), timeout=order.timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def round_trip(sock: socket.socket, byte: bytes) -> None:
    sock.sendall(byte)
    got = sock.recv(2)
    if got != byte:
        raise Mismatch(f"the echo of {byte.hex()} is {got.hex() or 'the end'}")


def datagrams(order: Order, meter: Meter) -> None:
    """Numbered datagrams, some on their way at any time; one that does not come back is lost, which is no error."""
    content = Content(order.seed)
    family = socket.AF_INET6 if order.workload.family == 6 else socket.AF_INET
    waiting: dict[int, float] = {}
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)
        sock.connect((order.address, PORT))
        for unit in meter.units():
            waiting[unit] = time.perf_counter()
            sock.send(datagram(content, unit, order.workload.size))
            while len(waiting) >= WINDOW:
                collect(sock, content, waiting, order, meter)
        while waiting:
            collect(sock, content, waiting, order, meter)


def datagram(content: Content, unit: int, size: int) -> bytes:
    """Its number, as far as there is room, and what belongs to it."""
    return (NUMBER.pack(unit) + content.at(unit, size))[: max(size, NUMBER.size)]


def collect(sock: socket.socket, content: Content, waiting: dict[int, float], order: Order, meter: Meter) -> None:
    """Take one answer, or wait until the oldest is lost."""
    oldest = next(iter(waiting))
    left = waiting[oldest] + LOST - time.perf_counter()
    if left <= 0 or not select.select([sock], [], [], left)[0]:
        del waiting[oldest]
        meter.lost()
        return
    got = sock.recv(1 << 16)
    now = time.perf_counter()
    number = NUMBER.unpack_from(got)[0] if len(got) >= NUMBER.size else -1
    if got != datagram(content, number, order.workload.size):
        meter.failed(Mismatch("an answer is not what was sent"), number)
    elif number in waiting:  # otherwise it came twice, or late
        meter.moved(len(got), now)
        meter.done(latency=now - waiting.pop(number))
