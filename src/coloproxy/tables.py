"""TOML files, and what they say as values of our types. What is wrong in one is a sentence: where, what, what to do."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from coloproxy.errors import ColoproxyError

LONGEST = 60  # characters of a value that are repeated to who wrote it
STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|(?P<some>\[\.\.\.\])")  # of a path as msgspec has it


def read(path: Path, called: str) -> str:
    """The text of a file, which is called a "rules file", say. Raises ColoproxyError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ColoproxyError(f"{called} {path}: {error.strerror}; name a readable file.") from None
    except UnicodeDecodeError as error:
        raise ColoproxyError(f"{called} {path}: not valid TOML: {error}.") from None


def load(path: Path, called: str) -> dict[str, Any]:
    """The table of a TOML file. Raises ColoproxyError."""
    try:
        return tomllib.loads(read(path, called))
    except tomllib.TOMLDecodeError as error:
        raise ColoproxyError(f"{called} {path}: not valid TOML: {error}.") from None


def convert(value: Any, kind: Any, where: str = "", spelled: Callable[[str], str] = str) -> Any:
    """A value as one of this type. Raises ColoproxyError, naming the key; `spelled` is how a field's name is written
    in `where`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = _find(path.removesuffix("`"), value, inspect.type_info(kind), spelled)
        raise ColoproxyError(": ".join(filter(None, [where, *place.names, _sentence(what, place, spelled)]))) from None


class Place(NamedTuple):
    """A place in a table. names: of the tables around it; key: its own, if it is in one. value: what is there; type:
    what should be."""

    names: list[str]
    key: str | None
    value: Any
    type: inspect.Type


def _find(path: str, value: Any, kind: inspect.Type, spelled: Callable[[str], str]) -> Place:
    """Follow a path from the outermost table."""
    names: list[str] = []
    for step in STEP.finditer(path):
        if step["field"]:
            names.append(spelled(step["field"]))
            kind, value = _field(step["field"], value, kind)
        elif step["index"]:
            kind, value = _item(kind), value[int(step["index"])]
            names[-1] += f" {int(step['index']) + 1}" if isinstance(value, dict) else ""
        else:
            kind = next(each.value_type for each in _parts(kind) if isinstance(each, inspect.DictType))
            name = next(name for name, each in value.items() if not _fits(each, kind))
            names[-1] += f" {name}"
            value = value[name]
    inner = isinstance(value, dict) and any(_structs(kind))
    return Place(names if inner else names[:-1], names[-1] if names and not inner else None, value, kind)


def _field(name: str, value: dict[str, Any], kind: inspect.Type) -> tuple[inspect.Type, Any]:
    """A field's type, and what stands there."""
    struct = _struct(kind, value)
    if name == struct.tag_field:
        return inspect.LiteralType(tuple(each.tag for each in _structs(kind))), value.get(name)
    return next(each.type for each in struct.fields if each.encode_name == name), value.get(name)


def _struct(kind: inspect.Type, value: dict[str, Any]) -> inspect.StructType:
    """The type that a table must have: of several, the one that it names."""
    structs = list(_structs(kind))
    return next((each for each in structs if each.tag_field and each.tag == value.get(each.tag_field)), structs[0])


def _item(kind: inspect.Type) -> inspect.Type:
    return next(each.item_type for each in _parts(kind) if isinstance(each, inspect.ListType | inspect.VarTupleType))


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Whether a value of a table is of its type: a table, or else a string, for others are in no table of ours."""
    struct = next(_structs(kind), None)
    try:
        msgspec.convert(value, struct.cls if struct is not None else str)
    except msgspec.ValidationError:
        return False
    return True


def _parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a union is of, without what is said about them."""
    if isinstance(kind, inspect.Metadata):
        yield from _parts(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _parts(each)
    else:
        yield kind


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    return (each for each in _parts(kind) if isinstance(each, inspect.StructType))


# Sentences


def _sentence(what: str, place: Place, spelled: Callable[[str], str]) -> str:
    """What is wrong there, and what to do."""
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        struct = _struct(place.type, place.value)
        keys = [*filter(None, [struct.tag_field]), *(spelled(field.encode_name) for field in struct.fields)]
        near = difflib.get_close_matches(found[1], keys, 1)
        return f"unknown key '{found[1]}'; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}.")
    if found := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"the key {spelled(found[1])} is missing: give {wanted(_field(found[1], place.value, place.type)[0])}."
    key = f"{place.key} = " if place.key is not None else ""
    return f"{key}{shown(place.value)} is no good: write {wanted(place.type)}."


def shown(value: Any) -> str:
    """A value, much as TOML writes it."""
    text = repr(value) if isinstance(value, str | list | dict) else str(value).lower()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def wanted(kind: inspect.Type) -> str:
    """What a value must be, in words."""
    if isinstance(kind, inspect.Metadata):
        examples = (kind.extra_json_schema or {}).get("examples")
        return f"a string such as {', '.join(map(str, examples))}" if examples else wanted(kind.type)
    if isinstance(kind, inspect.UnionType):
        return ", or ".join(wanted(each) for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return ("a whole number" if isinstance(kind, inspect.IntType) else "a number") + _range(kind.ge, kind.le)
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        values = kind.values if isinstance(kind, inspect.LiteralType) else tuple(kind.cls)
        return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return f"a list of {PLURALS.get(type(kind.item_type), 'values')}{_length(kind.min_length)}"
    if isinstance(kind, inspect.DictType):
        return f"a table{_length(kind.min_length)}"
    return WORDS.get(type(kind), "something else")


WORDS: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false", inspect.StrType: "a string", inspect.StructType: "a table",
}  # fmt: skip
PLURALS: dict[type[inspect.Type], str] = {inspect.StrType: "strings", inspect.StructType: "tables"}


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    return f", {low:.15g} or more" if low is not None else f", {high:.15g} or less" if high is not None else ""


def _length(least: int | None) -> str:
    return f", {least} or more" if least else ""
