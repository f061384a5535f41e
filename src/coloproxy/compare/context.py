"""What the general path's protocols share: the engine, the settings, the time, and how a divergence is reported."""

from collections.abc import Callable
from typing import Protocol

from coloproxy.compare.accounts import DROPPED, PASSED, RELEASED
from coloproxy.compare.config import Config
from coloproxy.compare.engine import Connection, Engine, Frame
from coloproxy.compare.events import Endpoints, Reason, Side
from coloproxy.compare.tracing import Tracing


class Diverge(Protocol):
    """Reports a divergence: what and where, with the frames of both sides and the index of the first differing byte
    in the payload of each."""

    def __call__(
        self,
        c: Connection | None,
        reason: Reason,
        detail: str,
        primary: Frame | None = None,
        secondary: Frame | None = None,
        place: int | None = None,
        primary_at: int = 0,
        secondary_at: int = 0,
        endpoints: Endpoints | None = None,
    ) -> None: ...


class Context:
    """One comparator's shared state. `now` is the time of the call being served; what the secondary sends before
    `stale_until` may still be of the epoch before the last checkpoint."""

    def __init__(self, config: Config, diverge: Diverge, now: float) -> None:
        self.config = config
        self.diverge = diverge
        self.now = now
        self.stale_until = now
        self.clamped = 0
        self.made_frames = 0
        self.made_bytes = 0
        self.tracing = Tracing(now)
        self.engine: Engine
        self.decided: Callable[[Connection], bool]  # whether the rules have this connection compared, both sides

    def release(self, frame: Frame) -> None:
        """Let one of the primary's frames leave as it came."""
        for part in frame.parts or (frame,):
            self.engine.send(part.buf, part.start, part.end, part.vnet_len, part.headroom, part.lease)
        self.engine.count(Side.PRIMARY, RELEASED, frame.frames(), frame.weight())

    def make(self, frame: bytes, vnet_len: int) -> None:
        """Send a frame of the comparator's own."""
        self.engine.send_made(frame, vnet_len)
        self.made_frames += 1
        self.made_bytes += len(frame)

    def let_pass(self, side: Side, frame: Frame) -> None:
        """A frame that is not compared: the primary's leaves, the secondary's does not."""
        if side == Side.PRIMARY:
            for part in frame.parts or (frame,):
                self.engine.send(part.buf, part.start, part.end, part.vnet_len, part.headroom, part.lease)
            self.engine.count(side, PASSED, frame.frames(), frame.weight())
        else:
            self.drop(side, frame)

    def drop(self, side: Side, frame: Frame) -> None:
        """Count a frame as done with."""
        self.engine.count(side, DROPPED, frame.frames(), frame.weight())


def payload(frame: Frame) -> bytes:
    """The payload that a frame stands for."""
    return bytes(frame.buf[frame.data : frame.data + frame.size])


def first_difference(a: bytes, b: bytes) -> int:
    """Index of the first byte in which two byte strings differ; the shorter length if one begins with the other."""
    for at, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return at
    return min(len(a), len(b))
