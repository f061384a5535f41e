"""The acts of the demonstration. Each plays two replicas through a comparator of its own, and checks what comes out."""

from collections.abc import Callable
from typing import Any, NamedTuple

from demo import comparator
from demo.feed import Feed, framed
from demo.stream import Segment

Told = Callable[[float], None]


class WrongError(Exception):
    """Something did not come out as it must. The text is a sentence."""


class Outcome(NamedTuple):
    """What a play came to: the primary's frames and their bytes, in so many seconds, and checkpoints asked for."""

    frames: int
    bytes: int
    seconds: float
    checkpoints: int


class Stop(NamedTuple):
    """Where the comparator stopped: frames released until then, the last place of the stream in them, the event."""

    released: int
    place: int
    event: dict[str, Any]


def same(primary: list[Segment], secondary: list[Segment], told: Told, *options: str) -> Outcome:
    """Play two replicas of the same stream. Raises WrongError unless exactly the primary's frames come out."""
    with comparator.running(*options) as proxy:
        feed = Feed(proxy, primary, secondary, told)
        checkpoints = sum(1 for _ in feed.run())
        check_output(feed, primary)
        account = proxy.stop()
    check(account["checkpoints_requested"] == checkpoints, "the accounting counts other checkpoints than were seen")
    check(account["primary"]["released"]["frames"] == len(primary), "the accounting counts other frames than came out")
    return Outcome(len(primary), sum(len(segment.frame) for segment in primary), feed.seconds, checkpoints)


def different(primary: list[Segment], secondary: list[Segment], place: int, told: Told) -> Stop:
    """Play two replicas whose byte at `place` differs.

    Raises WrongError unless the frames before that byte come out and no other, one checkpoint is asked for, at this
    byte, and after it everything comes out.
    """
    before = next(index for index, segment in enumerate(primary) if segment.end > place)
    stops: list[Stop] = []
    with comparator.running() as proxy:
        feed = Feed(proxy, primary, secondary, told)
        for _ in feed.run():
            released = feed.rest()
            check_output(feed, primary[:released])
            stops.append(Stop(released, primary[released].begin, proxy.events("checkpoint_requested")[-1]))
        check_output(feed, primary)
        account = proxy.stop()
    check(len(stops) == 1, f"{len(stops)} checkpoints were asked for where one byte differs")
    (stop,) = stops
    check(stop.released == before, f"{stop.released} frames were released, {before} lie in front of the changed byte")
    check(stop.event["stream_offset"] == place, f"byte {place} differs, byte {stop.event['stream_offset']} was named")
    check(account["checkpoints_completed"] == 1, "the checkpoint was not counted as made")
    return stop


def check_output(feed: Feed, expected: list[Segment]) -> None:
    """Raise WrongError unless what has come out is these segments' frames, byte for byte."""
    check(
        feed.output == b"".join(framed(segment.frame) for segment in expected),
        f"what came out are not the primary's first {len(expected)} frames, byte for byte",
    )


def check(holds: bool, otherwise: str) -> None:
    """Raise WrongError with this sentence unless it holds."""
    if not holds:
        raise WrongError(otherwise)
