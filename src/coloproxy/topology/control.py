"""Commands to a running topology: a line in, a line of JSON out, on a socket of its own."""

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.link.address import parse_address
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.loop import READ, Loop

LONGEST = 4096  # bytes of a command

Command = Callable[[], Mapping[str, Any]]


class Control:
    """Answers commands. `commands` maps each line that is known to what does it and returns more for the answer."""

    def __init__(self, address: str, loop: Loop, commands: Mapping[str, Command]) -> None:
        try:
            where = parse_address(address)
        except ColoproxyError as error:
            raise ColoproxyError(f"control: {error}") from None
        self._loop = loop
        self._commands = commands
        self._endpoint = Endpoint("control", where._replace(server=True), loop, self._connected)
        self._half = b""

    def open(self) -> None:
        self._endpoint.start()

    def close(self) -> None:
        self._endpoint.close()

    def _connected(self, endpoint: Endpoint) -> None:
        assert endpoint.sock is not None
        self._half = b""
        self._loop.watch(endpoint.sock.fileno(), READ, self._ready)

    def _ready(self, _events: int) -> None:
        sock = self._endpoint.sock
        assert sock is not None
        try:
            data = sock.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._half += data
        if not data or len(self._half) > LONGEST:
            self._endpoint.lost()
            return
        *lines, self._half = self._half.split(b"\n")
        for line in lines:
            self._answer(sock, line.decode(errors="replace").strip())

    def _answer(self, sock: socket.socket, line: str) -> None:
        command = self._commands.get(" ".join(line.split()))
        if command is None:
            text = f"no command '{line}'; there are {', '.join(self._commands)}"
            answer: dict[str, Any] = {"ok": False, "error": text}
        else:
            answer = {"ok": True, **command()}
        with contextlib.suppress(OSError):  # who does not read the answer does without
            sock.send(msgspec.json.encode(answer) + b"\n")
