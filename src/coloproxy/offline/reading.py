"""A capture being read, its beginning looked at in advance."""

import os
from collections.abc import Iterator

from coloproxy.capture import Capture, Record
from coloproxy.capture.linktype import CONVERTERS
from coloproxy.errors import ColoproxyError

LOOKED_AT = 20_000  # records that are looked at to guess the replica's address and to compare times


class Reading:
    """Batches of records. number: how many were taken so far; over: whether the end was met."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.capture = Capture(path)
        self.path = os.fspath(path)
        self.number = 0
        self.over = False
        self._batches = self.capture.batches()
        self._ahead: list[list[Record]] = []
        looked_at = 0
        while looked_at < LOOKED_AT and (batch := next(self._batches, None)) is not None:
            self._ahead.append(batch)
            looked_at += len(batch)
        self._links = {record.linktype for batch in self._ahead for record in batch}
        self._ahead.reverse()

    def beginning(self) -> Iterator[Record]:
        """The records looked at in advance. To be asked for before any is taken."""
        for batch in reversed(self._ahead):
            yield from batch

    def nothing(self, what: str) -> ColoproxyError:
        """The error for a capture in which `what` was looked for in vain: what keeps it from being there, if known."""
        advice = "name the replica's address with --side"
        if self._links and not self._links & CONVERTERS.keys():
            links = ", ".join(map(str, sorted(self._links)))
            what = f"its link type {links} is not known"
            advice = "name a capture of Ethernet, Linux cooked, raw IP or BSD loopback"
        elif self.capture.problem is not None:
            what = f"{what}, and it is cut short or corrupt: {self.capture.problem}"
            advice = "name a whole one" + (f", or {advice[5:]}" if self._links else "")
        return ColoproxyError(f"capture {self.path}: {what}; {advice}.")

    def next(self) -> list[Record] | None:
        """The next records; None at the end."""
        batch = self._ahead.pop() if self._ahead else next(self._batches, None)
        self.over = batch is None
        return batch


def begins(readings: tuple[Reading, Reading]) -> tuple[int, int] | None:
    """When each capture begins, nanoseconds since 1970; None unless they overlap in time, as far as was looked at."""
    times = [[record.time_ns for record in reading.beginning()] for reading in readings]
    if not all(times):
        return None
    first, last = [min(t) for t in times], [max(t) for t in times]
    return None if max(first) > min(last) else (first[0], first[1])
