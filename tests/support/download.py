"""A download from the sample guest's fastest server, looked at as it comes."""

import math
import socket
import time

from coloproxy.guest.image import block

SOURCE = 7006
MIB = 1 << 20
STUCK = 120.0  # seconds without a byte


def download(sock: socket.socket, count: int, patience: float = math.inf) -> float:
    """Mebibytes a second, of so many as come before patience ends, in seconds; every byte must be right."""
    expected, came = block(), bytearray(MIB)
    room, head = memoryview(came), b""
    got = at = 0
    begin = time.monotonic()
    sock.settimeout(STUCK)
    sock.sendall(b"GET /%d HTTP/1.0\r\n\r\n" % count)
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    while got < count * MIB and (left := begin + patience - time.monotonic()) > 0:
        sock.settimeout(min(left, STUCK))
        try:
            size = sock.recv_into(room[at:])
        except TimeoutError:
            break
        assert size, f"the connection ended after {got} bytes"
        got, at = got + size, at + size
        if at == MIB:
            assert came == expected, f"wrong bytes in front of {got}"
            at = 0
    assert came[:at] == expected[:at], f"wrong bytes in front of {got}"
    assert patience < math.inf or got == count * MIB, f"nothing came for {STUCK:.0f} s after {got} bytes"
    return got / MIB / (time.monotonic() - begin)
