"""Requests for checkpoints: one at a time, not too often, and again when nobody answers."""

from collections import Counter
from collections.abc import Callable

from coloproxy.compare.config import Config
from coloproxy.compare.events import CheckpointRequested, Divergence


class Requests:
    """Turns divergences into requests. `emit` is given each request when it is due.

    The first divergence makes the request; those that follow before a checkpoint completes are added to its list of
    reasons. A request is due `min_interval` after the one before, and again each `retry_after` without an answer.
    """

    def __init__(self, config: Config, emit: Callable[[CheckpointRequested], None]) -> None:
        self._emit = emit
        self._interval = config.min_interval / 1000
        self._retry = config.retry_after / 1000
        self._first: Divergence | None = None
        self._reasons: Counter[str] = Counter()
        self._attempt = 0
        self._sent: float | None = None
        self._due: float | None = None
        self.count = 0

    @property
    def pending(self) -> bool:
        """Whether a checkpoint is needed that has not been reported complete."""
        return self._first is not None

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._due

    def ask(self, divergence: Divergence, now: float) -> None:
        """Ask for a checkpoint because of this divergence, or add it to the request that is pending."""
        self._reasons[divergence.reason] += 1
        if self._first is None:
            self._first = divergence
            self._attempt = 0
            self._due = now if self._sent is None else max(now, self._sent + self._interval)
            self.tick(now)

    def tick(self, now: float) -> None:
        """Send the request if it is due."""
        first = self._first
        if first is None or self._due is None or now < self._due:
            return
        self._attempt += 1
        self.count += 1
        self._sent = now
        self._due = now + self._retry
        self._emit(
            CheckpointRequested(
                time=now, epoch=first.epoch, attempt=self._attempt, reason=first.reason, connection=first.connection,
                detail=first.detail, rule=first.rule, reasons=dict(self._reasons), seq=first.seq,
                stream_offset=first.stream_offset, primary=first.primary, secondary=first.secondary,
                context_offset=first.context_offset, held_primary=first.held_primary,
                held_secondary=first.held_secondary,
            )
        )  # fmt: skip

    def completed(self, now: float) -> float | None:
        """A checkpoint is complete: nothing is pending. Seconds since the request was sent, if one was."""
        took = now - self._sent if self._attempt and self._sent is not None else None
        self._first = self._due = None
        self._reasons.clear()
        self._attempt = 0
        return took

    def failed(self, now: float) -> None:
        """A checkpoint came to nothing: what is pending is asked for again in its time."""
        if self._first is not None:
            self._due = max(now + self._retry, self._due or now)
