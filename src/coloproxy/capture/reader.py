"""A capture being read: pcap or pcapng, compressed with gzip or not, from a path or a file."""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Literal, Self

from coloproxy.capture import pcap, pcapng
from coloproxy.capture.errors import Broken, CaptureError
from coloproxy.capture.record import Record
from coloproxy.capture.source import Readable, Source
from coloproxy.capture.window import Window


class Capture:
    """A capture's records, read as they are asked for, in constant memory.

        with Capture("trace.pcap.gz") as capture:
            for record in capture: ...
            if capture.problem: print(capture.problem)

    format: "pcap" or "pcapng". read: records so far. position: bytes of the file so far; size: bytes of the whole, None
    for what is no regular file. problem: a sentence once something of the capture could not be read; the records
    before it were. Raises CaptureError at once, and only then, for what cannot be opened or is no capture at all.
    """

    def __init__(self, file: str | os.PathLike[str] | Readable, name: str = "") -> None:
        """file: a path, or a binary file object, which stays open. name: what errors call it, by default the path."""
        self.problem: str | None = None
        self.read = 0
        self._own: BinaryIO | None = None
        self._next: list[Record] | None = None
        if isinstance(file, str | os.PathLike):
            self.name = name or os.fspath(file)
            file = self._own = self._open(file)
        else:
            self.name = name or str(getattr(file, "name", "the capture"))
        try:
            self.size = _size(self._own)
            self._source = Source(file)
            self._window = Window(self._source)
            self.format, self._batches = self._recognise()
            self._next = self._pull()
        except BaseException:
            self.close()
            raise

    def batches(self) -> Iterator[list[Record]]:
        """The records, some at a time; never an empty list."""
        while self._next is not None:
            records, self._next = self._next, None
            self.read += len(records)
            yield records
            self._next = self._pull()

    def __iter__(self) -> Iterator[Record]:
        for records in self.batches():
            yield from records

    @property
    def position(self) -> int:
        return self._source.position

    @property
    def compressed(self) -> bool:
        return self._source.compressed

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:  # fmt: skip
        self.close()

    def _open(self, path: str | os.PathLike[str]) -> BinaryIO:
        try:
            return open(path, "rb", buffering=0)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise CaptureError(f"capture {self.name}: {why}; name a readable pcap or pcapng file.") from None

    def _recognise(self) -> tuple[Literal["pcap", "pcapng"], Iterator[list[Record]]]:
        """Which format it is, by its first bytes."""
        self._window.want(4)
        magic = self._window.data[:4]
        if magic in pcap.MAGICS:
            return "pcap", pcap.batches(self._window)
        if magic == pcapng.SECTION_MAGIC:
            return "pcapng", pcapng.batches(self._window)
        if self._source.problem is not None:
            raise self._no_capture(self._source.problem)
        if not magic:
            raise self._no_capture("it is empty")
        raise self._no_capture(f"it begins with {magic.hex(' ')}, which is neither pcap nor pcapng")

    def _no_capture(self, why: str) -> CaptureError:
        return CaptureError(f"capture {self.name}: {why}; name a pcap or pcapng file, gzip or not.")

    def _pull(self) -> list[Record] | None:
        """The next batch; None at the end, with `problem` set if the end came too early."""
        try:
            return next(self._batches, None)
        except Broken as broken:
            where = "the uncompressed capture" if self.compressed else "the file"
            self.problem = f"{broken}, at byte {broken.offset} of {where}"
        except CaptureError as error:
            raise self._no_capture(self._source.problem or str(error)) from None
        return None


def _size(file: BinaryIO | None) -> int | None:
    if file is None:
        return None
    status = os.fstat(file.fileno())
    return status.st_size or None
