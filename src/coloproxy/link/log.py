"""Events to wherever they are wanted: one JSON object a line."""

import os
import sys

import msgspec

from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError


class EventLog:
    """Writes events as JSON lines to a file, to standard output ("-"), or nowhere (None).

    A disk that is full or a reader that has gone is said once on standard error; the proxy goes on without events.
    """

    def __init__(self, target: str | None) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._target = target
        self._fd: int | None = None
        if target == "-":
            self._fd = 1
        elif target is not None:
            try:
                self._fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise ColoproxyError(f"events file {target}: {error.strerror}; name one that can be written.") from None

    def write(self, *events: Event) -> None:
        """Write these, in order."""
        if self._fd is None:
            return
        lines = b"".join(self._encode(event) + b"\n" for event in events)
        try:
            while lines:
                lines = lines[os.write(self._fd, lines) :]
        except OSError as error:
            self._fd = None
            print(f"coloproxy: events can no longer be written to {self._target}: {error.strerror}", file=sys.stderr)

    def close(self) -> None:
        if self._fd is not None and self._fd > 2:
            os.close(self._fd)
        self._fd = None
