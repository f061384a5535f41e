"""The comparator's trace events, fired where QEMU's comparator fires them, with the same values and texts."""

import time

from coloproxy.compare.engine import Connection, Frame
from coloproxy.compare.events import Endpoints, Side
from coloproxy.compare.explain import endpoints_of
from coloproxy.packet.parse import parse
from coloproxy.trace import events

_WATCHED = tuple(
    event
    for event in vars(events).values()
    if getattr(event, "name", "").startswith(("colo_compare_", "colo_proxy_", "colo_old_packet_"))
)
ETHERNET = 14  # bytes of a header
SHORTEST = 18  # bytes that QEMU wants behind the virtio-net header
LONGEST_VNET = 20
_SIDES = {Side.PRIMARY: "pri", Side.SECONDARY: "sec"}


class Tracing:
    """Fires events. `wanted()` says whether any is on: the engine then leaves every frame to the general path."""

    def __init__(self, clock: float) -> None:
        self._epoch = time.time() - clock  # QEMU reports wall-clock times; the comparator knows only `now`

    @staticmethod
    def wanted() -> bool:
        return any(event.enabled for event in _WATCHED)

    def compared(self, c: Connection, p: Frame, s: Frame | None, place: int, n: int) -> None:
        """The engine's tracer: n bytes before `place` were found equal; or, without `s`, `p` is released."""
        if s is None:
            self.released(p)
            return
        self.comparing(c, p, s)
        if events.colo_compare_tcp_info.enabled:
            p_at, s_at = (place - n - p.seq) & 0xFFFFFFFF, (place - n - s.seq) & 0xFFFFFFFF
            if p.size - p_at > s.size - s_at:
                p_at += n
            elif not _same_bounds(p, s):
                s_at += n
            self._tcp_info("pri", p, p_at)
            self._tcp_info("sec", s, s_at)

    def differing(self, c: Connection, p: Frame, s: Frame) -> None:
        """Two payloads were found to differ: QEMU compares those of equal bounds as wholes first, then as parts."""
        for _ in range(2 if _same_bounds(p, s) else 1):
            self.comparing(c, p, s)

    @staticmethod
    def _tcp_info(side: str, f: Frame, at: int) -> None:
        """The segment that a frame, or the piece of one, came in; `at` counts from the piece's first byte."""
        segment = parse(f.buf, f.start, f.end, f.vnet_len)
        header, size = segment.payload - f.start, segment.payload_end - segment.payload
        offset = at + f.data - segment.payload
        events.colo_compare_tcp_info(side, segment.seq, segment.ack, header, size, offset, segment.flags)

    @staticmethod
    def comparing(c: Connection, p: Frame, s: Frame) -> None:
        """Two payloads are about to be compared. `colo_compare_miscompare` is a gate, itself never fired."""
        if events.colo_compare_ip_info.enabled and events.colo_compare_miscompare.enabled:
            ends = endpoints_of(c).source, endpoints_of(c).destination
            events.colo_compare_ip_info(p.end - p.start, *ends, s.end - s.start, *ends)

    @staticmethod
    def released(_frame: Frame) -> None:
        if events.colo_compare_main.enabled:
            events.colo_compare_main("packet same and release packet")

    @staticmethod
    def compared_before(side: Side) -> None:
        if events.colo_compare_main.enabled:
            events.colo_compare_main(f"{_SIDES[side]}: this packet has compared")

    @staticmethod
    def unsupported(side: Side, frame: Frame) -> None:
        """A frame passes for what it is, not IP or malformed: why QEMU would not take it, and that it does not."""
        if events.colo_proxy_main.enabled or events.colo_proxy_main_vnet_info.enabled:
            _explain_unsupported(bytes(frame.buf[frame.start : frame.end]), frame.vnet_len)
        if events.colo_compare_main.enabled:
            events.colo_compare_main(f"{side.label}: unsupported packet in")

    def datagrams(self, c: Connection, protocol: str, p: Frame, s: Frame, equal: bool) -> None:
        """Two datagrams were compared: protocol "udp", "icmp" or "other"."""
        title = protocol.upper() if protocol != "other" else "Other"
        if events.colo_compare_main.enabled:
            events.colo_compare_main(f"compare {protocol}")
        if not equal and p.end - p.start != s.end - s.start:
            if events.colo_compare_main.enabled:
                events.colo_compare_main(f"{title}: payload size of packets are different")
            return
        self.comparing(c, p, s)
        miscompare = {"udp": events.colo_compare_udp_miscompare, "icmp": events.colo_compare_icmp_miscompare}
        event = miscompare.get(protocol)
        if not equal and event is not None and event.enabled:
            event("primary pkt size", p.end - p.start)
            event("Secondary pkt size", s.end - s.start)

    @staticmethod
    def no_partner() -> None:
        if events.colo_compare_main.enabled:
            events.colo_compare_main("packet different")

    def overdue(self, since: float) -> None:
        if events.colo_old_packet_check_found.enabled:
            events.colo_old_packet_check_found(int((self._epoch + since) * 1000))

    @staticmethod
    def clamped(c: Connection, ack: int, lowered: int, window: int) -> None:
        if events.colo_compare_ack_clamped.enabled:
            events.colo_compare_ack_clamped(str(endpoints_of(c)), ack, lowered, window)

    @staticmethod
    def prefix(c: Connection, seq: int, verified: int, size: int) -> None:
        if events.colo_compare_prefix_release.enabled:
            events.colo_compare_prefix_release(str(endpoints_of(c)), seq, verified, size)

    @staticmethod
    def requested(reason: str, endpoints: Endpoints | None, seq: int | None) -> None:
        if events.colo_compare_checkpoint_request.enabled:
            events.colo_compare_checkpoint_request(reason, str(endpoints or "-"), seq or 0)

    @staticmethod
    def completed(epoch: int, took: float | None) -> None:
        if events.colo_compare_checkpoint_completed.enabled:
            events.colo_compare_checkpoint_completed(epoch, -1 if took is None else int(took * 1000))

    @staticmethod
    def flush_begins(epoch: int, primary_held: int, secondary_held: int) -> None:
        if events.colo_compare_flush_begin.enabled:
            events.colo_compare_flush_begin(epoch, primary_held, secondary_held)

    @staticmethod
    def flush_ends(epoch: int, released: int, dropped: int) -> None:
        if events.colo_compare_flush_end.enabled:
            events.colo_compare_flush_end(epoch, released, dropped)

    @staticmethod
    def evicted(endpoints: Endpoints, idle: float, dropped: int) -> None:
        if events.colo_compare_connection_evicted.enabled:
            events.colo_compare_connection_evicted(str(endpoints), int(idle * 1000), dropped)


def _same_bounds(p: Frame, s: Frame) -> bool:
    return (p.seq, p.size) == (s.seq, s.size)


def _explain_unsupported(frame: bytes, vnet_len: int) -> None:
    """QEMU's first look at a frame, as far as it says what is wrong."""
    if vnet_len > LONGEST_VNET or len(frame) < vnet_len + SHORTEST:
        events.colo_proxy_main_vnet_info("This received packet load wrong ", vnet_len, len(frame))
        return
    at = vnet_len + ETHERNET
    ethertype = frame[at - 2 : at]
    if ethertype == b"\x81\x00":
        events.colo_proxy_main("COLO-proxy don't support vlan")
        return
    if ethertype == b"\x88\xa8":
        at += 8 if frame[at + 2 : at + 4] == b"\x81\x00" else 4
        ethertype = frame[at - 2 : at]
    if ethertype == b"\x08\x00" and len(frame) < at + 4 * (frame[at] & 15 if at < len(frame) else 15):
        events.colo_proxy_main("pkt->size < network_header + network_length")
