"""The forms a trace is written in: QEMU's log lines, QEMU's binary file (version 4), JSON lines."""

import abc
import datetime
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from coloproxy.trace.errors import TraceError
from coloproxy.trace.event import AnyEvent
from coloproxy.trace.printf import Value
from coloproxy.trace.sink import Sink, StandardError, Writable

Kind = Literal["log", "simple", "json"]
Timestamps = Literal["off", "pid", "tid", "iso"]
Clock = Callable[[], int]

KINDS: tuple[Kind, ...] = ("log", "simple", "json")
TIMESTAMPS: tuple[Timestamps, ...] = ("off", "pid", "tid", "iso")


class Backend(abc.ABC):
    """Writes events to a file, one record each. Records that find no room are counted, and the count is written
    into the trace as soon as there is room again."""

    def __init__(self, file: Writable, threshold: int) -> None:
        self._sink = Sink(file, threshold)
        self._dropped = 0
        self._lost = 0

    @abc.abstractmethod
    def encode(self, event: AnyEvent, values: tuple[Value, ...]) -> bytes:
        """The record of an event."""

    @abc.abstractmethod
    def encode_dropped(self, count: int) -> bytes:
        """The record that says how many are missing here."""

    def write(self, event: AnyEvent, values: tuple[Value, ...]) -> None:
        """Record an event; `values` are its converted arguments."""
        if self._dropped and self._sink.put(self.encode_dropped(self._dropped)):
            self._dropped = 0
        if self._dropped or not self._sink.put(self.encode(event, values)):
            self._dropped += 1
            self._lost += 1

    def flush(self) -> bool:
        """Write what is waiting; False: some of it still is."""
        return self._sink.flush()

    def close(self) -> int:
        """Write what is waiting and close the file; returns how many records are missing from it."""
        if self._dropped and self._sink.flush():
            self._sink.put(self.encode_dropped(self._dropped))
        return self._lost + self._sink.close()


