"""What is transferred: the same bytes each time, and a check of every one of them that costs next to nothing.

A block of random bytes, repeated. Its length is prime, so that no run of whole segments, pages or blocks, lost or sent
twice, goes unnoticed; it is small, so that comparing finds it in the processor's cache.
"""

import ctypes
import random
from pathlib import Path

BLOCK = 262139  # bytes, the largest prime below 2^18

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Mismatch(Exception):
    """A byte is not what it must be."""


class Content:
    """The bytes of a seed. `view` has two blocks: BLOCK bytes from any place of the stream lie there in one piece."""

    def __init__(self, seed: int) -> None:
        self._bytes = bytearray(random.Random(seed).randbytes(BLOCK) * 2)
        self.view = memoryview(self._bytes).toreadonly()
        self._address = address_of(self._bytes)

    def at(self, offset: int, size: int) -> memoryview:
        """Up to BLOCK bytes of the stream from a place on."""
        start = offset % BLOCK
        return self.view[start : start + min(size, BLOCK)]

    def check(self, address: int, size: int, offset: int) -> None:
        """Compare up to BLOCK bytes in memory with those of the stream at a place. Raises Mismatch."""
        if _memcmp(address, self._address + offset % BLOCK, size):
            got, wanted = ctypes.string_at(address, size), self.at(offset, size)
            wrong = next(i for i, byte in enumerate(got) if byte != wanted[i])
            raise Mismatch(f"byte {offset + wrong} is {got[wrong]:#04x}, not {wanted[wrong]:#04x}")

    def write(self, file: Path, size: int) -> None:
        """Write the first `size` bytes of the stream into a file."""
        with file.open("wb") as out:
            for at in range(0, size, BLOCK):
                out.write(self.at(at, size - at))


def address_of(buffer: bytearray) -> int:
    """Where a buffer lies in memory; it must not be resized as long as that is used."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
