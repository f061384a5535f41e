"""What is to be measured, and what was. The report is what `coloproxy demo --json` prints."""

from statistics import median
from typing import Literal

import msgspec

from coloproxy.lab.plan import Ports

Way = Literal["native", "packet", "qemu", "coloproxy"]
WAYS: tuple[Way, ...] = ("native", "packet", "qemu", "coloproxy")
TITLES: dict[Way, str] = {
    "native": "native, one server",
    "packet": "by packet, before 2018",
    "qemu": "by sequence, QEMU",
    "coloproxy": "by sequence, coloproxy",
}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One way at one size and rate.

    size: bytes of the file. rate: bits a second of every network card; None: as fast as it goes. runs: how often it is
    downloaded, as far as `budget` seconds go. checkpoint_cost: milliseconds for which a checkpoint stops both replicas.
    page: as in `Plan`.
    """

    way: Way
    size: int
    rate: float | None
    runs: int
    budget: float
    checkpoint_cost: float
    page: int | None = None


class Download(msgspec.Struct, frozen=True, kw_only=True, tag="download"):
    """What came of the file, from its beginning, until the time was over. seconds: from the request to the last byte
    or, unless it came whole, to the end of the time. md5: of what came."""

    bytes: int
    seconds: float
    md5: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A download. whole: the whole file came. right: its MD5 is that of as much of the file that the server has."""

    bytes: int
    seconds: float
    md5: str
    whole: bool
    right: bool


class Measurement(msgspec.Struct, kw_only=True, tag="measurement"):
    """What came of a task.

    missing: why there are no figures. bits_per_second: the median of the whole downloads or, if there is none, that of
    the part that came; of_native: as a fraction of that of the native way. divergences: found by the comparator; None
    where it does not tell. checkpoints_asked: requests that it sent; checkpoints_made: these answered, which stopped
    the replicas for `stopped` seconds in all. comparator: the process that compares, of which cpu_seconds is the time
    during the downloads; elements_cpu_seconds: that of coloproxy's process where it is another, which mirrors and
    rewrites for it.
    """

    way: Way
    size: int
    rate: float | None
    missing: str | None = None
    downloads: list[Checked] = []
    bits_per_second: float | None = None
    of_native: float | None = None
    divergences: int | None = None
    reasons: dict[str, int] = {}
    checkpoints_asked: int | None = None
    checkpoints_made: int | None = None
    stopped: float = 0.0
    comparator: str | None = None
    cpu_seconds: float | None = None
    elements_cpu_seconds: float | None = None

    def take(self, downloads: list[Checked]) -> None:
        """Take what was downloaded, at least once."""
        self.downloads = downloads
        counted = [download for download in downloads if download.whole] or downloads
        self.bits_per_second = median(8 * download.bytes / download.seconds for download in counted)

    @property
    def bytes(self) -> int:
        """All that was downloaded."""
        return sum(download.bytes for download in self.downloads)

    @property
    def whole(self) -> bool:
        """Whether the file came whole, once at least."""
        return any(download.whole for download in self.downloads)

    @property
    def right(self) -> bool:
        return all(download.right for download in self.downloads)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What was published with the commit of QEMU that began to compare by sequence number: FTP of 200 MB and of 1 GB,
    fractions of native speed. packet_below: it was less than that."""

    commit: str = "f449c9e549c2f93839a805ea9c7d66c9699794af"
    date: str = "January 2018"
    packet_below: float = 0.01
    sequence: float = 0.20


class Report(msgspec.Struct, kw_only=True):
    """A whole demonstration. seconds: that it took. machine: what it ran on."""

    ports: Ports
    runs: int
    budget_seconds: float
    checkpoint_cost_ms: float
    machine: dict[str, str | int]
    published: Published
    measurements: list[Measurement] = []
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether every byte of every download was."""
        return all(each.right for each in self.measurements)

    def add(self, found: Measurement) -> None:
        """Take a measurement; the native one comes first."""
        self.measurements.append(found)
        native = next((each for each in self.measurements if each.way == "native" and same_load(each, found)), None)
        if native is not None and native.bits_per_second and found.bits_per_second is not None:
            found.of_native = found.bits_per_second / native.bits_per_second

    def loads(self) -> list[list[Measurement]]:
        """The measurements of each size and rate, in the order in which they were made."""
        found: list[list[Measurement]] = []
        for each in self.measurements:
            if not found or not same_load(found[-1][0], each):
                found.append([])
            found[-1].append(each)
        return found


def same_load(one: Measurement, other: Measurement) -> bool:
    return (one.size, one.rate) == (other.size, other.rate)


# As they are shown


def load(of: Task | Measurement) -> str:
    """The size and the rate, in words."""
    return f"{size(of.size)}, {'unshaped' if of.rate is None else f'at {of.rate / 1e9:g} Gbit/s'}"


def size(count: int) -> str:
    """Bytes in binary units."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{digits(count / (1 << power))} {unit}"
    return f"{count} bytes"


def rate(bits: float) -> str:
    """Bits a second."""
    return f"{digits(bits / 1e9)} Gbit/s" if bits >= 999.5e6 else f"{digits(bits / 1e6)} Mbit/s"


def percent(fraction: float) -> str:
    """Two digits are enough."""
    value = 100 * fraction
    return f"{value:.0f} %" if value >= 9.95 or value == round(value) else f"{value:.{1 if value >= 0.995 else 2}f} %"


def digits(value: float) -> str:
    """Two digits after the point, or fewer: three in all are enough."""
    for places, limit in ((2, 9.995), (1, 99.95)):
        if value < limit:
            text = f"{value:.{places}f}"
            return text.rstrip("0").rstrip(".") if float(text) == int(float(text)) else text
    return f"{value:.0f}"
