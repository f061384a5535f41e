"""The service's end of its channel to the proxy: it ends when the proxy does, whoever notices first."""

import asyncio
import socket

import pytest

from coloproxy.watch.messages import Want
from coloproxy.watch.service.hub import Hub
from coloproxy.watch.service.line import Line


@pytest.mark.parametrize("asked", [False, True])
def test_the_proxys_end_is_no_error(asked: bool) -> None:
    async def play() -> None:
        proxy, service = socket.socketpair()
        hub = Hub()
        line = await Line.open(service, hub)
        running = asyncio.create_task(line.run())
        await asyncio.sleep(0)
        proxy.close()
        if asked:
            hub.ask(Want(connections=False, streams=[]))  # cannot be written any more
        await asyncio.wait_for(running, 10)

    asyncio.run(play())
