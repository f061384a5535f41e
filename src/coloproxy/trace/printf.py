"""C's printf for trace formats (ISO C 7.21.6.1; glibc's where it leaves the choice), on bytes, as C counts them.

A number is first taken as the type the conversion names: `%u` of an int -1 is 4294967295, `%hhx` of 0x1ff is ff.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coloproxy.trace.ctype import CType, Kind

_CONVERSION = re.compile(
    rb"%(?P<flags>[-+ #0']*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?"
    rb"(?P<length>hh|h|ll|l|q|j|z|t|L)?(?P<letter>.?)",
    re.DOTALL,
)
_BITS = {"hh": 8, "h": 16, "": 32}
# A field so wide is a mistake, and would only fill memory.
MAX_WIDTH = 4096

Value = int | bytes


@dataclass(frozen=True, slots=True)
class Conversion:
    """One `%...`: `width` and `precision` are numbers, None, or "*" for "taken from the arguments"."""

    flags: str
    width: int | str | None
    precision: int | str | None
    bits: int
    letter: str

    @property
    def takes(self) -> int:
        """How many arguments it uses up."""
        return 1 + (self.width == "*") + (self.precision == "*")

    def render(self, values: Sequence[Value]) -> bytes:
        """The text for the arguments it takes. Raises ValueError for a width out of bounds."""
        *sizes, value = values
        flags = self.flags
        width, precision = self.width or 0, self.precision
        if width == "*":
            width = _wrapped(sizes.pop(0), 32, True)
            if width < 0:
                flags, width = flags + "-", -width
        if precision == "*":
            precision = _wrapped(sizes.pop(0), 32, True)
        assert isinstance(width, int)
        assert not isinstance(precision, str)
        if precision is not None and precision < 0:
            precision = None
        widest = width if self.letter == "s" else max(width, precision or 0)
        if widest > MAX_WIDTH:
            raise ValueError(f"a field {widest} wide; the limit is {MAX_WIDTH}")
        return _padded(*self._text(value, flags, precision), flags, width)

    def _text(self, value: Value, flags: str, precision: int | None) -> tuple[bytes, bytes, bool]:
        """Sign or prefix, body, and whether zeros may fill the space between them."""
        if isinstance(value, bytes):
            return b"", value[:precision], False
        if self.letter == "c":
            return b"", bytes([value & 0xFF]), False
        if self.letter == "p":
            address = _wrapped(value, 64, False)
            return (b"0x", b"%x" % address, precision is None) if address else (b"", b"(nil)", False)
        signed = self.letter in "di"
        number = _wrapped(value, self.bits, signed)
        return _sign(number, self.letter, flags), _digits(number, self.letter, flags, precision), precision is None


def _wrapped(value: Value, bits: int, signed: bool) -> int:
    """The value as a C integer of that size holds it."""
    assert isinstance(value, int)
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _sign(number: int, letter: str, flags: str) -> bytes:
    if letter in "xX":
        return b"0" + letter.encode() if "#" in flags and number else b""
    if letter not in "di":
        return b""
    if number < 0:
        return b"-"
    return b"+" if "+" in flags else b" " if " " in flags else b""


def _digits(number: int, letter: str, flags: str, precision: int | None) -> bytes:
    base = {"o": "o", "x": "x", "X": "X"}.get(letter, "d")
    digits = "" if number == 0 and precision == 0 else format(abs(number), base).zfill(precision or 0)
    if letter == "o" and "#" in flags and not digits.startswith("0"):
        digits = "0" + digits
    return digits.encode()


def _padded(prefix: bytes, body: bytes, zeros: bool, flags: str, width: int) -> bytes:
    if "-" in flags:
        return (prefix + body).ljust(width)
    if zeros and "0" in flags:
        return prefix + body.rjust(width - len(prefix), b"0")
    return (prefix + body).rjust(width)


class Formatter:
    """A format made ready for arguments of the given types. Raises ValueError where the two do not fit."""

    __slots__ = ("_parts",)

    def __init__(self, text: str, types: Sequence[CType]) -> None:
        self._parts: list[bytes | Conversion] = []
        raw = text.encode(errors="surrogateescape")
        rest = list(types)
        end = 0
        for match in _CONVERSION.finditer(raw):
            self._parts.append(raw[end : match.start()])
            end = match.end()
            if match[0] == b"%%":
                self._parts.append(b"%")
                continue
            conversion = _conversion(match)
            _check(match[0].decode(errors="replace"), conversion, rest)
            del rest[: conversion.takes]
            self._parts.append(conversion)
        self._parts.append(raw[end:])
        if rest:
            raise ValueError(f"the format uses {len(types) - len(rest)} of {len(types)} arguments")

    def __call__(self, values: Sequence[Value]) -> bytes:
        """The formatted line, in UTF-8."""
        text = []
        position = 0
        for part in self._parts:
            if isinstance(part, bytes):
                text.append(part)
            else:
                text.append(part.render(values[position : position + part.takes]))
                position += part.takes
        return b"".join(text)


def _conversion(match: re.Match[bytes]) -> Conversion:
    groups = {name: (value or b"").decode(errors="replace") for name, value in match.groupdict().items()}
    letter = groups["letter"]
    shown = match[0].decode(errors="replace")
    if letter == "m":
        raise ValueError(f"{shown} is no conversion of an argument; pass the error number")
    if not letter or letter not in "diouxXcsp":
        raise ValueError(f"{shown} is not a conversion known here (d i o u x X c s p)")
    if letter in "csp" and groups["length"]:
        raise ValueError(f"{shown}: the length '{groups['length']}' does not go with '{letter}'")
    precision = None if match["precision"] is None else _size(groups["precision"] or "0", shown)
    width = None if match["width"] is None else _size(groups["width"], shown)
    return Conversion(groups["flags"], width, precision, _BITS.get(groups["length"], 64), letter)


def _size(text: str, shown: str) -> int | str:
    if text == "*":
        return text
    if len(text) > len(str(MAX_WIDTH)) or int(text) > MAX_WIDTH:
        raise ValueError(f"{shown[:20]}: the widest field is {MAX_WIDTH}")
    return int(text)


def _check(shown: str, conversion: Conversion, types: Sequence[CType]) -> None:
    if conversion.takes > len(types):
        raise ValueError(f"there is no argument for {shown}")
    *sizes, last = types[: conversion.takes]
    if any(size.kind in (Kind.STRING, Kind.POINTER) for size in sizes):
        raise ValueError(f"{shown}: the width must be a number")
    if (conversion.letter == "s") != (last.kind is Kind.STRING):
        raise ValueError(f"{shown} does not go with an argument of type '{last.text}'")
