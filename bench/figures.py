"""What the benchmark measured: the types of its JSON file, medians, ratios and the limits they are held against."""

from statistics import median
from typing import Literal

import msgspec

PROXIES = ("coloproxy", "qemu", "relay")
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6")


class Run(msgspec.Struct, kw_only=True):
    """One run of one workload through one proxy. Bytes are frame bytes of the primary without framing."""

    workload: str
    proxy: str
    frames: int
    bytes: int
    seconds: float
    cpu_seconds: float
    peak_rss: int
    out_of_order: int
    right: bool

    @property
    def rate(self) -> float:
        """The primary's frames per second."""
        return self.frames / self.seconds

    @property
    def megabytes(self) -> float:
        """The primary's bytes per second, in units of 10^6."""
        return self.bytes / self.seconds / 1e6

    @property
    def cost(self) -> float:
        """CPU seconds of the proxy for a million frames of the primary."""
        return self.cpu_seconds / self.frames * 1e6


class Figures(msgspec.Struct, kw_only=True):
    """Medians over the runs of one workload through one proxy, with the least and the largest cost seen."""

    workload: str
    title: str
    proxy: str
    runs: int
    frames_per_second: float
    megabytes_per_second: float
    cpu_per_million: float
    cpu_per_million_range: tuple[float, float]
    peak_rss: int
    out_of_order: int


Measure = Literal["cpu_vs_qemu", "rate_vs_qemu", "cpu_vs_relay"]

MEASURES: dict[Measure, str] = {
    "cpu_vs_qemu": "CPU a frame, times less than QEMU",
    "rate_vs_qemu": "frames/s, times QEMU's",
    "cpu_vs_relay": "CPU a frame, times the relay's",
}

# What is asked for: at least so much, and of the relay's CPU at most.
LIMITS: dict[tuple[str, Measure], float] = {
    ("W1", "cpu_vs_qemu"): 8.0,
    ("W2", "cpu_vs_qemu"): 8.0,
    ("W3", "cpu_vs_qemu"): 10.0,
    ("W4", "cpu_vs_qemu"): 8.0,
    ("W5", "cpu_vs_qemu"): 4.0,
    ("W1", "rate_vs_qemu"): 5.0,
    ("W2", "rate_vs_qemu"): 5.0,
    ("W3", "rate_vs_qemu"): 8.0,
    ("W5", "rate_vs_qemu"): 3.0,
    ("W1", "cpu_vs_relay"): 2.0,
}


class Ratio(msgspec.Struct, kw_only=True):
    """How two proxies compare in one workload, and what is asked for, if anything is."""

    workload: str
    measure: Measure
    value: float
    limit: float | None
    met: bool

    @property
    def wanted(self) -> str:
        """What is asked for, in a word."""
        if self.limit is None:
            return ""
        return f"{'≤' if self.measure == 'cpu_vs_relay' else '≥'} {self.limit:g}"


class Result(msgspec.Struct, kw_only=True):
    """The whole file."""

    machine: dict[str, str]
    quick: bool
    figures: list[Figures]
    ratios: list[Ratio]
    runs: list[Run]


def summarise(runs: list[Run], titles: dict[str, str]) -> list[Figures]:
    """Medians, by workload and proxy, in the order of WORKLOADS and PROXIES."""
    result = []
    for workload in WORKLOADS:
        for proxy in PROXIES:
            mine = [run for run in runs if (run.workload, run.proxy) == (workload, proxy)]
            if not mine:
                continue
            costs = [run.cost for run in mine]
            result.append(
                Figures(
                    workload=workload,
                    title=titles[workload],
                    proxy=proxy,
                    runs=len(mine),
                    frames_per_second=median(run.rate for run in mine),
                    megabytes_per_second=median(run.megabytes for run in mine),
                    cpu_per_million=median(costs),
                    cpu_per_million_range=(min(costs), max(costs)),
                    peak_rss=int(median(run.peak_rss for run in mine)),
                    out_of_order=int(median(run.out_of_order for run in mine)),
                )
            )
    return result


def ratios(runs: list[Run]) -> list[Ratio]:
    """coloproxy against the others, by measure and workload: the median over the rounds, of two runs of one round each,
    for these met the machine in the same state."""
    result = []
    for measure in MEASURES:
        other = "relay" if measure == "cpu_vs_relay" else "qemu"
        for workload in WORKLOADS:
            ours = [run for run in runs if (run.workload, run.proxy) == (workload, "coloproxy")]
            theirs = [run for run in runs if (run.workload, run.proxy) == (workload, other)]
            if not ours or not theirs:
                continue
            value = median(compare(measure, mine, its) for mine, its in zip(ours, theirs, strict=True))
            limit = LIMITS.get((workload, measure))
            met = limit is None or (value <= limit if measure == "cpu_vs_relay" else value >= limit)
            result.append(Ratio(workload=workload, measure=measure, value=value, limit=limit, met=met))
    return result


def compare(measure: Measure, mine: Run, its: Run) -> float:
    """One ratio of two runs."""
    if measure == "rate_vs_qemu":
        return mine.rate / its.rate
    return its.cost / mine.cost if measure == "cpu_vs_qemu" else mine.cost / its.cost
