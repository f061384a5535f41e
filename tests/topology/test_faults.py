"""Faults on purpose: a changed byte, and a replica that counts from elsewhere."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import Packet, parse
from coloproxy.topology import config
from coloproxy.topology.alter import Alter
from coloproxy.topology.renumber import Renumber
from support import frames
from support.flow import Bench
from support.frames import ACK, FIN, SYN, timestamp

ISN = 0xFFFFFF00  # so that numbers wrap


def taken_apart(frame: bytes, vnet: int = 0) -> Packet:
    packet = parse(frame, 0, len(frame), vnet)
    assert tcp_checksum_is_right(frame, packet)
    return packet


def payload(frame: bytes, vnet: int = 0) -> bytes:
    packet = taken_apart(frame, vnet)
    return frame[packet.payload : packet.payload_end]


# One byte changed


def alter(offset: int, port: int | None = None) -> Bench:
    return Bench(Alter("x", config.Alter(offset=offset, port=port)))


def begun(bench: Bench, **more: object) -> Bench:
    bench.send(frames.tcp(seq=ISN, flags=SYN, **more))  # type: ignore[arg-type]
    bench.out.take()
    return bench


@given(st.integers(0, 600), st.lists(st.integers(1, 200), min_size=1, max_size=8), st.sampled_from(["4", "6"]))
def test_the_byte_at_the_offset_is_changed_however_the_stream_is_cut(
    offset: int, cuts: list[int], family: str
) -> None:
    addresses: dict[str, object] = {"src": "fd00::2", "dst": "fd00::9"} if family == "6" else {}
    bench = begun(alter(offset), **addresses)
    stream = bytes(n % 251 for n in range(sum(cuts)))
    at = 0
    for size in cuts:
        bench.send(frames.tcp(stream[at : at + size], seq=ISN + 1 + at, **addresses))  # type: ignore[arg-type]
        at += size
    came = b"".join(map(payload, bench.out.frames))
    expected = bytearray(stream)
    if offset < len(stream):
        expected[offset] ^= 0xFF
    assert came == expected
    assert bench.counters() == {"altered": int(offset < len(stream))}


def test_the_byte_is_changed_again_when_it_is_sent_again() -> None:
    bench = begun(alter(5))
    for _ in range(2):
        bench.send(frames.tcp(b"0123456789", seq=ISN + 1))
    assert list(map(payload, bench.out.frames)) == [b"01234\xca6789"] * 2
    assert bench.counters() == {"altered": 2}


def test_a_large_frame_without_a_whole_checksum_keeps_the_part_it_has() -> None:
    bench = begun(alter(2000))
    frame = frames.tcp(b"x" * 3000, seq=ISN + 1, vnet=10, gso=1460)
    bench.send(frame, vnet=10)
    (came,) = bench.out.frames
    differing = [at for at, (a, b) in enumerate(zip(frame, came, strict=True)) if a != b]
    assert differing == [10 + 54 + 2000]


def test_other_ports_connections_without_a_beginning_and_other_frames_pass_as_they_are() -> None:
    bench = begun(alter(0, port=21))  # the SYN is of port 80
    others = [frames.udp(b"x"), frames.arp(), b"?"]
    sent = [frames.tcp(b"hello", seq=ISN + 1), frames.tcp(b"hello", seq=1, sport=21), *others]
    bench.send(*sent)
    assert bench.out.frames == sent
    bench.send(frames.tcp(seq=ISN, flags=SYN, sport=21), frames.tcp(b"hello", seq=ISN + 1, sport=21))
    assert payload(bench.out.frames[-1]) == b"\x97ello"


def test_a_connection_that_begins_again_is_changed_again() -> None:
    bench = begun(alter(1))
    bench.send(frames.tcp(b"one", seq=ISN + 1), frames.tcp(seq=5, flags=SYN), frames.tcp(b"two", seq=6))
    assert payload(bench.out.frames[0]) == b"o\x91e"
    assert payload(bench.out.frames[2]) == b"t\x88o"


# A replica that counts from elsewhere


def renumber(isn: int = 0, stamp: int = 0) -> Bench:
    return Bench(Renumber("x", config.Renumber(isn=isn, timestamp=stamp)))


NUMBER = st.integers(0, 2**32 - 1)
FLAGS = st.sampled_from([SYN, SYN | ACK, ACK, ACK | FIN])


@given(NUMBER, NUMBER, NUMBER, NUMBER, FLAGS, st.binary(max_size=9))
def test_what_a_replica_sends_is_moved_and_what_is_sent_to_it_is_moved_back(
    isn: int, stamp: int, seq: int, ack: int, flags: int, data: bytes
) -> None:
    bench = renumber(isn, stamp)
    options = timestamp(111, 222)
    bench.send(frames.tcp(data, seq=seq, ack=ack, flags=flags, options=options), channel="replica")
    (sent,) = bench.outs["replica"].frames
    packet = taken_apart(sent)
    assert (packet.seq, packet.ack) == ((seq + isn) % 2**32, ack)
    assert sent[packet.l4 + 20 : packet.payload] == timestamp(111 + stamp, 222)

    sack = b"\1\1\5\x0a" + struct.pack(">II", packet.seq, packet.seq)
    answer = frames.tcp(ack=packet.seq, seq=ack, flags=ACK, options=timestamp(333, 111 + stamp) + sack)
    bench.send(answer, channel="client")
    (back,) = bench.outs["client"].frames
    packet = taken_apart(back)
    assert (packet.ack, packet.seq) == (seq, ack)
    assert back[packet.l4 + 20 : packet.payload] == timestamp(333, 111) + b"\1\1\5\x0a" + struct.pack(">II", seq, seq)


def test_with_nothing_to_move_frames_pass_as_they_are() -> None:
    bench = renumber()
    sent = [frames.tcp(b"x", seq=5, ack=7, options=timestamp(1, 2)), frames.udp(b"x"), frames.arp(), b"?"]
    for channel in ("client", "replica"):
        bench.send(*sent, channel=channel)
        assert bench.outs[channel].frames == sent


@pytest.mark.parametrize("channel", ["client", "replica"])
def test_large_frames_are_moved_too(channel: str) -> None:
    bench = renumber(isn=1000)
    bench.send(frames.tcp(b"x" * 3000, seq=5, ack=7000, vnet=12, gso=1460), channel=channel, vnet=12)
    (came,) = bench.outs[channel].frames
    packet = parse(came, 0, len(came), 12)
    assert (packet.seq, packet.ack) == ((5, 6000) if channel == "client" else (1005, 7000))
    assert came[-3000:] == b"x" * 3000
