"""The divergences, and the frames behind them: the last ones, within bounds."""

from io import BytesIO

from coloproxy.capture import PcapngWriter
from coloproxy.compare.events import Divergence
from coloproxy.link.evidence import title
from coloproxy.watch.messages import Evidenced, Happened, Seen

MOST = 1000  # divergences
MOST_BYTES = 64 << 20  # of frames


class Entry:
    """A divergence. frames: those around it, in order of time; `dropped` when they had to go, or never came whole."""

    def __init__(self, number: int, wall: float, divergence: Divergence) -> None:
        self.number = number
        self.wall = wall
        self.divergence = divergence
        self.frames: list[Seen] = []
        self.more = 0


class Vault:
    """Entries by number."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._bytes = 0

    def add(self, happened: Happened, divergence: Divergence) -> None:
        """A divergence was told."""
        assert happened.number is not None
        self.entries[happened.number] = Entry(happened.number, happened.wall, divergence)
        while len(self.entries) > MOST:
            self._empty(self.entries.pop(next(iter(self.entries))))

    def evidence(self, told: Evidenced) -> None:
        """Its frames were told."""
        entry = self.entries.get(told.number)
        if entry is None:
            return
        entry.frames = sorted(told.frames, key=lambda seen: seen.wall)
        entry.more = told.more
        self._bytes += size(entry)
        for old in self.entries.values():
            if self._bytes <= MOST_BYTES:
                break
            self._empty(old)

    def _empty(self, entry: Entry) -> None:
        self._bytes -= size(entry)
        entry.more += len(entry.frames)
        entry.frames = []


def size(entry: Entry) -> int:
    return sum(len(seen.data) for seen in entry.frames)


def pcapng(entry: Entry) -> bytes:
    """The frames as a capture, the reason as the comment of the first."""
    file = BytesIO()
    writer = PcapngWriter(file)
    comment = title(entry.divergence)
    for seen in entry.frames:
        writer.write(
            seen.data[seen.vnet_len :], int(seen.wall * 1e9), comment=comment, interface=seen.side
        )  # fmt: skip
        comment = ""
    return file.getvalue()
