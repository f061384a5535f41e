"""A frame of every kind that the parser tells apart, by name."""

import struct

from support.frames import (
    ACK,
    CLIENT6,
    PSH,
    REPLICA6,
    SYN,
    arp,
    ethernet,
    fragments,
    icmp,
    ipv4,
    ipv6,
    other,
    syn_options,
    tcp,
    timestamp,
    udp,
    udp_datagram,
)

V6 = {"src": REPLICA6, "dst": CLIENT6}
FRAGMENT_OF_ALL = (44, struct.pack(">HI", 0, 9))  # offset 0 and nothing behind it: the whole datagram (RFC 6946)
CHAIN = ((0, b"\x05\x02\0\0"), (60, b"\x01\x02\0\0"), (43, bytes(22)))

FRAMES: dict[str, bytes] = {
    "tcp4": tcp(b"data", seq=5, ack=9, flags=ACK | PSH),
    "tcp4 padded": tcp(b"", pad=6),
    "tcp4 syn": tcp(seq=1, flags=SYN, options=syn_options(stamps=True)),
    "tcp4 options": tcp(b"data", options=timestamp(1, 2), ttl=3),
    "tcp4 virtio 10": tcp(b"data", vnet=10),
    "tcp4 virtio 12 gso": tcp(bytes(3000), vnet=12, gso=1448),
    "tcp4 virtio 20": tcp(b"data", vnet=20, gso=1448),
    "tcp6": tcp(b"data", **V6),
    "tcp6 extensions": tcp(b"data", **V6, extensions=CHAIN),
    "tcp6 atomic fragment": tcp(b"data", **V6, extensions=(FRAGMENT_OF_ALL,)),
    "tcp4 vlan": tcp(b"data", vlan=(5,)),
    "tcp6 qinq": tcp(b"data", vlan=(7, 5), **V6),
    "tcp4 three tags": tcp(b"data", vlan=(9, 7, 5)),
    "udp4": udp(b"question"),
    "udp6": udp(b"question", **V6),
    "udp4 vlan": udp(b"question", vlan=(5,)),
    "udp4 padded": udp(b"q", pad=17),
    "icmp": icmp(b"ping"),
    "icmp unreachable": icmp(b"inner", kind=3),
    "icmpv6": icmp(b"ping", kind=129, **V6),
    "gre": other(b"tunnel"),
    "gre6": other(b"tunnel", **V6),
    "ah6": ethernet(0x86DD, ipv6(51, struct.pack(">BBHII", 17, 1, 0, 1, 1) + udp_datagram(b"x", **V6), **V6)),
    "fragment4": fragments(udp_datagram(bytes(64)), size=32)[1],
    "fragment6": fragments(udp_datagram(bytes(64), **V6), size=32, **V6)[0],
    "ip options": ethernet(0x0800, ipv4(17, udp_datagram(b"x"), options=b"\x94\x04\0\0")),
    "arp": arp(),
    "lldp": ethernet(0x88CC, b"\x02\x07"),
    "802.3": ethernet(38, b"\x42\x42\x03" + bytes(35)),
}
VNET = {name: int(name.split("virtio ")[1][:2]) if "virtio" in name else 0 for name in FRAMES}
