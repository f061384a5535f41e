"""Formatting as C's printf does: against the C library itself, and where formats and arguments do not fit."""

import ctypes
import ctypes.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.trace import parse
from coloproxy.trace.printf import MAX_WIDTH, Formatter, Value

LIBC = ctypes.CDLL(ctypes.util.find_library("c"))
CTYPES = {
    "int8_t": ctypes.c_int8,
    "uint8_t": ctypes.c_uint8,
    "int16_t": ctypes.c_int16,
    "uint16_t": ctypes.c_uint16,
    "int": ctypes.c_int,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
}
LENGTHS = {"int": ["", "h", "hh"], "uint32_t": ["", "h", "hh"], "int64_t": ["l", "ll", "j", "z", "t"]} | {
    "uint64_t": ["l", "ll", "j", "z", "t"]
}


def formatter(arguments: str, text: str) -> Formatter:
    (spec,) = parse(f"a({arguments})\n", "t")
    return Formatter(text, [argument.type for argument in spec.arguments])


def libc(text: str, *arguments: object) -> bytes:
    buffer = ctypes.create_string_buffer(3 * MAX_WIDTH)
    size = LIBC.snprintf(buffer, ctypes.c_size_t(len(buffer)), text.encode(), *arguments)
    return buffer.raw[:size]


flags = st.text("-+ #0", max_size=3)
sizes = st.tuples(st.none() | st.integers(1, 40), st.none() | st.just("") | st.integers(0, 40)).map(
    lambda pair: ("" if pair[0] is None else str(pair[0])) + ("" if pair[1] is None else f".{pair[1]}")
)


@given(st.data())
def test_numbers_come_out_as_in_c(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(CTYPES)))
    length = data.draw(st.sampled_from(LENGTHS.get(name, [""])))
    text = f"<%{data.draw(flags)}{data.draw(sizes)}{length}{data.draw(st.sampled_from('diouxX'))}>"
    made = formatter(f"{name} x", text)
    kind = parse(f"a({name} x)\n", "t")[0].arguments[0].type
    value = data.draw(st.integers(kind.low, kind.high) | st.sampled_from([0, 1, kind.low, kind.high]))
    assert made([value]) == libc(text, CTYPES[name](value))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.sampled_from(["", "-"]), sizes)
def test_texts_come_out_as_in_c(value: str, left: str, size: str) -> None:
    text = f"<%{left}{size}s>"
    assert formatter("const char *x", text)([value.encode()]) == libc(text, value.encode())


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-(2**31), 2**31 - 1))
def test_width_and_precision_may_be_arguments(width: int, precision: int, value: int) -> None:
    assert formatter("int a, int b, int c", "<%*.*d>")([width, precision, value]) == libc(
        "<%*.*d>", ctypes.c_int(width), ctypes.c_int(precision), ctypes.c_int(value)
    )


@given(st.integers(0, 2**64 - 1), st.sampled_from(["%p", "%30p", "%-30p"]))
def test_pointers_come_out_as_in_glibc(value: int, text: str) -> None:
    assert formatter("void *x", text)([value]) == libc(text, ctypes.c_void_p(value))


@pytest.mark.parametrize(
    ("arguments", "text", "values", "expected"),
    [
        ("int x", "%u", [-1], b"4294967295"),
        ("int x", "%hhx", [0x1FF], b"ff"),
        ("int x", "%c%%", [65], b"A%"),
        ("uint32_t x", "  flags=0x%x\n", [24], b"  flags=0x18\n"),
        ("const char *s, int d", ": %s = %d", [b"primary pkt size", 98], b": primary pkt size = 98"),
        ("void", "100%%", [], b"100%"),
    ],
)
def test_examples(arguments: str, text: str, values: list[Value], expected: bytes) -> None:
    assert formatter(arguments, text)(values) == expected


@pytest.mark.parametrize(
    ("arguments", "text", "reason"),
    [
        ("int x", "%d %d", "there is no argument for %d"),
        ("int x, int y", "%d", "the format uses 1 of 2 arguments"),
        ("int x", "%s", "does not go with an argument of type 'int'"),
        ("const char *x", "%d", "does not go with an argument of type 'const char \\*'"),
        ("const char *s, int x", "%*d", "the width must be a number"),
        ("int x", "%f", "not a conversion known here"),
        ("int x", "%", "not a conversion known here"),
        ("int x", "%m", "pass the error number"),
        ("int x", "%lc", "does not go with 'c'"),
        ("int x", f"%{MAX_WIDTH + 1}d", "widest"),
        ("int x", f"%.{10**30}d", "widest"),
    ],
)
def test_a_format_that_does_not_fit_is_refused(arguments: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        formatter(arguments, text)


def test_a_width_beyond_all_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        formatter("int a, int b", "%*d")([MAX_WIDTH + 1, 0])


@given(st.text("%-+ #0*.19hlqjztLdiouxXcspm\n") | st.text())
def test_any_format_is_made_ready_or_refused(text: str) -> None:
    try:
        made = formatter("int a, const char *b, void *c", text)
    except ValueError:
        return
    assert isinstance(made([1, b"two", 3]), bytes)
