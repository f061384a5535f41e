"""What goes wrong with a capture: before the first record an exception, later a sentence."""

from coloproxy.errors import ColoproxyError


class CaptureError(ColoproxyError):
    """A file cannot be opened, or is no capture at all."""


class Broken(Exception):
    """Internal: nothing after `offset` (bytes into the uncompressed capture) can be read; str() says why."""

    def __init__(self, why: str, offset: int) -> None:
        super().__init__(why)
        self.offset = offset
