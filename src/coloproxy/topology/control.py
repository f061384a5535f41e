"""Commands to a running topology: a line in, a line of JSON out, on a socket of its own."""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.link.address import parse_address
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.loop import READ, Loop

LONGEST = 4096  # bytes of a command
SHOWN = 80  # characters of a wrong one that are repeated

Command = Callable[[], Mapping[str, Any] | None]


class Control:
    """Answers commands of one peer at a time. `commands` maps each line that is known to what does it and returns more
    for the answer, or raises ColoproxyError with why it cannot be."""

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
        try:
            self._endpoint.start()
        except ColoproxyError as error:
            raise ColoproxyError(f"control: {error}") from None

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
        if not data:
            self._endpoint.lost()
            return
        *lines, self._half = (self._half + data).split(b"\n")
        answers = [self._answer(line.decode(errors="replace")) for line in lines]
        if len(self._half) > LONGEST:
            answers.append(no(f"a command has at most {LONGEST} bytes"))
        if not self._said(sock, answers) or len(self._half) > LONGEST:
            self._endpoint.lost()

    def _answer(self, line: str) -> dict[str, Any]:
        line = " ".join(line.split())
        command = self._commands.get(line)
        if command is None:
            return no(f"there is no command '{line[:SHOWN]}'; there are {', '.join(self._commands)}")
        try:
            return {"ok": True, **(command() or {})}
        except ColoproxyError as error:
            return no(str(error))

    @staticmethod
    def _said(sock: socket.socket, answers: Sequence[dict[str, Any]]) -> bool:
        """Whether the peer takes the answers: one that lets them pile up does without us."""
        said = b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers)
        try:
            return sock.send(said) == len(said)
        except OSError:
            return False


def no(why: str) -> dict[str, Any]:
    """The answer to what is not done."""
    return {"ok": False, "error": why}
