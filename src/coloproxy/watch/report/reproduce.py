"""A divergence, to be made again: a program that gives a comparator the bytes that were seen."""

from coloproxy.compare.events import Divergence, Reason

TEMPLATE = '''\
import ipaddress
import struct

from coloproxy import Comparator, Config, Side

SOURCE, DESTINATION = ipaddress.ip_address("{source}"), ipaddress.ip_address("{destination}")
PRIMARY = bytes.fromhex("{primary}")
SECONDARY = bytes.fromhex("{secondary}")


def frame(data: bytes) -> bytes:
    """An Ethernet frame from the replica to its client. Checksums are not compared."""
    segment = {segment}
    if SOURCE.version == 4:
        head = struct.pack("!BxHxxxxBB2x", 0x45, 20 + len(segment), 64, {protocol})
        return bytes(12) + b"\\x08\\x00" + head + SOURCE.packed + DESTINATION.packed + segment
    head = struct.pack("!IHBB", 6 << 28, len(segment), {protocol}, 64)
    return bytes(12) + b"\\x86\\xdd" + head + SOURCE.packed + DESTINATION.packed + segment


comparator = Comparator(Config(), now=0.0)
for side, data in ((Side.PRIMARY, PRIMARY), (Side.SECONDARY, SECONDARY)):
    if data:
        comparator.receive(side, frame(data), now=0.001)
comparator.tick(now=60.0)
for event in comparator.take_events():
    print(type(event).__name__, event.reason, event.stream_offset)
'''
TCP = 'struct.pack("!HHIIBBHHH", {sport}, {dport}, {seq}, 1, 0x50, 0x10, 65535, 0, 0) + data'
UDP = 'struct.pack("!HHHH", {sport}, {dport}, 8 + len(data), 0) + data'

BOTH = {Reason.TCP_PAYLOAD, Reason.UDP_PAYLOAD, Reason.UDP_LENGTH}
ONE = {Reason.TIMEOUT_PRIMARY_ONLY: "primary", Reason.TIMEOUT_SECONDARY_ONLY: "secondary"}


def script(event: Divergence) -> str | None:
    """A program that prints the same reason. None: it takes more than the bytes that the event has, such as SYNs; the
    evidence file has them."""
    ends = event.connection
    if ends is None or ends.protocol not in ("tcp", "udp"):
        return None
    primary, secondary = event.primary, event.secondary
    if event.reason in BOTH:
        if not primary or not secondary:
            return None
    elif event.reason in ONE:
        before = 2 * event.context_offset
        if event.reason == Reason.TIMEOUT_PRIMARY_ONLY:
            primary, secondary = primary[before:], ""
        else:
            primary, secondary = "", secondary[before:]
        if not primary + secondary:
            return None
    else:
        return None
    begin = ((event.seq or 1) - (event.context_offset if event.reason in BOTH else 0)) & 0xFFFFFFFF
    segment = (TCP if ends.protocol == "tcp" else UDP).format(
        sport=ends.source_port, dport=ends.destination_port, seq=begin
    )
    return TEMPLATE.format(
        source=ends.source, destination=ends.destination, primary=primary, secondary=secondary, segment=segment,
        protocol=6 if ends.protocol == "tcp" else 17,
    )  # fmt: skip
