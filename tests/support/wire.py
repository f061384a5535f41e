"""The sockets' framing, written and read without coloproxy's own code."""

import socket
import struct
import time

PATIENCE = 30.0  # seconds after which a test gives up


def framed(frame: bytes, vnet_len: int | None = None) -> bytes:
    """A frame as it goes over the wire; with a second word if vnet_len is given."""
    return struct.pack(">I", len(frame)) + (b"" if vnet_len is None else struct.pack(">I", vnet_len)) + frame


def unframed(data: bytes, vnet_hdr: bool = False) -> tuple[list[bytes], bytes]:
    """The frames in a piece of a stream, and the half one behind them."""
    head, frames = 8 if vnet_hdr else 4, []
    while len(data) >= head and len(data) >= head + (size := struct.unpack_from(">I", data)[0]):
        frames.append(data[head : head + size])
        data = data[head + size :]
    return frames, data


class Peer:
    """A test's end of one socket of the proxy."""

    def __init__(self, sock: socket.socket, vnet_hdr: bool = False) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self._vnet_hdr = vnet_hdr
        self._half = b""
        self._frames: list[bytes] = []

    def send(self, *frames: bytes, vnet_len: int = 0) -> "Peer":
        self.sock.sendall(b"".join(framed(frame, vnet_len if self._vnet_hdr else None) for frame in frames))
        return self

    def raw(self, data: bytes) -> "Peer":
        self.sock.sendall(data)
        return self

    def frames(self, count: int) -> list[bytes]:
        """The next so many frames."""
        while len(self._frames) < count:
            data = self.sock.recv(1 << 16)
            assert data, f"the stream ended after {len(self._frames)} of {count} frames"
            found, self._half = unframed(self._half + data, self._vnet_hdr)
            self._frames += found
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        if self._frames or self._half:
            return False
        self.sock.settimeout(seconds)
        try:
            self._half += self.sock.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False

    def ended(self) -> bool:
        """Whether the proxy closes the connection, having said nothing more."""
        try:
            return self.sock.recv(1 << 16) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()


def connect(path: str) -> socket.socket:
    """Connect to a unix socket as soon as somebody listens there."""
    end = time.monotonic() + PATIENCE
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
