"""What a run has to tell. The same records are printed by `--json`."""

from typing import Any, Literal

import msgspec


class Percentiles(msgspec.Struct, frozen=True):
    """Microseconds."""

    least: float
    p50: float
    p90: float
    p99: float
    most: float


class Figures(msgspec.Struct, kw_only=True, tag="figures"):
    """What one client measured. `ok`: all was done and every byte was right. `errors`: what was not, at most a few.

    count: transfers, connections, round trips or datagrams that came back. failed: those that did not. bytes: payload
    moved and checked. bits_per_second: of these, from the first transfer's request to the last byte. longest_gap: the
    longest time in which a transfer, or a round trip, made no progress.
    """

    name: str
    family: Literal[4, 6] | None = None
    ok: bool = True
    count: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    bits_per_second: float = 0.0
    per_second: float = 0.0
    longest_gap: float = 0.0
    latency: Percentiles | None = None
    errors: list[str] = []


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An action, and when it was begun, in seconds of the work."""

    what: str
    replica: str
    time: float


class ProxyFigures(msgspec.Struct, kw_only=True):
    """What the proxy did. cpu_seconds: of its process, during the work. reasons: divergences by reason. summaries: its
    events at the end, whole."""

    cpu_seconds: float = 0.0
    divergences: int = 0
    reasons: dict[str, int] = {}
    checkpoints_requested: int = 0
    events: dict[str, int] = {}
    summaries: list[dict[str, Any]] = []


class Result(msgspec.Struct, kw_only=True, tag="result"):
    """A run. seconds: from the first client's start to the last one's end."""

    path: str
    ports: str
    seconds: float = 0.0
    ok: bool = True
    workloads: list[Figures] = []
    actions: list[Done] = []
    proxy: ProxyFigures | None = None


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Output of a client command of the user's."""

    text: str


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """What is waited for before the work can begin."""

    text: str


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The part of the work that is done, and the bytes moved so far."""

    part: float
    bytes: int = 0


def percentiles(seconds: list[float]) -> Percentiles | None:
    """Of some times; None if there are none."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    least, *rest = (1e6 * ordered[round(last * part)] for part in (0.0, 0.5, 0.9, 0.99, 1.0))
    return Percentiles(least, *rest)
