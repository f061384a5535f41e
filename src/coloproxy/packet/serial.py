"""Sequence number arithmetic on 32 bits, where 0 follows 4294967295 (RFC 9293, 3.4; RFC 1982).

`before(a, b)` is meaningful while the two are less than 2**31 apart, which windows guarantee.
"""

MASK = 0xFFFFFFFF
HALF = 0x80000000


def add(a: int, n: int) -> int:
    """The number n places after a; n may be negative."""
    return (a + n) & MASK


def distance(a: int, b: int) -> int:
    """How many places b lies behind a; negative if it lies in front: -2**31 .. 2**31 - 1."""
    return ((b - a + HALF) & MASK) - HALF


def before(a: int, b: int) -> bool:
    """Whether a comes before b."""
    return (a - b) & MASK >= HALF


def after(a: int, b: int) -> bool:
    """Whether a comes after b."""
    return (b - a) & MASK >= HALF


def at_or_before(a: int, b: int) -> bool:
    """Whether a is b or comes before it."""
    return (b - a) & MASK < HALF


def smin(a: int, b: int) -> int:
    """The one that comes first."""
    return a if before(a, b) else b


def smax(a: int, b: int) -> int:
    """The one that comes last."""
    return b if before(a, b) else a