class LogBackend(Backend):
    """`NAME TEXT`, one line an event, written at once. What is in front of the name depends on `timestamps`:

    off  nothing (QEMU 6.0 and later)
    pid  `PID@SECONDS.MICROSECONDS:` (QEMU up to 3.0); the newline that some formats of that time end in gives an
         empty line, as it did then
    tid  the same with the thread's number (QEMU 3.1 and later)
    iso  the time as ISO 8601, UTC, and a blank (QEMU 10.2 and later)
    """

    def __init__(
        self,
        file: Writable,
        timestamps: Timestamps = "off",
        clock: Clock = time.time_ns,
        number: Callable[[], int] | None = None,
    ) -> None:
        """`clock` gives nanoseconds since 1970; `number` stands in for the number of the process or thread."""
        super().__init__(file, threshold=0)
        self._timestamps = timestamps
        self._clock = clock
        self._number = number or (os.getpid if timestamps == "pid" else threading.get_native_id)

    def encode(self, event: AnyEvent, values: tuple[Value, ...]) -> bytes:
        text = event.text(values)
        if self._timestamps != "pid":
            text = text.removesuffix(b"\n")
        return b"%b%b %b\n" % (self._prefix(), event.name.encode(), text)

    def encode_dropped(self, count: int) -> bytes:
        return b"%bdropped %d\n" % (self._prefix(), count)

    def _prefix(self) -> bytes:
        if self._timestamps == "off":
            return b""
        seconds, microseconds = divmod(self._clock() // 1000, 1_000_000)
        if self._timestamps == "iso":
            moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
            return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z ".encode()
        return b"%d@%d.%06d:" % (self._number(), seconds, microseconds)


class SimpleBackend(Backend):
    """QEMU's binary file, version 4, in the byte order of the host:

    header   u64 all ones, u64 magic, u64 version
    mapping  u64 0, u64 event number, u32 length, name; one for each event, before any record
    event    u64 1, u64 event number, u64 nanoseconds (monotonic clock), u32 length from the event number to the
             record's end, u32 process, then per argument a u64, or a u32 length and at most 512 bytes of text
    dropped  an event with the number all ones less one, and one argument, how many

    Records are written 64 KiB at a time, the rest on closing.
    """

    HEADER_ID = 2**64 - 1
    MAGIC = 0xF2B177CB0AA429B4
    VERSION = 4
    DROPPED_ID = 2**64 - 2
    MAX_TEXT = 512
    THRESHOLD = 64 * 1024

    def __init__(
        self,
        file: Writable,
        events: Iterable[AnyEvent],
        clock: Clock = time.monotonic_ns,
        number: Callable[[], int] = os.getpid,
    ) -> None:
        super().__init__(file, self.THRESHOLD)
        self._clock = clock
        self._number = number
        self._sink.put(struct.pack("=QQQ", self.HEADER_ID, self.MAGIC, self.VERSION))
        for event in events:
            name = event.name.encode()
            self._sink.put(struct.pack("=QQI", 0, event.number, len(name)) + name)

    def encode(self, event: AnyEvent, values: tuple[Value, ...]) -> bytes:
        return self._record(event.number, values)

    def encode_dropped(self, count: int) -> bytes:
        return self._record(self.DROPPED_ID, (count,))

    def _record(self, number: int, values: tuple[Value, ...]) -> bytes:
        body = b"".join(map(self._argument, values))
        return struct.pack("=QQQII", 1, number, self._clock(), 24 + len(body), self._number()) + body

    def _argument(self, value: Value) -> bytes:
        if isinstance(value, int):
            return struct.pack("=Q", value & (2**64 - 1))
        text = value[: self.MAX_TEXT]
        return struct.pack("=I", len(text)) + text


class JsonBackend(Backend):
    """One JSON object a line, written at once: `time_ns` (since 1970), `pid`, `event`, `arguments` by name, `text`."""

    def __init__(
        self, file: Writable, clock: Clock = time.time_ns, number: Callable[[], int] = os.getpid
    ) -> None:
        super().__init__(file, threshold=0)
        self._clock = clock
        self._number = number

    def encode(self, event: AnyEvent, values: tuple[Value, ...]) -> bytes:
        arguments = {
            argument.name: value if isinstance(value, int) else value.decode()
            for argument, value in zip(event.arguments, values)
        }
        text = event.text(values).removesuffix(b"\n").decode(errors="replace")
        return self._line({"event": event.name, "arguments": arguments, "text": text})

    def encode_dropped(self, count: int) -> bytes:
        return self._line({"event": "dropped", "arguments": {"count": count}, "text": f"{count}"})

    def _line(self, members: dict[str, object]) -> bytes:
        return msgspec.json.encode({"time_ns": self._clock(), "pid": self._number(), **members}) + b"\n"


def make_backend(
    kind: str, file: str | os.PathLike[str] | Writable | None, timestamps: str, events: Iterable[AnyEvent]
) -> Backend:
    """A back end writing to `file`: a path (emptied first), a binary file, or None for standard error.

    Raises TraceError for a kind or form of time that does not exist, for options that do not go together, and for
    a file that cannot be opened; nothing is opened then.
    """
    if kind not in KINDS:
        raise TraceError(f"unknown trace back end '{kind}'; there are {', '.join(KINDS)}.")
    if timestamps not in TIMESTAMPS:
        raise TraceError(f"unknown form of trace timestamps '{timestamps}'; there are {', '.join(TIMESTAMPS)}.")
    if kind != "log" and timestamps != "off":
        raise TraceError(f"trace timestamps are for the log back end; '{kind}' has its own.")
    if kind == "simple" and file is None:
        raise TraceError("the trace back end 'simple' writes a binary file; name one with --trace-file FILE.")
    opened = _open(file)
    if kind == "simple":
        return SimpleBackend(opened, events)
    if kind == "json":
        return JsonBackend(opened)
    return LogBackend(opened, timestamps)


def _open(file: str | os.PathLike[str] | Writable | None) -> Writable:
    if file is None:
        return StandardError()
    if not isinstance(file, (str, os.PathLike)):
        return file
    try:
        return open(file, "wb", buffering=0)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TraceError(f"cannot write the trace file '{os.fspath(file)}': {reason}; name another.") from None
