"""A stand-in for the `cython` module, for running the compiled modules as plain Python where Cython is not installed.

Compiled, they need nothing at run time. Uncompiled, the decorators and types they name must exist and do nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
compiled = False


def _same(thing: T) -> T:
    return thing


def _decorator(*_args: Any, **_kwargs: Any) -> Callable[[T], T]:
    return _same


cclass = cfunc = ccall = inline = final = no_gc = nogil = _same
freelist = trashcan = locals = returns = exceptval = boundscheck = wraparound = _decorator


class _Type:
    """A C type's name: usable in annotations, as a cast, and as an array type."""

    def __getitem__(self, _index: object) -> "_Type":
        return self

    def __call__(self, value: T) -> T:
        return value


int = uint = char = uchar = short = ushort = long = ulong = longlong = ulonglong = double = bint = _Type()
Py_ssize_t = size_t = void = p_char = p_uchar = p_void = _Type()


def cast(_type: object, value: T, **_kwargs: Any) -> T:
    return value


def declare(kind: object = None, value: Any = None, **_kwargs: Any) -> Any:
    return 0 if value is None and isinstance(kind, _Type) else value
