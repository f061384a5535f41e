"""A frame of the secondary under the primary's name: the addresses, ports or identifier that the primary's has."""

from coloproxy.offline.shared import Origin
from coloproxy.packet.parse import Kind

_ETHERTYPES = (b"\x08\x00", b"\x86\xdd")
_TAG = b"\x88\xa8"


def ether(name: Origin, turn: int) -> bytes:
    """The ethertype; in front of it, to tell connections with the same ends apart, VLAN tags that say whose turn it is.

    Tags are part of a connection's key, and no rule looks at them.
    """
    tags = b"" if not turn else _TAG + (turn >> 12 & 0xFFF).to_bytes(2) + _TAG + (turn & 0xFFF).to_bytes(2)
    return tags + _ETHERTYPES[name.long]


def rename(buf: bytearray, at: int, l4: int, name: Origin) -> None:
    """Give the IP packet at buf[at:] a name; its own transport header lies `l4` bytes behind."""
    size = 32 if name.long else 8
    place = at + (8 if name.long else 12)
    buf[place : place + size] = name.key[:size]
    if name.kind in (Kind.TCP, Kind.UDP):
        buf[at + l4 : at + l4 + 4] = name.key[size : size + 4]
