"""What the demonstration found, gathered for the screen and for the picture."""

from typing import NamedTuple

from demo.acts import Outcome, Stop
from demo.stream import Segment
from figures import Result

NEIGHBOURS = 3  # the primary's segments shown on each side of the changed byte's


class Change(NamedTuple):
    """The byte that was changed: its place in the stream, what the primary says there, what the secondary."""

    place: int
    old: int
    new: int


class Story(NamedTuple):
    """The two replicas' segments and the length of their stream; what was changed; how each act went; the benchmark."""

    primary: list[Segment]
    secondary: list[Segment]
    length: int
    change: Change
    same: Outcome
    stop: Stop
    packet: Outcome
    costs: Result | None


class Scene(NamedTuple):
    """The part of the stream around the changed byte: from `begin` up to `end`; released up to `stop`.

    The segments are lists of (begin, end), those of the secondary cut off at the edges.
    """

    begin: int
    end: int
    stop: int
    primary: list[tuple[int, int]]
    secondary: list[tuple[int, int]]


def scene(story: Story) -> Scene:
    """What is shown of a story's stream."""
    data = [segment for segment in story.primary if segment.data]
    middle = next(index for index, segment in enumerate(data) if segment.end > story.change.place)
    shown = data[max(middle - NEIGHBOURS, 0) : middle + NEIGHBOURS + 1]
    begin, end = shown[0].begin, shown[-1].begin + len(shown[-1].data)

    def inside(segments: list[Segment]) -> list[tuple[int, int]]:
        spans = ((segment.begin, segment.begin + len(segment.data)) for segment in segments if segment.data)
        return [(max(first, begin), min(last, end)) for first, last in spans if first < end and last > begin]

    return Scene(begin, end, story.stop.place, inside(story.primary), inside(story.secondary))
