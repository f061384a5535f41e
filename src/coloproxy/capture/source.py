"""Where a capture's bytes come from: a file or a pipe, compressed with gzip or not, a block at a time."""

import zlib
from typing import Protocol

BLOCK = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
GZIP = 16 + zlib.MAX_WBITS


class Readable(Protocol):
    """What is needed of a binary file object."""

    def read(self, size: int, /) -> bytes | None: ...


class Source:
    """Blocks of the uncompressed capture.

    position: bytes of the file taken so far. problem: why reading ended early, or None.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._gzip: _Gzip | None = None
        self._pushed_back = b""
        self.position = 0
        self.problem: str | None = None
        head = self._raw(len(GZIP_MAGIC))
        while 0 < len(head) < len(GZIP_MAGIC) and (more := self._raw(1)):
            head += more
        self._pushed_back = head
        if head == GZIP_MAGIC:
            self._gzip = _Gzip()

    def block(self) -> bytes:
        """The next bytes, about BLOCK of them; empty at the end, and when reading failed (`problem` says so)."""
        if self.problem is not None:
            return b""
        return self._raw_block() if self._gzip is None else self._inflated(self._gzip)

    @property
    def compressed(self) -> bool:
        return self._gzip is not None

    def _raw_block(self) -> bytes:
        head, self._pushed_back = self._pushed_back, b""
        return head or self._raw(BLOCK)

    def _raw(self, size: int) -> bytes:
        try:
            data = self._file.read(size) or b""
        except OSError as error:
            self.problem = f"reading failed after {self.position} bytes ({error.strerror or error})"
            return b""
        self.position += len(data)
        return data

    def _inflated(self, inflater: "_Gzip") -> bytes:
        while True:
            try:
                data = inflater.inflate()
            except zlib.error as error:
                self.problem = f"the gzip compression is corrupt before byte {self.position} of the file ({error})"
                return b""
            if data:
                return data
            fresh = self._raw_block()
            if not fresh:
                if inflater.unfinished and self.problem is None:
                    self.problem = f"the gzip compression ends too early, after {self.position} bytes of the file"
                return b""
            inflater.feed(fresh)


class _Gzip:
    """Members of a gzip file (RFC 1952), one after another; what follows the last and is no member is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)
        self._waiting = b""
        self._fault: zlib.error | None = None

    @property
    def unfinished(self) -> bool:
        return not self._member.eof

    def feed(self, data: bytes) -> None:
        self._waiting += data

    def inflate(self) -> bytes:
        """Up to BLOCK bytes of what was fed; empty when more must be fed. Raises zlib.error at a fault, not before."""
        if self._fault is not None:
            raise self._fault
        if self._member.eof and not self._next_member():
            return b""
        before = self._member.copy()
        try:
            data = self._member.decompress(self._waiting, BLOCK)
        except zlib.error as fault:
            self._fault, self._member = fault, before
            if rescued := self._rescued():
                return rescued
            raise
        self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return data

    def _rescued(self) -> bytes:
        """What lies before the fault. zlib keeps nothing of a call that meets one, so it is approached by halves."""
        pieces = []
        size = BLOCK
        while size := size // 2:
            before = self._member.copy()
            try:
                pieces.append(self._member.decompress(self._waiting, size))
            except zlib.error:
                self._member = before
            else:
                self._waiting = self._member.unconsumed_tail
        return b"".join(pieces)

    def _next_member(self) -> bool:
        if len(self._waiting) < len(GZIP_MAGIC):
            return False
        if not self._waiting.startswith(GZIP_MAGIC):
            self._waiting = b""
            return False
        self._member = zlib.decompressobj(GZIP)
        return True
