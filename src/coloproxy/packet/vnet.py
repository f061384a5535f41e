"""The virtio-net header in front of a frame (virtio 1.2, 5.1.6): 10 bytes, 12 with num_buffers, 20 with a hash.

Little-endian, as on every guest that QEMU runs COLO for.
"""

import struct
from typing import NamedTuple

NEEDS_CSUM = 1
DATA_VALID = 2
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 3, 4, 5
GSO_ECN = 0x80

_FIELDS = struct.Struct("<BBHHHH")


class VnetHeader(NamedTuple):
    """flags; GSO type; length of all headers; segment size; where the checksum's data begin, and the checksum in it.

    Offsets count from the first byte of the Ethernet header.
    """

    flags: int = 0
    gso_type: int = GSO_NONE
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    @property
    def needs_csum(self) -> bool:
        """Whether the checksum field holds no more than the pseudo-header's sum."""
        return bool(self.flags & NEEDS_CSUM)

    def write(self, length: int) -> bytes:
        """The header in `length` bytes."""
        return _FIELDS.pack(*self).ljust(length, b"\0") if length else b""


def needs_csum(buf: bytes | bytearray | memoryview, at: int, length: int) -> bool:
    """Whether the header of `length` bytes at buf[at:] says that the checksum is no more than the pseudo-header's."""
    return bool(length and buf[at] & NEEDS_CSUM)


def read(buf: bytes | bytearray | memoryview, at: int, length: int) -> VnetHeader:
    """The header of `length` bytes at buf[at:]; an empty one for length 0."""
    return VnetHeader(*_FIELDS.unpack_from(buf, at)) if length else VnetHeader()
