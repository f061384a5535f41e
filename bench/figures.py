"""What the benchmark measured: the types of its JSON file, medians, ratios and the limits they are held against."""

from statistics import median

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


class Ratio(msgspec.Struct, kw_only=True):
    """How two proxies compare in one workload, and what is asked for."""

    workload: str
    what: str
    value: float
    limit: float
    met: bool


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


# (workload, figure, the one compared with, factor). "less": at least so many times less; "more": at least so many times
# more; "within": at most so many times as much.
WANTED = (
    ("W1", "cpu", "qemu", "less", 8.0),
    ("W2", "cpu", "qemu", "less", 8.0),
    ("W3", "cpu", "qemu", "less", 10.0),
    ("W4", "cpu", "qemu", "less", 8.0),
    ("W5", "cpu", "qemu", "less", 4.0),
    ("W1", "frames", "qemu", "more", 5.0),
    ("W2", "frames", "qemu", "more", 5.0),
    ("W3", "frames", "qemu", "more", 8.0),
    ("W5", "frames", "qemu", "more", 3.0),
    ("W1", "cpu", "relay", "within", 2.0),
)


def ratios(figures: list[Figures]) -> list[Ratio]:
    """coloproxy against the others, for each wanted ratio whose two figures are there."""
    found = {(item.workload, item.proxy): item for item in figures}
    result = []
    for workload, figure, other, sense, limit in WANTED:
        ours, theirs = found.get((workload, "coloproxy")), found.get((workload, other))
        if ours is None or theirs is None:
            continue
        if figure == "frames":
            value = ours.frames_per_second / theirs.frames_per_second
        elif sense == "less":
            value = theirs.cpu_per_million / ours.cpu_per_million
        else:
            value = ours.cpu_per_million / theirs.cpu_per_million
        met = value <= limit if sense == "within" else value >= limit
        result.append(Ratio(workload=workload, what=NAMES[figure, other, sense], value=value, limit=limit, met=met))
    return result


NAMES = {
    ("cpu", "qemu", "less"): "CPU a frame, times less than QEMU",
    ("frames", "qemu", "more"): "frames/s, times QEMU's",
    ("cpu", "relay", "within"): "CPU a frame, times the relay's (at most)",
}
