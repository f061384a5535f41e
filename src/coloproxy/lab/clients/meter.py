"""What is measured while a client works, and how far it is."""

import sys
import threading
import time
from collections.abc import Iterator

import msgspec

from coloproxy.lab.plan import Workload
from coloproxy.lab.result import Figures, Progress, percentiles

ERRORS = 5  # as many are told
STEPS = 200  # as often is told how far it is


class Gauge:
    """One transfer, or one conversation: when it last got on."""

    __slots__ = ("_last", "_meter", "longest")

    def __init__(self, meter: "Meter") -> None:
        self._meter = meter
        self._last = time.perf_counter()
        self.longest = 0.0

    def begin(self) -> None:
        """From now on, bytes could get through."""
        self._meter.begin(time.perf_counter())

    def moved(self, size: int) -> None:
        """So many bytes got through."""
        now = time.perf_counter()
        gap = now - self._last
        self._last = now
        if gap > self.longest:
            self.longest = gap
        self._meter.moved(size, now)


class Meter:
    """The measure of a whole client, shared by its threads.

    `total`: the bytes it will move, if that is known; otherwise its units are counted.
    """

    def __init__(self, workload: Workload, total: int) -> None:
        self._workload = workload
        self._total = total
        self._lock = threading.Lock()
        self._begun = time.perf_counter()
        self._first: float | None = None
        self._last = 0.0
        self._bytes = 0
        self._units = 0
        self._count = self._failed = 0
        self._errors: list[str] = []
        self._latencies: list[float] = []
        self._longest = 0.0
        self._step = 0

    def units(self) -> Iterator[int]:
        """Numbers of units of work that are still to be done; for each thread others."""
        while True:
            with self._lock:
                number = self._units
                if self._over(number):
                    return
                self._units += 1
            yield number

    def _over(self, number: int) -> bool:
        if self._workload.seconds is not None:
            return time.perf_counter() - self._begun >= self._workload.seconds
        return number >= self._workload.count

    def gauge(self) -> Gauge:
        return Gauge(self)

    def begin(self, now: float) -> None:
        """The first transfer begins, or another."""
        with self._lock:
            self._first = self._first or now

    def moved(self, size: int, now: float) -> None:
        with self._lock:
            self._bytes += size
            self._last = now
            self._tell(now)

    def done(self, gauge: Gauge | None = None, latency: float | None = None) -> None:
        """A unit of work is done, all of it right."""
        with self._lock:
            self._count += 1
            if gauge is not None:
                self._longest = max(self._longest, gauge.longest)
            if latency is not None:
                self._latencies.append(latency)
                self._longest = max(self._longest, latency)
            self._tell(time.perf_counter())

    def lost(self) -> None:
        """A unit came to nothing, as may happen to datagrams."""
        with self._lock:
            self._failed += 1

    def failed(self, error: Exception, unit: int) -> None:
        """A unit of work went wrong."""
        with self._lock:
            self._failed += 1
            if len(self._errors) < ERRORS:
                self._errors.append(f"{self._workload.name} {unit + 1}: {error or type(error).__name__}")

    def _tell(self, now: float) -> None:
        """Say how far it is, if that has changed enough."""
        if self._workload.seconds is not None:
            part = (now - self._begun) / self._workload.seconds
        elif self._total:
            part = self._bytes / self._total
        else:
            part = self._count / self._workload.count
        if part * STEPS >= self._step + 1:
            self._step = int(part * STEPS)
            tell(Progress(min(part, 1.0), self._bytes))

    def figures(self) -> Figures:
        """All of it, the work being over."""
        seconds = time.perf_counter() - self._begun
        moving = seconds if self._first is None else self._last - self._first
        may_fail = self._workload.name in ("udp", "ping")
        whole = self._workload.seconds is not None or self._count + self._failed == self._workload.count
        return Figures(
            name=self._workload.name,
            family=self._workload.family,
            ok=not self._errors and self._count > 0 and whole and (may_fail or not self._failed),
            count=self._count,
            failed=self._failed,
            bytes=self._bytes,
            seconds=seconds,
            bits_per_second=8 * self._bytes / moving if self._bytes else 0.0,
            per_second=self._count / seconds,
            longest_gap=self._longest,
            latency=percentiles(self._latencies),
            errors=self._errors,
        )


def tell(message: object) -> None:
    """One line of JSON to whoever started this."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()
