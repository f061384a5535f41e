"""Transfers: FTP in both directions, and HTTP. Every byte received is compared; what is sent, the server compares."""

import contextlib
import ftplib
import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import PurePath

from coloproxy.lab.clients.meter import Gauge, Meter
from coloproxy.lab.clients.order import Order
from coloproxy.lab.content import BLOCK, Content, Mismatch, address_of

USUAL = (OSError, EOFError, Mismatch, ftplib.Error, http.client.HTTPException)

Fill = Callable[[memoryview], int]


def transfers(order: Order, meter: Meter) -> None:
    """One thread's part of the work: transfers, each on connections of its own."""
    content = Content(order.seed)
    transfer = {"ftp-get": ftp_get, "ftp-put": ftp_put, "http": http_get}[order.workload.name]
    for unit in meter.units():
        gauge = meter.gauge()
        try:
            transfer(order, content, gauge, unit)
        except USUAL as error:
            meter.failed(error, unit)
        else:
            meter.done(gauge)


def file_name(size: int) -> str:
    """The file of so many bytes."""
    return f"{size}.bin"


def ftp_get(order: Order, content: Content, gauge: Gauge, _unit: int) -> None:
    """RETR, in binary mode, over a passive data connection."""
    size = order.workload.size
    with session(order) as ftp:
        gauge.begin()
        with ftp.transfercmd(f"RETR {file_name(size)}") as data:
            receive(data.recv_into, content, size, gauge)
            if data.recv(1):
                raise Mismatch(f"more than {size} bytes were sent")
        ftp.voidresp()


def ftp_put(order: Order, content: Content, gauge: Gauge, unit: int) -> None:
    """STOR; then the server is asked whether what it got is what it should be."""
    size, name = order.workload.size, f"upload-{order.workload.family}-{unit}"
    with session(order) as ftp:
        gauge.begin()
        with ftp.transfercmd(f"STOR {name}") as data:
            for at in range(0, size, BLOCK):
                send(data, content.at(at, size - at), gauge)
        ftp.voidresp()
        gauge.moved(0)
        verdict = ftp.sendcmd(f"SITE VERIFY {name}")
        if verdict != f"213 {size} right":
            raise Mismatch(f"the server got {verdict[4:]}, of {size} bytes")


@contextlib.contextmanager
def session(order: Order) -> Iterator[ftplib.FTP]:
    """An FTP session in which files go as they are. If it fails, there is no farewell."""
    ftp = ftplib.FTP(timeout=order.timeout)
    ftp.connect(order.address)
    try:
        ftp.login()
        ftp.voidcmd("TYPE I")
        yield ftp
        ftp.quit()
    finally:
        ftp.close()


def http_get(order: Order, content: Content, gauge: Gauge, _unit: int) -> None:
    """GET, on a connection that ends with it."""
    size = order.workload.size
    connection = http.client.HTTPConnection(order.address, http.client.HTTP_PORT, timeout=order.timeout)
    with contextlib.closing(connection):
        gauge.begin()
        connection.request("GET", str(PurePath("/", file_name(size))), headers={"Connection": "close"})
        answer = connection.getresponse()
        if answer.status != 200 or answer.length != size:
            raise Mismatch(f"the answer is {answer.status}, of {answer.length} bytes")
        receive(answer.readinto, content, size, gauge)


def receive(fill: Fill, content: Content, size: int, gauge: Gauge) -> None:
    """Take exactly so many bytes. Raises Mismatch at the first that is wrong or missing."""
    buffer = bytearray(BLOCK)
    address, view = address_of(buffer), memoryview(buffer)
    at = 0
    while at < size:
        count = fill(view[: size - at])
        if not count:
            raise Mismatch(f"it ended after {at} of {size} bytes")
        content.check(address, count, at)
        at += count
        gauge.moved(count)


def send(sock: socket.socket, data: memoryview, gauge: Gauge) -> None:
    while data:
        count = sock.send(data)
        data = data[count:]
        gauge.moved(count)
