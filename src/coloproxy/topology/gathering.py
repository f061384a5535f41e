"""How long to wait for more before the next turn: a turn costs as much as dozens of frames, and a processor that others
wait for."""

import math
import time
from collections.abc import Sequence

from coloproxy.link.port import Tally

LOOK = 0.005  # seconds between two looks at how much comes
MUCH = 10e6  # bytes a second by one port, from which on it is worth waiting
BATCH = 96 << 10  # bytes of one port to wait for: sockets between processes hold little more
# A TCP sender keeps what it says in one millisecond in front of a network card, not more (Linux: TCP small queues). So
# if we are the card, what takes longer to fetch makes it slow, which is why more is waited for, and so on. QEMU's own
# card passes all on at once, to a socket that holds a batch.
CARD, SOCKET = 0.0008, 0.0016  # seconds at most


class Gathering:
    """Looks at what was received by some ports, as counted by their tallies. most: seconds."""

    def __init__(self, received: Sequence[Tally], most: float) -> None:
        self._received, self._most = received, most
        self._came = [tally.bytes for tally in received]
        self._looked = self._turned = -math.inf
        self._pause = 0.0
        self._total = 0

    def wait(self) -> None:
        """Sleep, if that is worth it: turns are then so far apart that about a batch comes in between. Not after a turn
        that brought nothing: a guest that stands still for a checkpoint must not be waited for."""
        now, before = time.monotonic(), self._total
        self._total = sum([tally.bytes for tally in self._received])
        if now - self._looked >= LOOK:
            self._look(now)
        if self._total != before and (rest := self._turned + self._pause - now) > 0:
            time.sleep(rest)
            now += rest
        self._turned = now

    def _look(self, now: float) -> None:
        before, self._came = self._came, [tally.bytes for tally in self._received]
        rate = max(map(int.__sub__, self._came, before), default=0) / (now - self._looked)
        self._pause = min(self._most, BATCH / rate) if rate >= MUCH else 0.0
        self._looked = now
