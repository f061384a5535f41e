"""A rewriter where checkpoints make no copies: the secondary keeps its numbers, and is brought up to the primary."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.config import Config
from coloproxy.compare.events import Divergence, Event, Side
from coloproxy.errors import ColoproxyError
from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import Packet, parse
from coloproxy.packet.serial import add, distance
from coloproxy.topology import config
from coloproxy.topology.rewriting import Uncopied
from support import frames, rewriting
from support.flow import Bench, StillClock, batch
from support.frames import ACK, CLIENT6, FIN, REPLICA6, SYN
from support.rewriting import C_ISN, CLIENT_SYN, P_ISN, S_ISN

MSS = 1460


def element() -> Uncopied:
    events: list[Event] = []
    return Uncopied("rewriter", config.Rewriter(copies=False), StillClock(), events.append)


class Uncopying(Bench):
    """The element, all of whose frames have the same virtio-net header; what it sends is taken apart."""

    def __init__(self, p_isn: int = P_ISN, s_isn: int = S_ISN, vnet: int = 0) -> None:
        self.p_isn, self.s_isn, self.vnet = p_isn, s_isn, vnet
        super().__init__(element())
        self.element.wired()
        head = bytes(vnet)
        self.send(head + CLIENT_SYN, channel="client", vnet=vnet)
        for name, isn in (("primary", p_isn), ("secondary", s_isn)):
            answer = rewriting.replica(seq=isn, flags=SYN | ACK, options=frames.syn_options())
            self.send(head + answer, channel=name, vnet=vnet)
        self.send(head + rewriting.client(ack=add(p_isn, 1)), channel="client", vnet=vnet)
        for channel in self.outs:
            self.took(channel)

    def checkpoint(self) -> None:
        self.element.checkpoint_completed(0.0)  # type: ignore[attr-defined]

    def says(self, who: str, data: bytes, at: int, flags: int = ACK) -> list[tuple[int, bytes]]:
        """A replica says this at a place of the stream; what the comparator then gets of it, or of the secondary."""
        isn = self.p_isn if who == "primary" else self.s_isn
        gso = MSS if self.vnet else 0
        frame = rewriting.replica(data, seq=add(isn, 1 + at), flags=flags, vnet=self.vnet, gso=gso)
        self.send(frame, channel=who, vnet=self.vnet)
        return self.shown()

    def shown(self) -> list[tuple[int, bytes]]:
        """What came out of the secondary's: places and payloads."""
        return [(distance(self.p_isn, packet.seq) - 1, data) for packet, data in self.took("secondary")]

    def acknowledges(self, at: int, payload: bytes = b"") -> list[int]:
        """The client does; what the secondary is told, as places of the stream."""
        frame = bytes(self.vnet) + rewriting.client(payload, ack=add(self.p_isn, 1 + at))
        self.send(frame, channel="client", vnet=self.vnet)
        return self.told()

    def told(self) -> list[int]:
        return [distance(self.s_isn, packet.ack) - 1 for packet, _ in self.took("client")]

    def took(self, channel: str) -> list[tuple[Packet, bytes]]:
        """What left by a channel, each frame right in itself."""
        found = []
        for frame in self.outs[channel].take():
            packet = parse(frame, 0, len(frame), self.vnet)
            assert tcp_checksum_is_right(frame, packet)
            found.append((packet, frame[packet.payload : packet.payload_end]))
        return found


def test_before_the_first_checkpoint_all_goes_on_as_it_came() -> None:
    bench = Uncopying()
    assert bench.says("secondary", b"ahead", 0) == [(0, b"ahead")]
    assert bench.acknowledges(100) == [100]
    whole = batch(rewriting.replica(b"more", seq=S_ISN + 6))
    seen: list[object] = []

    def see(batch: object, _now: float) -> None:
        seen.append(batch)

    bench.outs["secondary"].batch = see  # type: ignore[method-assign]
    bench.element.inlets()["secondary"](whole, 0.0)
    assert seen == [whole]


def test_a_checkpoint_leaves_the_secondary_its_numbers() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"hello", 0)
    assert bench.says("secondary", b"hello", 0) == [(0, b"hello")]
    assert bench.acknowledges(5) == [5]


