"""The comparator's clock: it stands still while frames are not read, because the way out is blocked or the process is.

A frame of the primary may wait in the comparator while the secondary's lies unread in its socket. That is our doing,
not a divergence, so this time must not count as the frame's age.
"""

import time

LATE = 0.1  # seconds behind its time at which a loop wakes that was kept from working


class Clock:
    """Seconds that count. `now()` never goes back."""

    def __init__(self) -> None:
        self._behind = 0.0
        self._stopped: float | None = None
        self._shown = time.monotonic()

    def now(self) -> float:
        self._shown = (time.monotonic() if self._stopped is None else self._stopped) - self._behind
        return self._shown

    def woke(self, due: float) -> None:
        """The loop wakes, which was to do so at the time `due` at the latest. If it is much later, the process was
        stopped, or waited for a disk, and did not read: that time does not count either."""
        late = 0.0 if self._stopped is not None else time.monotonic() - self._behind - max(due, self._shown)
        if late > LATE:
            self._behind += late

    def stop(self) -> None:
        """Stand still from now on."""
        if self._stopped is None:
            self._stopped = time.monotonic()

    def go_on(self) -> None:
        """Run again, from where it stopped."""
        if self._stopped is not None:
            self._behind += time.monotonic() - self._stopped
            self._stopped = None

    def monotonic(self, when: float) -> float:
        """The time of the monotonic clock at which this clock will show `when`; never, while it stands still."""
        return when + self._behind if self._stopped is None else float("inf")

    def wall_ns(self, when: float) -> int:
        """Nanoseconds since 1970 at the time `when` of this clock, by the clock on the wall as it goes now."""
        return time.time_ns() - int((self.now() - when) * 1e9)
