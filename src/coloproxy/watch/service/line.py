"""The end of the channel in the service: what the proxy tells goes to the hub, what is asked goes back."""

import asyncio
import contextlib
import socket
from typing import Self

import msgspec

from coloproxy.watch.messages import Told
from coloproxy.watch.service.hub import Hub

LONGEST = 64 << 20  # bytes of a line


class Line:
    """Joins the hub to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hub: Hub) -> None:
        self._reader, self._writer, self._hub = reader, writer, hub
        self._encode = msgspec.json.Encoder().encode
        hub.ask = lambda asked: writer.write(self._encode(asked) + b"\n")

    @classmethod
    async def open(cls, sock: socket.socket, hub: Hub) -> Self:
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=LONGEST)
        return cls(reader, writer, hub)

    async def run(self) -> None:
        """Hear the proxy out; returns when it is gone, which a question to it may be the first to find."""
        decode = msgspec.json.Decoder(Told).decode
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                self._hub.hear(decode(line))
