"""A sliding window over a source: the parsers look at `data` from `at` on and ask for more when that is not enough."""

from coloproxy.capture.errors import Broken
from coloproxy.capture.source import Source


class Window:
    """The bytes in view. `at`: where in `data` the parser is; `offset`: where in the capture `data` begins."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.data = b""
        self.at = 0
        self.offset = 0

    @property
    def left(self) -> int:
        """Bytes in view that the parser has not taken."""
        return len(self.data) - self.at

    def broken(self, why: str) -> Broken:
        """The exception for what is wrong with the bytes at `at`."""
        return Broken(why, self.offset + self.at)

    def want(self, size: int) -> bool:
        """Bring at least `size` bytes into view. False when the capture has fewer left."""
        if self.left >= size:
            return True
        pieces = [self.data[self.at :]]
        have = len(pieces[0])
        self.offset += self.at
        self.at = 0
        while have < size and (block := self._source.block()):
            pieces.append(block)
            have += len(block)
        self.data = b"".join(pieces)
        return have >= size

    def need(self, size: int, what: str) -> bool:
        """As `want`, but False only at the clean end of the capture. Raises Broken when it ends within `what`."""
        if self.want(size):
            return True
        if self._source.problem is not None:
            raise self.broken(self._source.problem)
        if self.left:
            raise self.broken(f"the capture is cut short within {what}")
        return False
