"""Those who have a page open: each has a queue, and who does not empty it is dropped."""

import asyncio
from collections.abc import Callable

import msgspec

ROOM = 64  # messages that wait for one reader: half a minute


class Reader:
    """One open page. connections: whether it shows the list of them; streams: the connection it looks into."""

    def __init__(self, connections: bool, streams: str | None) -> None:
        self.connections = connections
        self.streams = streams
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(ROOM)
        self.slow = False
        self.task: asyncio.Task[None] | None = None


class Audience:
    """All readers. `changed()` is called when what they look at may have changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.readers: set[Reader] = set()
        self.dropped = 0
        self._changed = changed
        self._encode = msgspec.json.Encoder().encode

    def join(self, reader: Reader) -> None:
        self.readers.add(reader)
        self._changed()

    def leave(self, reader: Reader) -> None:
        if reader in self.readers:
            self.readers.remove(reader)
            self._changed()

    def tell(self, name: str, data: object, to: Callable[[Reader], bool] = lambda _: True) -> None:
        """Tell readers something; it is written down once for all of them."""
        chosen = [reader for reader in self.readers if to(reader)]
        if not chosen:
            return
        message = event(name, self._encode(data))
        for reader in chosen:
            try:
                reader.queue.put_nowait(message)
            except asyncio.QueueFull:
                self._drop(reader)

    def close(self) -> None:
        """There is nothing more to tell."""
        for reader in list(self.readers):
            if reader.task is not None:
                reader.task.cancel()

    def _drop(self, reader: Reader) -> None:
        self.dropped += 1
        reader.slow = True
        self.leave(reader)
        if reader.task is not None:
            reader.task.cancel()


def event(name: str, data: bytes) -> bytes:
    """A server-sent event (HTML, 9.2). JSON has no line breaks in it."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
