"""Ports and elements kept going on one event loop: what is due, what is passed on, what is read."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.loop import Loop
from coloproxy.link.port import Port
from coloproxy.topology.build import Pieces
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.element import Element
from coloproxy.topology.gathering import Gathering

LENT = 64  # receive buffers in use at which what is held is copied out of them
LAST_READS = 4  # reads of each port before a checkpoint is taken to be complete


class Works:
    """Turns the pieces of a topology, over and over. gathers: seconds for which, under load, a turn may be put
    off for more to come."""

    def __init__(self, pieces: Pieces, loop: Loop, clock: Clock, pool: Pool, gathers: float = 0.0) -> None:
        self.pieces = pieces
        self._loop = loop
        self._clock = clock
        self._pool = pool
        self._compact_at = LENT
        elements, ports = pieces.elements, pieces.every_port
        # What a turn has to ask, and no more: most elements have nothing to say.
        self._timed = [each for each in elements if type(each).deadline is not Element.deadline]
        self._finishing = [each.finish for each in elements if type(each).finish is not Element.finish]
        self._sending = [each.finish for each in ports if type(each).finish is not Port.finish]
        self._gates = [
            (port, reach.ports, [gate for element, channel in reach.inputs if (gate := element.gate(channel))])
            for port, reach in pieces.reaches
        ]
        self._gathering = Gathering([port.received for port in ports], gathers) if gathers else None
        self.comparing = [each for each in elements if isinstance(each, Comparing)]

    @contextlib.contextmanager
    def opened(self, *others: Any) -> Iterator[None]:
        """All pieces are open, and `others`, which have `open()` and `close()`. Raises ColoproxyError."""
        with contextlib.ExitStack() as stack:
            each: Any
            for each in (*self.pieces.elements, *self.pieces.every_port, *others):
                stack.callback(each.close)
                each.open()
            yield

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        if self._gathering is not None:
            self._gathering.wait()
        dues = [each.deadline() for each in self._timed]
        due = min((when for when in dues if when is not None), default=math.inf)
        self._loop.turn(self._clock.monotonic(due), lambda: self._clock.woke(due))
        now = self._clock.now()
        if due <= now:
            for each, when in zip(self._timed, dues):
                if when is not None and when <= now:
                    each.tick(now)
        self.pass_on(now)
        if self._pool.lent > self._compact_at:
            self._compact()
        self.gate()

    def pass_on(self, now: float) -> None:
        """Send on what was collected."""
        for finish in self._finishing:
            finish(now)
        for send in self._sending:
            send()

    def gate(self) -> None:
        """Read each port, unless what it leads to is full."""
        full = [port for port in self.pieces.every_port if port.full]
        if full:
            self._clock.stop()  # what waits meanwhile does not grow old
        else:
            self._clock.go_on()
        for port, reached, gates in self._gates:
            wanted = not (full and reached.intersection(full))
            for readable in gates:
                wanted = wanted and readable()
            port.read_on(wanted)

    def drain(self) -> None:
        """Read what is already on its way to the ports."""
        for port, _ in self.pieces.reaches:
            for _ in range(LAST_READS):
                if not port.read():
                    break

    def _compact(self) -> None:
        for element in self.comparing:
            element.compact()
        self._compact_at = max(LENT, 2 * self._pool.lent)
