"""A fault on purpose: one byte of a stream is changed on its way."""

import struct
from collections.abc import Mapping

from coloproxy.compare.comparator import Batch
from coloproxy.link.flow import Take
from coloproxy.packet import vnet
from coloproxy.packet.checksum import update
from coloproxy.packet.parse import Packet
from coloproxy.topology import config
from coloproxy.topology.element import Element, segments
from coloproxy.topology.wires import IN, OUT

SYN = 0x02
MOST = 65536  # connections whose beginning is remembered


class Alter(Element):
    """Changes the byte at `offset` of every stream whose SYN went by, each time it is sent."""

    alters = True

    def __init__(self, name: str, settings: config.Alter) -> None:
        super().__init__(name)
        self._offset = settings.offset
        self._port = settings.port
        self._places: dict[bytes, int] = {}  # by connection: the number of the byte that is changed
        self._altered = 0

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        for packet in segments(batch):
            if self._port in (None, packet.sport):
                self._segment(batch.buf, packet)
        self.outs[OUT].batch(batch, now)

    def _segment(self, buf: bytearray, packet: Packet) -> None:
        if packet.flags & SYN:
            if len(self._places) < MOST:
                self._places[packet.key] = (packet.seq + 1 + self._offset) & 0xFFFFFFFF
            return
        place = self._places.get(packet.key)
        if place is None:
            return
        at = packet.payload + ((place - packet.seq) & 0xFFFFFFFF)
        if at < packet.payload_end:
            change(buf, packet, at)
            self._altered += 1

    def counters(self) -> dict[str, int]:
        return {"altered": self._altered}


def change(buf: bytearray, packet: Packet, at: int) -> None:
    """Change a byte of the payload, and the checksum with it, as if the sender had meant it."""
    word = at - (at - packet.l4) % 2  # the checksum sums words of 16 bits
    before = bytes(buf[word : min(word + 2, packet.payload_end)]).ljust(2, b"\0")
    buf[at] ^= 0xFF
    if vnet.read(buf, packet.start, packet.vnet_len).needs_csum:
        return  # whoever receives it sums
    after = bytes(buf[word : min(word + 2, packet.payload_end)]).ljust(2, b"\0")
    (checksum,) = struct.unpack_from(">H", buf, packet.l4 + 16)
    struct.pack_into(">H", buf, packet.l4 + 16, update(checksum, before, after))
