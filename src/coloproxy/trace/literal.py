"""C string literals and the PRI macros between them <-> the format they spell (ISO C 6.4.5, 7.8.1)."""

import re

_TOKEN = re.compile(r'\s+|"(?P<string>(?:[^"\\]|\\.)*)"|(?P<macro>[A-Za-z_]\w*)|(?P<comma>,)', re.ASCII)
_ESCAPE = re.compile(rb"\\(?:([abfnrtv\\'\"?])|([0-7]{1,3})|x([0-9A-Fa-f]+)|(.?))", re.DOTALL)
_SIMPLE = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?"))
_NAMED = {ord("\n"): "\\n", ord("\t"): "\\t", ord('"'): '\\"', ord("\\"): "\\\\"}
_MACRO = re.compile(r"PRI([diouxX])(?:(8|16|32|64)|LEAST(8|16|32|64)|FAST(8|16|32|64)|(MAX|PTR))")


def read(text: str) -> list[str]:
    """The formats of a line's end: `"a" PRIu64 "b"` is one, `"a", "b"` are two.

    Bytes that are no UTF-8 (from `\\xNN`) become surrogate escapes. Raises ValueError.
    """
    formats = [b""]
    filled = False  # is there anything since the last comma?
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            rest = text[position:]
            reason = "the string is not closed" if rest[0] == '"' else f"'{rest[0]}' does not belong into a format"
            raise ValueError(reason)
        position = token.end()
        if token["comma"]:
            if not filled:
                raise ValueError("a format is missing before ','")
            formats.append(b"")
            filled = False
        elif token["macro"]:
            formats[-1] += _macro(token["macro"])
            filled = True
        elif token["string"] is not None:
            formats[-1] += _unescape(token["string"])
            filled = True
    if not filled and len(formats) > 1:
        raise ValueError("a format is missing after ','")
    return [part.decode(errors="surrogateescape") for part in formats]


def write(text: str) -> str:
    """The one string literal that spells `text`."""
    body = []
    for byte in text.encode(errors="surrogateescape"):
        body.append(_NAMED.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"))
    return f'"{"".join(body)}"'


def _macro(name: str) -> bytes:
    match = _MACRO.fullmatch(name)
    if match is None:
        raise ValueError(f"'{name}' is not one of the PRI macros")
    conversion, exact, _least, fast, _wide = match.groups()
    size = exact or match[3]
    long = size == "64" or (size is None and fast != "8")
    return (("l" if long else "") + conversion).encode()


def _unescape(body: str) -> bytes:
    try:
        raw = body.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(f"the character {body[error.start]!a} cannot be written as UTF-8") from None
    raw = _ESCAPE.sub(_escape, raw)
    if b"\0" in raw:
        raise ValueError("a NUL would end the format")
    return raw


def _escape(match: re.Match[bytes]) -> bytes:
    simple, octal, hexadecimal, _other = match.groups()
    if simple:
        return bytes([_SIMPLE[simple[0]]])
    if not octal and not hexadecimal:
        raise ValueError(f"unknown escape sequence {match[0].decode(errors='replace')}")
    value = int(octal, 8) if octal else int(hexadecimal, 16)
    if value > 255:
        raise ValueError(f"the escape sequence {match[0].decode()} is more than a byte")
    return bytes([value])
