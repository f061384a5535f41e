"""What the agent's data path adds to the elements there are: junctions, gates, the mouth, the listener."""

import math
import socket
import struct
import time
from collections.abc import Callable

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether

from coloproxy.compare.comparator import Batch, Output
from coloproxy.guest.announce import announcements
from coloproxy.guest.elements import HELD, Gate, Junction, Listener, Mouth, source
from coloproxy.link.flow import Frames, frames_of
from coloproxy.topology.element import Element

MAC = bytes.fromhex("525400000001")


class Kept:
    """Where frames end."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def batch(self, batch: Batch, now: float) -> None:
        self.frames += [bytes(batch.buf[start:end]) for start, end, _ in frames_of(batch)]

    def outputs(self, outputs: list[Output], now: float) -> None:
        self.frames += [bytes(buf[start:end]) for buf, start, end, _, _ in outputs]


def send(element: Element, *frames: bytes) -> None:
    buf = bytearray(b"".join(frames))
    batch, at = Frames(buf), 0
    for frame in frames:
        batch.add(at, at + len(frame), 0)
        at += len(frame)
    element.inlet("in").batch(batch, 0.0)


def joined(element: Element, *outs: str) -> list[Kept]:
    kept = [Kept() for _ in outs or ("out",)]
    element.outs.update(zip(outs or ("out",), kept, strict=True))
    return kept


def test_a_junction_leads_one_way_at_a_time_or_none() -> None:
    junction = Junction("j", ("a", "b"))
    a, b = joined(junction, "a", "b")
    send(junction, b"lost")
    junction.way = "a"
    send(junction, b"first")
    junction.way = "b"
    send(junction, b"second")
    assert (a.frames, b.frames, junction.counters()) == ([b"first"], [b"second"], {"dropped": 1})


def test_a_gate_keeps_the_order_of_what_waited() -> None:
    gate = Gate("g")
    (out,) = joined(gate)
    send(gate, b"1")
    gate.close_up()
    send(gate, b"2", b"3")
    assert (out.frames, gate.closed, gate.idle) == ([b"1"], True, False)
    gate.open_up(0.0)
    send(gate, b"4")
    assert out.frames == [b"1", b"2", b"3", b"4"]


def test_a_gate_keeps_no_more_than_its_limit_and_forgets_when_told() -> None:
    gate = Gate("g")
    (out,) = joined(gate)
    gate.close_up()
    send(gate, *[b"x"] * (HELD + 3))
    assert gate.counters() == {"held": HELD, "dropped": 3}
    gate.forget()
    gate.open_up(0.0)
    assert out.frames == []


def test_nothing_leaves_the_mouth_after_its_time() -> None:
    mouth = Mouth("m")
    (out,) = joined(mouth)
    send(mouth, b"too early")
    mouth.give(time.monotonic() + 0.05, 0.0)
    send(mouth, b"now")
    time.sleep(0.06)
    send(mouth, b"too late")
    mouth.give(math.inf, 0.0)
    send(mouth, b"for ever")
    assert out.frames == [b"now", b"for ever"]


def test_a_patient_mouth_says_later_what_it_may_not_say_now() -> None:
    mouth = Mouth("m")
    (out,) = joined(mouth)
    mouth.patient = True
    send(mouth, b"first")
    send(mouth, b"second")
    assert not out.frames
    assert not mouth.idle
    mouth.give(math.inf, 0.0)
    send(mouth, b"third")
    assert out.frames == [b"first", b"second", b"third"]
    mouth.shut()
    send(mouth, b"never")
    mouth.shut()
    mouth.give(math.inf, 0.0)
    assert out.frames[3:] == []
    assert mouth.counters() == {"held": 0, "dropped": 1}


def ip(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


@pytest.mark.parametrize(
    ("made", "address"),
    [
        (lambda: bytes(Ether() / ARP(psrc="10.0.0.1")), ip("10.0.0.1")),
        (lambda: bytes(Ether() / ARP(psrc="0.0.0.0")), None),
        (lambda: bytes(Ether() / IPv6(src="fd00::1") / ICMPv6ND_NA()), ip("fd00::1")),
        (lambda: bytes(Ether() / IPv6(src="::") / ICMPv6ND_NA()), None),
        (lambda: bytes(12) + b"\x08\x00" + struct.pack("!12x4s", ip("10.0.0.9")), ip("10.0.0.9")),
        (lambda: bytes(12) + b"\x88\xcc" + bytes(60), None),
        (lambda: bytes(20), None),
        (lambda: b"", None),
    ],
)
def test_the_sender_of_a_frame_is_found(made: Callable[[], bytes], address: bytes | None) -> None:
    assert source(made()) == address


def test_the_listener_hands_on_what_it_hears() -> None:
    listener = Listener("l", MAC)
    (out,) = joined(listener)
    frame = bytes(Ether() / ARP(psrc="10.0.0.1"))
    send(listener, frame, b"other")
    assert out.frames == [frame, b"other"]
    assert listener.addresses == {ip("10.0.0.1")}


def test_an_announcement_says_who_is_where() -> None:
    rarp, arp, advertisement = announcements(MAC, {ip("fd00::1"), ip("10.0.0.1")})
    assert rarp[12:14] == b"\x80\x35"
    said = Ether(arp)
    assert (said.dst, said.src) == ("ff:ff:ff:ff:ff:ff", "52:54:00:00:00:01")
    assert (said[ARP].psrc, said[ARP].pdst, said[ARP].hwsrc) == ("10.0.0.1", "10.0.0.1", "52:54:00:00:00:01")
    told = Ether(advertisement)
    assert (told[ICMPv6ND_NA].tgt, told[ICMPv6ND_NA].O, told[ICMPv6ND_NA].S) == ("fd00::1", 1, 0)
    assert told[IPv6].hlim == 255
    stated = told[ICMPv6ND_NA].cksum
    del told[ICMPv6ND_NA].cksum
    assert Ether(bytes(told))[ICMPv6ND_NA].cksum == stated