def test_what_the_secondary_is_late_with_is_not_shown() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"0123456789", 0)
    bench.checkpoint()
    assert bench.says("secondary", b"0123", 0) == []
    bench.says("primary", b"abc", 10)
    assert bench.says("secondary", b"456789abc", 4) == [(10, b"abc")]
    assert bench.says("secondary", b"0123", 0) == []  # sent again


def test_what_the_secondary_has_said_already_waits_until_the_primary_says_it() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"0123", 0)
    assert bench.says("secondary", b"0123456", 0) == [(0, b"0123456")]
    assert bench.says("secondary", b"789", 7) == []
    bench.checkpoint()
    assert bench.says("primary", b"45", 4) == [(4, b"456")]  # the comparator has forgotten what it was shown of this
    assert bench.says("primary", b"6", 6) == []
    assert bench.says("primary", b"7", 7) == [(7, b"789")]


def test_what_says_nothing_keeps_its_place_behind_what_waits() -> None:
    bench = Uncopying()
    bench.checkpoint()
    assert bench.says("secondary", b"", 0) == [(0, b"")]
    bench.says("secondary", b"01", 0)
    assert bench.says("secondary", b"", 2) == []
    assert bench.says("primary", b"01", 0) == [(0, b"01"), (2, b"")]


def test_a_fin_is_a_place_of_the_stream() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"01", 0)
    bench.checkpoint()
    bench.says("primary", b"", 2, FIN | ACK)
    assert bench.says("secondary", b"01", 0, FIN | ACK) == [(2, b"")]
    bench.checkpoint()
    assert bench.says("secondary", b"01", 0, FIN | ACK) == []


def test_the_secondary_is_told_of_no_more_than_it_has_sent_and_of_the_rest_when_it_sends_it() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"0123456789", 0)
    bench.says("secondary", b"01", 0)
    bench.checkpoint()
    assert bench.acknowledges(10, b"thanks") == [2]
    bench.says("secondary", b"2345", 2)
    bench.says("secondary", b"2345", 2)
    (packet, data), *more = bench.took("client")
    assert {again.ack for again, _ in more} <= {packet.ack}  # what it repeats it is told once more
    assert not data
    assert (packet.seq, packet.ack, packet.flags) == (C_ISN + 7, S_ISN + 7, ACK)
    bench.says("secondary", b"6789abcd", 6)
    assert bench.told() == [10]
    bench.says("secondary", b"e", 14)
    assert bench.told() == []


def test_an_acknowledgement_that_the_secondary_has_earned_is_as_it_came() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"0123456789", 0)
    bench.says("secondary", b"01", 0)
    assert bench.acknowledges(10) == [2]
    assert bench.acknowledges(1) == [1]
    bench.says("secondary", b"23", 2)
    assert bench.told() == []  # what was owed is no more: the client spoke last


def test_a_new_connection_on_the_same_ports_begins_afresh() -> None:
    bench = Uncopying()
    bench.checkpoint()
    bench.says("primary", b"0123456789", 0)
    bench.checkpoint()
    bench.send(rewriting.client(seq=C_ISN + 9000, ack=0, flags=SYN, options=frames.syn_options()), channel="client")
    for name, isn in (("primary", P_ISN - 500), ("secondary", S_ISN - 500)):
        answer = rewriting.replica(seq=isn, ack=C_ISN + 9001, flags=SYN | ACK, options=frames.syn_options())
        bench.send(answer, channel=name)
        bench.p_isn, bench.s_isn = P_ISN - 500, S_ISN - 500
    bench.took("secondary")
    bench.says("primary", b"new", 0)
    assert bench.says("secondary", b"new", 0) == [(0, b"new")]


