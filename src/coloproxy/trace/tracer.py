"""A list of events, which of them are on, and where they go."""

import contextlib
import fnmatch
import os
import re
import sys
from collections.abc import Callable, Iterable
from importlib import resources

from coloproxy.trace.backends import Backend, make_backend
from coloproxy.trace.errors import TraceError, TraceSyntaxError, UnknownEventError, UntraceableEventError
from coloproxy.trace.event import AnyEvent, Event
from coloproxy.trace.parser import EventSpec, check_unique, parse
from coloproxy.trace.printf import Value
from coloproxy.trace.sink import Writable

# A line of an events file, in bytes without its newline.
MAX_LINE = 1023


class Tracer:
    """The events of one list. All are off at first and go to standard error as log lines when they are on."""

    def __init__(self, specs: Iterable[EventSpec]) -> None:
        """Raises TraceSyntaxError if two specs have one name, or a format does not fit its arguments."""
        specs = list(specs)
        check_unique(specs)
        self.events: dict[str, AnyEvent] = {
            spec.name: Event(spec, number, self._emit) for number, spec in enumerate(specs)
        }
        self._callbacks: list[Callable[[], None]] = []
        self._backend = self._default_backend()

    def enable(self, pattern: str) -> int:
        """Switch on what the pattern matches, or off with `-` in front; returns how many events changed.

        `*` matches any run of characters, `?` any one. Raises UnknownEventError for a pattern that names no event,
        UntraceableEventError for one that names an event that cannot be traced.
        """
        return self._switch([(self._select(pattern.removeprefix("-")), not pattern.startswith("-"))])

    def enable_from_file(self, path: str | os.PathLike[str]) -> int:
        """Do what the patterns of a file say, one a line, in order; `#` in column 0 makes a comment.

        Nothing is switched unless all lines are good. Raises TraceError if the file cannot be read,
        TraceSyntaxError for a bad line.
        """
        source = os.fspath(path)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise TraceError(f"cannot read the events file '{source}': {reason}; name another.") from None
        return self._switch(self._patterns(content, source))

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback()` called whenever events were switched; returns what undoes that."""
        self._callbacks.append(callback)

        def cancel() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return cancel

    def open_backend(
        self, kind: str, file: str | os.PathLike[str] | Writable | None = None, timestamps: str = "off"
    ) -> Backend:
        """Send events to a new back end from now on, and close the one before; see `make_backend`."""
        backend = make_backend(kind, file, timestamps, self.events.values())
        self.close()
        self._backend = backend
        return backend

    def flush(self) -> None:
        """Write what is waiting."""
        self._backend.flush()

    def close(self) -> None:
        """Write what is waiting and close the file; what comes after goes to standard error again."""
        lost = self._backend.close()
        self._backend = self._default_backend()
        if lost and sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):  # standard error may be what could not be written
                print(f"coloproxy: {lost} trace records could not be written", file=sys.stderr)

    def _default_backend(self) -> Backend:
        return make_backend("log", None, "off", ())

    def _emit(self, event: AnyEvent, values: tuple[Value, ...]) -> None:
        self._backend.write(event, values)

    def _select(self, pattern: str) -> list[AnyEvent]:
        if "*" not in pattern and "?" not in pattern:
            event = self.events.get(pattern)
            if event is None:
                raise UnknownEventError(pattern)
            if not event.spec.traceable:
                raise UntraceableEventError(pattern)
            return [event]
        matches = matcher(pattern)
        found = [event for event in self.events.values() if event.spec.traceable and matches(event.name)]
        if not found:
            raise UnknownEventError(pattern)
        return found

    def _patterns(self, content: bytes, source: str) -> list[tuple[list[AnyEvent], bool]]:
        choices = []
        for number, line in enumerate(content.split(b"\n"), 1):
            if len(line) > MAX_LINE:
                raise TraceSyntaxError(source, number, f"the line is longer than {MAX_LINE} bytes")
            pattern = line.decode(errors="replace").rstrip()
            if not pattern or pattern.startswith("#"):
                continue
            try:
                choices.append((self._select(pattern.removeprefix("-")), not pattern.startswith("-")))
            except TraceError as error:
                raise TraceSyntaxError(source, number, str(error).removesuffix(".")) from None
        return choices

    def _switch(self, choices: list[tuple[list[AnyEvent], bool]]) -> int:
        before = {event.name for event in self.events.values() if event.enabled}
        for chosen, on in choices:
            for event in chosen:
                event.enabled = on
        changed = len(before ^ {event.name for event in self.events.values() if event.enabled})
        if changed:
            for callback in tuple(self._callbacks):
                callback()
        return changed


def matcher(pattern: str) -> Callable[[str], bool]:
    """Does a name match as a whole? Only `*` and `?` are special; brackets, unlike in a shell, are not."""
    expression = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda name: expression.match(name) is not None


def load() -> list[EventSpec]:
    """The events of the list that comes with the package."""
    text = resources.files("coloproxy.trace").joinpath("trace-events").read_text("utf-8")
    return parse(text, "trace-events")


TRACER = Tracer(load())
