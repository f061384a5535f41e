"""The syntax of trace-events files: text -> the events it declares, and back.

One event a line, `[properties ]name(type arg[, type arg...]) "format"`; blank lines and `#` lines are skipped.
`parse` takes what QEMU took in 2018. With `strict` it also demands what later releases demand, so that a list that
passes can be read by the tools of all of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from coloproxy.trace import literal
from coloproxy.trace.ctype import PORTABLE, RESERVED, CType, ctype
from coloproxy.trace.errors import TraceSyntaxError

MAX_ARGUMENTS = 10
PROPERTIES = frozenset({"disable", "vcpu", "tcg"})
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LOWER_CASE = re.compile(r"[a-z][a-z0-9_]*")
_TYPE_TOKEN = re.compile(r"\s+|(\w+|\*)", re.ASCII)
_ERRNO = re.compile(r"%[-+ #0-9'.*]*[hlqjztL]*m")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an event: its C type and its name."""

    type: CType
    name: str

    def __str__(self) -> str:
        return self.type.declare(self.name)


# What `vcpu` puts in front of the arguments: the address of the virtual CPU.
_CPU = Argument(ctype(["void", "*"]), "__cpu")


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One line of a trace-events file. `formats` has one text, two for `tcg`: executed, translated.

    `section` is the text of the last comment that has a blank line before it; it, `source` and `line` (from 1) say
    where the event was found and do not take part in comparisons.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    formats: tuple[str, ...] = ("",)
    properties: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)
    section: str = field(default="", compare=False)

    @property
    def call_arguments(self) -> tuple[Argument, ...]:
        """What a call takes: the declared arguments, behind the CPU if the event has the property `vcpu`."""
        return (_CPU, *self.arguments) if "vcpu" in self.properties else self.arguments

    @property
    def traceable(self) -> bool:
        return "disable" not in self.properties

    def __str__(self) -> str:
        """The line that declares the event."""
        arguments = ", ".join(map(str, self.arguments)) or "void"
        formats = ", ".join(map(literal.write, self.formats))
        return f"{' '.join((*self.properties, self.name))}({arguments}) {formats}"


def parse(text: str, source: str, *, strict: bool = False) -> list[EventSpec]:
    """The events of a trace-events file's text. Raises TraceSyntaxError, naming `source` and the line."""
    specs: list[EventSpec] = []
    section = ""
    after_blank = True
    lines = text.split("\n")
    if strict and lines[-1]:
        raise TraceSyntaxError(source, len(lines), "the last line does not end in a newline")
    for number, line in enumerate(map(str.strip, lines), 1):
        if line.startswith("#"):
            section = line.lstrip("# ") if after_blank else section
        elif line:
            try:
                specs.append(_event(line, source, number, section, strict))
            except ValueError as error:
                raise TraceSyntaxError(source, number, str(error)) from None
        after_blank = not line
    check_unique(specs)
    return specs


def check_unique(specs: Iterable[EventSpec]) -> None:
    """Names are unique over all files that are used together. Raises TraceSyntaxError at the second of two."""
    seen: dict[str, EventSpec] = {}
    for spec in specs:
        first = seen.setdefault(spec.name, spec)
        if first is not spec:
            where = f"{first.source}:{first.line}"
            raise TraceSyntaxError(spec.source, spec.line, f"event '{spec.name}' is already declared at {where}")


def _event(line: str, source: str, number: int, section: str, strict: bool) -> EventSpec:
    head, opening, tail = line.partition("(")
    inside, closing, rest = tail.partition(")")
    if not opening or not closing:
        raise ValueError("an event is written name(type argument, ...) \"format\"")
    properties, name = _head(head, strict)
    arguments = _arguments(inside, strict)
    rest = rest.strip()
    if rest and not rest.startswith('"'):
        raise ValueError(f"a format in quotes must follow ')', not '{rest.split()[0]}'")
    formats = literal.read(rest)
    if "tcg" in properties and len(formats) != 2:
        raise ValueError("the property 'tcg' needs two formats, \"executed\", \"translated\"")
    if "tcg" not in properties and len(formats) != 1:
        raise ValueError("only an event with the property 'tcg' has two formats")
    if strict:
        _check_portable_format(formats[0])
    return EventSpec(name, arguments, tuple(formats), properties, source, number, section)


def _head(head: str, strict: bool) -> tuple[tuple[str, ...], str]:
    if head[-1:].isspace():
        raise ValueError("there is a blank between the name and '('")
    *properties, name = head.split() or [""]
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a name: letters, digits and underscores, no digit first")
    if strict and not _LOWER_CASE.fullmatch(name):
        raise ValueError(f"the name '{name}' is not lower case words with underscores")
    for word in properties:
        if word not in PROPERTIES:
            raise ValueError(f"unknown property '{word}'; there are disable, tcg and vcpu")
        if strict and word != "disable":
            raise ValueError(f"the property '{word}' is gone from later releases")
    return tuple(properties), name


def _arguments(text: str, strict: bool) -> tuple[Argument, ...]:
    if text.strip() == "void":
        return ()
    pieces = text.split(",")
    if len(pieces) > MAX_ARGUMENTS:
        raise ValueError(f"{len(pieces)} arguments; an event has at most {MAX_ARGUMENTS}")
    arguments = tuple(_argument(piece, position, strict) for position, piece in enumerate(pieces, 1))
    names = [argument.name for argument in arguments]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two arguments are called '{name}'")
    return arguments


def _argument(text: str, position: int, strict: bool) -> Argument:
    tokens = _type_tokens(text, position)
    if not tokens:
        raise ValueError(f"argument {position} is empty (did you forget to use 'void'?)")
    *words, name = tokens
    if not words or not _NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"argument {position}, '{text.strip()}', has no name")
    if strict and not PORTABLE.issuperset(word for word in words if word != "*"):
        raise ValueError(f"the type of argument {position}, '{text.strip()}', is not one of C's basic types")
    return Argument(ctype(words), name)


def _type_tokens(text: str, position: int) -> list[str]:
    tokens = []
    end = 0
    while end < len(text):
        token = _TYPE_TOKEN.match(text, end)
        if token is None:
            raise ValueError(f"argument {position}: '{text[end]}' does not belong into a type")
        if token[1]:
            tokens.append(token[1])
        end = token.end()
    return tokens


def _check_portable_format(text: str) -> None:
    if "\n" in text:
        raise ValueError("a format has no \\n: the newline is added to it")
    if _ERRNO.search(text.replace("%%", "")):
        raise ValueError("%m is no conversion of an argument; pass the error number")
