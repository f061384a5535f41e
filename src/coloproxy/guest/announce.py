"""What a guest says that has moved, so that the network finds it where it is now.

A gratuitous ARP request for each IPv4 address (RFC 5227, 1.2 and 3), an unsolicited neighbour advertisement for each of
IPv6 (RFC 4861, 7.2.6), and always a reverse ARP request (RFC 903), from which switches learn where its MAC address is.
"""

import struct
from collections.abc import Iterable

from coloproxy.packet.checksum import internet_checksum

EVERYBODY = b"\xff" * 6
ALL_NODES_MAC, ALL_NODES = bytes.fromhex("333300000001"), bytes.fromhex("ff020000000000000000000000000001")
OVERRIDE = 1 << 29
ICMPV6 = 58


def announcements(mac: bytes, addresses: Iterable[bytes]) -> list[bytes]:
    """The frames."""
    frames = [_arp(mac, 0x8035, 3, bytes(4), mac, bytes(4))]
    for address in sorted(addresses):
        frames.append(
            _arp(mac, 0x0806, 1, address, bytes(6), address) if len(address) == 4 else _advertisement(mac, address)
        )
    return frames


def _arp(mac: bytes, kind: int, operation: int, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    head = struct.pack("!6s6sHHHBBH", EVERYBODY, mac, kind, 1, 0x0800, 6, 4, operation)
    return (head + mac + sender + target_mac + target).ljust(60, b"\0")


def _advertisement(mac: bytes, address: bytes) -> bytes:
    body = struct.pack("!BBHI16sBB6s", 136, 0, 0, OVERRIDE, address, 2, 1, mac)
    total = internet_checksum(address + ALL_NODES + struct.pack("!IxxxB", len(body), ICMPV6) + body)
    body = body[:2] + struct.pack("!H", total) + body[4:]
    ip = struct.pack("!IHBB16s16s", 6 << 28, len(body), ICMPV6, 255, address, ALL_NODES)
    return ALL_NODES_MAC + mac + b"\x86\xdd" + ip + body
