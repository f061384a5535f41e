"""What the rewriter takes: many frames in one buffer, as the link reads them and the comparator takes them."""

from array import array
from typing import Protocol


class Batch(Protocol):
    """`index` holds (start, end, vnet_len) for each of `count` frames of `buf`."""

    buf: bytearray
    index: "array[int]"
    count: int
