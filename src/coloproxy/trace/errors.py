"""What can be wrong with a list of events, a pattern, or the file a trace goes to."""

from coloproxy.errors import ColoproxyError


class TraceError(ColoproxyError):
    """A trace option, or a file it names, cannot be used."""


class TraceSyntaxError(TraceError):
    """A line of a trace-events file or of an events file breaks a rule.

    `source` names the file, `line` counts from 1, `reason` is the rule broken, without a full stop; the message has
    all three.
    """

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}:{line}: {reason}.")
        self.source = source
        self.line = line
        self.reason = reason


class UnknownEventError(TraceError):
    """A pattern names no event."""

    def __init__(self, name: str) -> None:
        none = f"no trace event matches '{name}'" if {"*", "?"} & set(name) else f"trace event '{name}' does not exist"
        super().__init__(f"{none}; `coloproxy trace list` shows those there are.")
        self.name = name


class UntraceableEventError(TraceError):
    """A pattern without wildcards names an event that has the property `disable`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"trace event '{name}' cannot be traced; `coloproxy trace list` shows those that can.")
        self.name = name