def test_it_sees_through_ipv6_and_vlan_tags() -> None:
    six = {"src": REPLICA6, "dst": CLIENT6}
    back = {"src": CLIENT6, "dst": REPLICA6, "sport": 40000, "dport": 80}
    for more, less in ((six, back), ({"vlan": (7,)}, {**back, "src": "10.0.0.9", "dst": "10.0.0.2", "vlan": (7,)})):
        bench = Bench(element())
        bench.element.wired()
        bench.element.checkpoint_completed(0.0)  # type: ignore[attr-defined]
        bench.send(frames.tcp(b"0123", seq=1, **more), channel="primary")  # type: ignore[arg-type]
        bench.element.checkpoint_completed(0.0)  # type: ignore[attr-defined]
        bench.send(frames.tcp(b"01", seq=1, **more), channel="secondary")  # type: ignore[arg-type]
        bench.send(frames.tcp(seq=9, ack=5, **less), channel="client")  # type: ignore[arg-type]
        assert bench.outs["secondary"].take() == []
        assert bench.outs["client"].take() == [frames.tcp(seq=9, ack=3, **less)]  # type: ignore[arg-type]


def test_other_frames_pass() -> None:
    bench = Uncopying()
    bench.checkpoint()
    others = [frames.arp(), frames.udp(b"x"), frames.icmp(b"y"), b"short"]
    for channel in ("client", "primary", "secondary"):
        bench.send(*others, channel=channel)
        assert bench.outs[channel].take() == others


def test_it_must_see_the_primary() -> None:
    bench = Bench(element())
    del bench.element.outs["primary"]
    with pytest.raises(ColoproxyError) as caught:
        bench.element.wired()
    said = "element rewriter: without copies it must see the primary's frames: wire 'rewriter.primary'."
    assert str(caught.value) == said


# With a comparator behind it


def cuts(sizes: list[int], end: int) -> Iterator[tuple[int, int]]:
    """The stream in pieces of these sizes, again and again."""
    at, number = 0, 0
    while at < end:
        size = min(sizes[number % len(sizes)], end - at)
        yield at, at + size
        at, number = at + size, number + 1


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=4),
    st.lists(st.integers(1, 900), min_size=1, max_size=4),
    st.lists(st.sampled_from(["primary", "secondary", "checkpoint", "again"]), max_size=40),
    st.sampled_from([0, 10]),
    st.sampled_from([1000, 2**32 - 1000]),
)
def test_whenever_checkpoints_come_all_leaves_once_and_nothing_differs(p_sizes, s_sizes, steps, vnet, p_isn) -> None:
    """A model: both replicas say the same, cut as they like; checkpoints are made at any time, for no reason."""
    data = bytes(number * 7 % 251 for number in range(4000))
    bench = Uncopying(p_isn=p_isn, vnet=vnet)
    comparator = Comparator(Config(epoch_grace=0, ack_rule="hold"), 0.0)
    left = {who: list(cuts(sizes, len(data))) for who, sizes in (("primary", p_sizes), ("secondary", s_sizes))}
    last: dict[str, tuple[int, int]] = {}
    released: list[tuple[int, bytes]] = []

    def pass_on() -> None:
        for side in Side:
            made = batch(*bench.outs[side.name.lower()].take(), vnet=vnet)
            comparator.receive_batch(side, made, 0.0)
        for buf, start, end, vnet_len, _ in comparator.take_output():
            frame = bytes(buf[start:end])
            packet = parse(frame, 0, len(frame), vnet_len)
            released.append((distance(p_isn, packet.seq) - 1, frame[packet.payload : packet.payload_end]))

    def speak(who: str, begin: int, end: int) -> None:
        isn = p_isn if who == "primary" else S_ISN
        gso = MSS if vnet else 0
        frame = rewriting.replica(data[begin:end], seq=add(isn, 1 + begin), vnet=vnet, gso=gso)
        bench.send(frame, channel=who, vnet=vnet)
        last[who] = begin, end
        pass_on()

    bench.checkpoint()  # as a pair begins
    for step in [*steps, *["primary", "secondary"] * len(data)]:
        if step == "checkpoint":
            comparator.checkpoint_completed(0.0)
            bench.checkpoint()
            pass_on()
        elif step == "again":
            if "secondary" in last:
                speak("secondary", *last["secondary"])
        elif left[step]:
            speak(step, *left[step].pop(0))
        if not any(left.values()):
            break
    assert b"".join(piece for _, piece in released) == data
    assert [at for at, _ in released] == [sum(len(piece) for _, piece in released[:n]) for n in range(len(released))]
    assert not [event for event in comparator.take_events() if isinstance(event, Divergence)]
    assert comparator.accounting().primary.held.frames == 0
