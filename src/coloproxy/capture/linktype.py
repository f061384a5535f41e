"""Link types (tcpdump.org/linktypes.html): a captured frame as an Ethernet frame, whatever link it was captured on.

Where the link has no addresses of Ethernet's kind they are zero. What follows the header is untouched.
"""

import struct
from collections.abc import Callable

from coloproxy.capture.record import Record

NULL, ETHERNET, LOOP, COOKED, COOKED_2 = 0, 1, 108, 113, 276
RAW = (12, 14, 101)  # 12 and 14: as some systems wrote 101
IPV4, IPV6 = 228, 229

NAMES = {
    NULL: "null (BSD loopback)",
    ETHERNET: "Ethernet",
    LOOP: "loop (OpenBSD loopback)",
    COOKED: "Linux cooked",
    COOKED_2: "Linux cooked, version 2",
    IPV4: "raw IPv4",
    IPV6: "raw IPv6",
} | dict.fromkeys(RAW, "raw IP")

_NO_ADDRESSES = bytes(12)
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_AF_INET = 2
_AF_INET6 = (10, 24, 28, 30)  # Linux, NetBSD, FreeBSD, Darwin
_FAMILIES = frozenset(struct.pack(order + "I", number) for number in (_AF_INET, *_AF_INET6) for order in "<>")
_LLC = b"\x00\x04"  # "protocol" of a cooked frame that was an 802.3 frame with an LLC header


def to_ethernet(record: Record) -> bytes | None:
    """The record as an Ethernet frame; None for a link type that is not known, or a frame that is not of its link."""
    convert = CONVERTERS.get(record.linktype)
    return None if convert is None else convert(record.data)


def _ethernet(data: bytes) -> bytes | None:
    return data


def _cooked(data: bytes) -> bytes | None:
    """LINKTYPE_LINUX_SLL: packet type, ARPHRD type, address length, address (8 bytes), protocol."""
    if len(data) < 16:
        return None
    return _with_source(data[6:14], int.from_bytes(data[4:6]), data[14:16], data[16:])


def _cooked_2(data: bytes) -> bytes | None:
    """LINKTYPE_LINUX_SLL2: protocol, zeros, interface (4 bytes), ARPHRD type, packet type, address length, address."""
    if len(data) < 20:
        return None
    return _with_source(data[12:20], data[11], data[:2], data[20:])


def _with_source(address: bytes, length: int, protocol: bytes, rest: bytes) -> bytes:
    if protocol == _LLC:
        protocol = len(rest).to_bytes(2) if len(rest) < 0x0600 else protocol
    return bytes(6) + address[: min(length, 6)].ljust(6, b"\0") + protocol + rest


def _raw(data: bytes) -> bytes | None:
    ethertype = _ETHERTYPES.get(data[0] >> 4) if data else None
    return None if ethertype is None else _NO_ADDRESSES + ethertype + data


def _null(data: bytes) -> bytes | None:
    """LINKTYPE_NULL, LINKTYPE_LOOP: the address family, 4 bytes in the byte order of the capturing machine or of the
    network. The families' numbers differ between systems; which of them it is the IP header itself says."""
    return _raw(data[4:]) if data[:4] in _FAMILIES else None


CONVERTERS: dict[int, Callable[[bytes], bytes | None]] = {
    ETHERNET: _ethernet,
    COOKED: _cooked,
    COOKED_2: _cooked_2,
    NULL: _null,
    LOOP: _null,
    IPV4: _raw,
    IPV6: _raw,
    **dict.fromkeys(RAW, _raw),
}
