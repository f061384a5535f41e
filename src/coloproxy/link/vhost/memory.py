"""A guest's memory, mapped from the descriptors that the front end sends."""

import ctypes
import itertools
import mmap
from collections.abc import Sequence
from typing import NamedTuple

from coloproxy.link.vhost.ring import Memory, RingError

PAGE = 4096
LAST = 1 << 64


class Region(NamedTuple):
    """A row of the memory table: the guest's address, the size, the front end's address, its place in the file."""

    guest: int
    size: int
    user: int
    offset: int


class Mapping:
    """A file's first `size` bytes, shared; `address` is where they are here.

    Raises OSError, ValueError or OverflowError if that cannot be.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._map = mmap.mmap(fd, size)
        self._first = ctypes.c_char.from_buffer(self._map)  # while this lives, the mapping stays where it is
        self.address = ctypes.addressof(self._first)


class Table:
    """The memory table. `memory` finds the guest's addresses. Raises RingError for one that makes no sense."""

    def __init__(self, regions: Sequence[Region], fds: Sequence[int]) -> None:
        mappings = []
        for region, fd in zip(regions, fds, strict=True):
            what = f"the region at 0x{region.guest:x} of {region.size} bytes"
            if not region.size or any(value % PAGE for value in region):
                raise RingError(f"{what} is not of whole pages")
            if max(region.guest, region.user, region.offset) + region.size > LAST - PAGE:
                raise RingError(f"{what} ends beyond all addresses")
            try:
                mappings.append(Mapping(fd, region.offset + region.size))
            except (OSError, ValueError, OverflowError) as error:
                raise RingError(f"{what} cannot be mapped: {error}") from None
        ends = sorted((each.guest, each.guest + each.size) for each in regions)
        if any(following[0] < before[1] for before, following in itertools.pairwise(ends)):
            raise RingError("regions of the memory table overlap")
        self._rows = [
            (region, mapping.address + region.offset) for region, mapping in zip(regions, mappings, strict=True)
        ]
        self.memory = Memory([(row.guest, row.size, here) for row, here in self._rows], mappings)

    def here(self, user: int, size: int, aligned: int, what: str) -> int:
        """Where the front end's address is here, with so many bytes behind it. Raises RingError if they are not."""
        for region, here in self._rows:
            at = user - region.user
            if 0 <= at < region.size:
                if at + size > region.size:
                    raise RingError(f"the {what} at 0x{user:x} ends outside the guest's memory")
                if at % aligned:
                    raise RingError(f"the {what} at 0x{user:x} is not aligned to {aligned} bytes")
                return here + at
        raise RingError(f"the {what} at 0x{user:x} is not in the guest's memory")
