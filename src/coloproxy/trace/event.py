"""One trace event: what the code that is traced calls."""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeAlias

from coloproxy.trace.errors import TraceSyntaxError
from coloproxy.trace.parser import Argument, EventSpec
from coloproxy.trace.printf import Formatter, Value

P = ParamSpec("P")
AnyEvent: TypeAlias = "Event[...]"
Emit = Callable[[AnyEvent, tuple[Value, ...]], None]


class Event(Generic[P]):
    """Call it with the event's arguments, in order; test `enabled` first where making them costs anything.

    `enabled` changes only through the tracer it belongs to. `number` is its place in the list, from 0.
    """

    __slots__ = ("_emit", "_formatter", "arguments", "enabled", "name", "number", "spec")

    def __init__(self, spec: EventSpec, number: int, emit: Emit) -> None:
        """Raises TraceSyntaxError if the format does not fit the arguments."""
        try:
            self._formatter = Formatter(spec.formats[0], [argument.type for argument in spec.arguments])
        except ValueError as error:
            raise TraceSyntaxError(spec.source, spec.line, f"event '{spec.name}': {error}") from None
        self._emit = emit
        self.spec = spec
        self.name = spec.name
        self.number = number
        self.arguments: tuple[Argument, ...] = spec.call_arguments
        self.enabled = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Record the event if it is switched on.

        Raises TypeError for a wrong number or type of arguments, ValueError for a number its C type cannot hold,
        or a width (`%*d`) beyond MAX_WIDTH.
        """
        if self.enabled:
            self._emit(self, self.convert(args, kwargs))

    def convert(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Value, ...]:
        """The arguments as they are recorded: texts as UTF-8, numbers within the range of their type."""
        if kwargs:
            raise TypeError(f"trace event {self.name} takes no keyword arguments")
        if len(args) != len(self.arguments):
            raise TypeError(f"trace event {self.name} takes {len(self.arguments)} arguments, not {len(args)}")
        return tuple(
            argument.type.convert(value, f"trace event {self.name}: '{argument}'")
            for argument, value in zip(self.arguments, args)
        )

    def text(self, values: tuple[Value, ...]) -> bytes:
        """The format filled in with converted arguments."""
        return self._formatter(values[len(self.arguments) - len(self.spec.arguments) :])

    def __repr__(self) -> str:
        return f"<trace event {self.name}, {'on' if self.enabled else 'off'}>"
