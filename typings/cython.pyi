"""What of Cython's pure-Python mode the compiled modules use, for the type checker: Cython brings no types of its own.

C's numbers are int or float here; what `declare` makes can be anything.
"""

import builtins
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

_T = TypeVar("_T")

compiled: bool

int: TypeAlias = builtins.int
uint: TypeAlias = builtins.int
uchar: TypeAlias = builtins.int
longlong: TypeAlias = builtins.int
ulonglong: TypeAlias = builtins.int
Py_ssize_t: TypeAlias = builtins.int
bint: TypeAlias = builtins.bool
double: TypeAlias = builtins.float
void: TypeAlias = None
p_char: TypeAlias = Any
p_uchar: TypeAlias = Any

def declare(kind: object = ..., value: Any = ..., *, visibility: str = ...) -> Any: ...
def cast(kind: type[_T], value: object) -> _T: ...
def cclass(thing: _T) -> _T: ...
def cfunc(thing: _T) -> _T: ...
def ccall(thing: _T) -> _T: ...
def inline(thing: _T) -> _T: ...
def final(thing: _T) -> _T: ...
def no_gc(thing: _T) -> _T: ...
def freelist(size: builtins.int) -> Callable[[_T], _T]: ...
def exceptval(value: builtins.int = ..., *, check: bool = ...) -> Callable[[_T], _T]: ...
