"""The agent and its lease: asked for, renewed, run out."""

import time
from collections.abc import Callable

from coloproxy.guest import lease
from coloproxy.guest import states as table
from coloproxy.guest.core import Core
from coloproxy.guest.lease import Record, RefusedError
from coloproxy.guest.states import State

E = table.Event
RENEWED = table.PRIMARY - {State.STARTING} | {State.TAKING_OVER}
AGAIN = 0.1  # seconds until the lease is asked again that could not be reached


class Leasing(Core):
    """Asks beside the event loop, and hears the answer on it."""

    def _ask_lease(self, decide: lease.Decide, granted: Callable[[], None]) -> None:
        """Change the record; a refusal is an event, and who cannot be reached is asked again while that has a point."""
        asked, state = time.monotonic(), self.state
        self._asks += 1
        number = self._asks

        def told(record: Record | None, error: Exception | None) -> None:
            if self._stopping or self.state is not state or self._asks != number:
                return
            if record is not None:
                self.generation = record.generation
                self._extend(asked)
                self._remember()
                granted()
            elif isinstance(error, RefusedError):
                if self._can(E.REFUSED):
                    self.fire(E.REFUSED, str(error))
            else:
                self.warn(f"lease: {error}")
                self.loop.after(AGAIN, again)

        def again() -> None:
            if self.state is state and self._asks == number:
                self._ask_lease(decide, granted)

        self._jobs.begin(lambda: self._store.change(decide), told)

    def _extend(self, asked: float) -> None:
        """The lease lasts from when it was asked for at the least."""
        timing = self.file.timing
        self._valid_until = asked + (timing.lease - timing.margin) / 1000

    def _renewing(self) -> None:
        """Renew the lease, all the time that this host has the guest, or may have it: so it hears that it has not."""
        self.loop.after(self.file.timing.lease / 1000 / 5, self._renewing)
        if self.state not in RENEWED:
            return
        if self.state in table.UNPROTECTED and time.monotonic() >= self._valid_until and self._can(E.EXPIRING):
            self.fire(E.EXPIRING)
        asked, generation = time.monotonic(), self.generation

        def told(record: Record | None, error: Exception | None) -> None:
            if self.generation != generation or self.state not in RENEWED or self._stopping:
                return
            if record is not None:
                self._extend(asked)
                if self.state is State.SILENCED:
                    self.fire(E.RENEWED)
                elif self.state in table.UNPROTECTED | {State.PAIRING}:
                    self._let_speak(self._valid_until)
            elif isinstance(error, RefusedError) and self._can(E.REFUSED):
                self.fire(E.REFUSED, str(error))

        self._jobs.begin(lambda: self._store.change(lease.renew(self.host, generation)), told)
