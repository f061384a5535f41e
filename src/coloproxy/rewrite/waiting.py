"""Frames that wait for the numbers that their translation needs, bounded in frames, bytes and time."""

from collections.abc import Callable
from typing import NamedTuple

from coloproxy.rewrite.config import Config
from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.sources import Source


class Waiting(NamedTuple):
    """A copy of a frame that waits, and since when."""

    source: Source
    frame: bytes
    vnet_len: int
    since: float


class WaitingRoom:
    """All frames that wait, of all connections (`Connection.waiting`), in order of arrival.

    `dropped(frame)` is called for each that waited in vain.
    """

    def __init__(self, config: Config, dropped: Callable[[Waiting], None]) -> None:
        self._max_frames = config.max_held_frames
        self._max_bytes = config.max_held_bytes
        self._timeout = config.hold_timeout / 1000
        self._dropped = dropped
        self._bytes = 0
        self._connections: dict[Connection, None] = {}  # by their first frame's arrival

    @property
    def deadline(self) -> float | None:
        """When the next frame has waited for too long."""
        first = next(iter(self._connections), None)
        return None if first is None else first.waiting[0].since + self._timeout

    def connections(self) -> list[Connection]:
        """The connections that have frames here."""
        return list(self._connections)

    def enter(self, c: Connection, frame: Waiting) -> bool:
        """Have a frame wait. False: there is no room for it."""
        frames = c.waiting or []
        if len(frames) >= self._max_frames or self._bytes + len(frame.frame) > self._max_bytes:
            return False
        c.waiting = [*frames, frame]
        self._bytes += len(frame.frame)
        self._connections[c] = None
        return True

    def leave(self, c: Connection) -> list[Waiting]:
        """All frames of a connection, which wait no longer."""
        frames: list[Waiting] = c.waiting or []
        c.waiting = None
        self._bytes -= sum(len(frame.frame) for frame in frames)
        self._connections.pop(c, None)
        return frames

    def drop(self, c: Connection) -> int:
        """Give up on all frames of a connection; returns how many."""
        frames = self.leave(c)
        for frame in frames:
            self._dropped(frame)
        return len(frames)

    def expire(self, now: float) -> None:
        """Give up on the frames of connections of which one has waited for too long."""
        while (due := self.deadline) is not None and due <= now:
            self.drop(next(iter(self._connections)))
