"""Writes `events.pyi`, the signatures of all events for type checkers: `python -m coloproxy.trace.stubs`."""

from collections.abc import Iterable
from pathlib import Path

from coloproxy.trace.ctype import Kind
from coloproxy.trace.parser import EventSpec
from coloproxy.trace.tracer import load

PATH = Path(__file__).with_name("events.pyi")
_PYTHON = {Kind.STRING: "str", Kind.BOOLEAN: "bool"}
_HEAD = '''"""Written by `python -m coloproxy.trace.stubs` from the list `trace-events`."""

from coloproxy.trace.event import Event

'''


def stub(specs: Iterable[EventSpec]) -> str:
    """The text of a stub module with one typed attribute an event."""
    return _HEAD + "".join(map(_attribute, specs))


def _attribute(spec: EventSpec) -> str:
    arguments = ", ".join(_PYTHON.get(argument.type.kind, "int") for argument in spec.call_arguments)
    return f"{spec.name}: Event[[{arguments}]]\n"


if __name__ == "__main__":
    PATH.write_text(stub(load()), "utf-8")
