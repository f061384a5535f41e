"""Echo requests of ICMP (RFC 792) and ICMPv6 (RFC 4443, 4.1), one after the other."""

import os
import select
import socket
import struct
import time

from coloproxy.lab.clients.meter import Meter
from coloproxy.lab.clients.order import Order
from coloproxy.lab.content import Content, Mismatch
from coloproxy.packet.checksum import internet_checksum

WAITING = 4 << 20  # bytes of answers that may wait, as far as the system allows
LOST = 1.0  # seconds after which a request is
HEADER = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}


def pings(order: Order, meter: Meter) -> None:
    """Each is answered with the same payload, or lost, which is no error."""
    content, family = Content(order.seed), order.workload.family
    kind, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if family == 6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    with socket.socket(kind, socket.SOCK_RAW, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING)  # the answers to others come here too
        sock.connect((order.address, 0))
        for unit in meter.units():
            identifier, number = os.getpid() & 0xFFFF, unit & 0xFFFF
            payload = bytes(content.at(unit, order.workload.size))
            begun = time.perf_counter()
            sock.send(request(family, identifier, number, payload))
            answer = reply(sock, family, identifier, number, begun + LOST)
            now = time.perf_counter()
            if answer is None:
                meter.lost()
            elif answer != payload:
                meter.failed(Mismatch("an answer has another payload than the request"), unit)
            else:
                meter.moved(len(answer), now)
                meter.done(latency=now - begun)


def request(family: int, identifier: int, number: int, payload: bytes) -> bytes:
    """Its checksum is made by the kernel for ICMPv6 (RFC 3542, 3.1)."""
    blank = HEADER.pack(REQUEST[family], 0, 0, identifier, number) + payload
    found = internet_checksum(blank) if family == 4 else 0
    return HEADER.pack(REQUEST[family], 0, found, identifier, number) + payload


def reply(sock: socket.socket, family: int, identifier: int, number: int, deadline: float) -> bytes | None:
    """The payload of the answer; None when there was none in time (perf_counter)."""
    while select.select([sock], [], [], max(0.0, deadline - time.perf_counter()))[0]:
        packet = sock.recv(1 << 16)
        at = (packet[0] & 15) * 4 if family == 4 else 0  # an IPv4 socket gives the IP header as well
        if len(packet) < at + HEADER.size:
            continue
        kind, _, _, theirs, which = HEADER.unpack_from(packet, at)
        if (kind, theirs, which) == (REPLY[family], identifier, number):
            return packet[at + HEADER.size :]
    return None
