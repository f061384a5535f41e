"""asyncio's loop, turned from ours."""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator

import pytest

from coloproxy.guest.monitor import Aio
from coloproxy.link.loop import Loop
from support.wire import PATIENCE


class Both:
    def __init__(self) -> None:
        self.loop = Loop()
        self.aio = Aio(self.loop)
        self.told: list[object] = []
        self.turns = 0

    def until_told(self, count: int = 1) -> None:
        end = time.monotonic() + PATIENCE
        while len(self.told) < count:
            assert time.monotonic() < end
            self.loop.turn(end)
            self.turns += 1


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.aio.close()
    made.loop.close()


def test_timers_are_kept_and_nobody_looks_in_between(both: Both) -> None:
    async def work() -> None:
        for seconds in (0.2, 0.1):
            await asyncio.sleep(seconds)
            both.aio.tell(lambda seconds=seconds: both.told.append(seconds))  # type: ignore[misc]

    begin = time.monotonic()
    both.aio.begin(work())
    both.until_told(2)
    assert both.told == [0.2, 0.1]
    assert time.monotonic() - begin >= 0.3
    assert both.turns < 10


def test_an_earlier_timer_is_kept_too(both: Both) -> None:
    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)
        both.aio.tell(lambda: both.told.append(seconds))

    both.aio.begin(work(0.3))
    both.aio.begin(work(0.1))
    both.until_told(2)
    assert both.told == [0.1, 0.3]


def test_a_line_goes_through_all_that_waits_for_it_in_one_turn(both: Both) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def relay(from_: "asyncio.Queue[bytes]", to: "asyncio.Queue[bytes]") -> None:
        await to.put(await from_.get())

    async def work() -> None:
        queues: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in range(40)]
        tasks = [asyncio.create_task(relay(a, b)) for a, b in itertools.pairwise(queues)]
        await queues[0].put(await asyncio.get_running_loop().sock_recv(ours, 100))
        line = await queues[-1].get()
        await asyncio.gather(*tasks)
        both.aio.tell(lambda: both.told.append(line))

    both.aio.begin(work())
    both.loop.turn(time.monotonic() + 0.1)
    theirs.sendall(b"line")
    both.until_told()
    assert both.told == [b"line"]
    assert both.turns == 1
    ours.close()
    theirs.close()
