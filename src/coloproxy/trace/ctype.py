"""C type text of a trace argument <-> the values it may hold.

Sizes are those of the machines QEMU runs on as 64-bit Linux programs (LP64): int 32 bits, long and pointers 64.
"""

import enum
import re
from dataclasses import dataclass

_QUALIFIERS = frozenset({"const", "volatile"})
_KEYWORDS = frozenset({"int", "long", "short", "char", "bool", "_Bool", "unsigned", "signed"})
_SIZED = {"ssize_t": (64, True), "size_t": (64, False), "uintptr_t": (64, False), "ptrdiff_t": (64, True)} | {
    f"{'' if signed else 'u'}int{bits}_t": (bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)
}
# No argument can be called so: a C declaration that ends in one of these has no name.
RESERVED = _QUALIFIERS | _KEYWORDS | {"void", "struct", "union", "enum", "float", "double"}
# The words later releases allow in a type.
PORTABLE = (_KEYWORDS - {"_Bool"}) | frozenset(_SIZED) | {"void", "const"}


class Kind(enum.Enum):
    """How an argument is recorded: its text, or a number of 64 bits."""

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    POINTER = "pointer"
    OPAQUE = "opaque"  # a typedef or enumeration unknown here: any 64-bit number


@dataclass(frozen=True, slots=True)
class CType:
    """One C type: its text, with single blanks, and the numbers it holds, `low` to `high` (0 for strings)."""

    text: str
    kind: Kind
    low: int
    high: int

    def declare(self, name: str) -> str:
        """The C declaration of an argument of this type."""
        return f"{self.text}{'' if self.text.endswith('*') else ' '}{name}"

    def convert(self, value: object, what: str) -> int | bytes:
        """The value as it is recorded: the text's UTF-8 bytes, or a number within the type's range.

        Raises TypeError and ValueError, the message beginning with `what`.
        """
        if self.kind is Kind.STRING:
            if not isinstance(value, str):
                raise TypeError(f"{what} must be a str, not {type(value).__name__}")
            if "\0" in value:
                raise ValueError(f"{what} contains a NUL, which would end the text in C")
            return value.encode(errors="backslashreplace")
        if not isinstance(value, int):
            raise TypeError(f"{what} must be an int, not {type(value).__name__}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{what} must be {self.low} to {self.high}, not {value}")
        return int(value)


def ctype(tokens: list[str]) -> CType:
    """The type a list of words and `*` spells; raises ValueError for what C has no type for."""
    text = re.sub(r"\* (?=\*)", "*", " ".join(tokens))
    if "*" in tokens:
        stars = tokens.count("*")
        base = [word for word in tokens[: tokens.index("*")] if word not in _QUALIFIERS]
        if not base:
            raise ValueError(f"'{text}' is not a type")
        if base == ["char"] and stars == 1:
            return CType(text, Kind.STRING, 0, 0)
        return CType(text, Kind.POINTER, 0, 2**64 - 1)
    words = [word for word in tokens if word not in _QUALIFIERS]
    if not words:
        raise ValueError(f"'{text}' is not a type")
    if "void" in words:
        raise ValueError(f"an argument cannot be of type '{text}'; 'void' stands alone, for no arguments")
    if words in (["bool"], ["_Bool"]):
        return CType(text, Kind.BOOLEAN, 0, 1)
    if words[0] in _SIZED and len(words) == 1:
        return _integer(text, *_SIZED[words[0]])
    if set(words) <= _KEYWORDS:
        return _basic(text, words)
    return CType(text, Kind.OPAQUE, -(2**63), 2**64 - 1)


def _integer(text: str, bits: int, signed: bool) -> CType:
    if signed:
        return CType(text, Kind.INTEGER, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return CType(text, Kind.INTEGER, 0, 2**bits - 1)


def _basic(text: str, words: list[str]) -> CType:
    """int, unsigned, long long int, unsigned char...: the words C lets one combine, in any order."""
    count = {word: words.count(word) for word in ("int", "long", "short", "char", "unsigned", "signed")}
    sizes = [word for word in ("short", "char", "long") if count[word]]
    if (
        len(sizes) > 1
        or count["long"] > 2
        or count["unsigned"] + count["signed"] > 1
        or any(count[word] > 1 for word in ("int", "short", "char"))
        or (count["char"] and count["int"])
        or sum(count.values()) != len(words)
    ):
        raise ValueError(f"'{text}' is not a type")
    bits = {"short": 16, "char": 8, "long": 64}[sizes[0]] if sizes else 32
    if words == ["char"]:  # signed or not, as the compiler likes: both are taken
        return CType(text, Kind.INTEGER, -128, 255)
    return _integer(text, bits, not count["unsigned"])
