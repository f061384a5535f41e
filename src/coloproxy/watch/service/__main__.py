"""`python -m coloproxy.watch.service CHANNEL LISTENER`: both are file descriptors. It ends when the channel does."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from coloproxy.watch.service.app import app
from coloproxy.watch.service.hub import Hub
from coloproxy.watch.service.line import Line

NICE = 10  # the frames come first
AUTOGROUP = Path("/proc/self/autogroup")
MOST_CONNECTIONS = 512
NO_NEWS = ("without completing", "timeout graceful shutdown exceeded")
UNREAD = 20_000  # milliseconds after which a connection is given up whose reader takes nothing


class Server(uvicorn.Server):
    """Signals are not for it: it ends when the proxy does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(channel: int, listener: int) -> None:
    """Serve until the proxy is gone."""
    hub = Hub()
    line = await Line.open(socket.socket(fileno=channel), hub)
    sock = socket.socket(fileno=listener)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)  # what is accepted inherits it (tcp(7))
    config = uvicorn.Config(
        app(hub), log_config=None, access_log=False, lifespan="off", ws="none", http="h11", server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=1, limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
    # A reader that is dropped for being slow, or at the end, is no news for standard error.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not any(map(record.getMessage().__contains__, NO_NEWS)))
    server = Server(config)
    serving = asyncio.create_task(server.serve([sock]))
    await line.run()
    hub.close()
    server.should_exit = True
    await serving


def give_way() -> None:
    """Let the proxy go first where both want a processor. Where the kernel shares them out among sessions first, a
    process's own niceness counts only within its session, and that of the session is what tells (sched(7))."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        AUTOGROUP.write_text(str(NICE))


def main() -> None:
    """Serve."""
    give_way()
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
