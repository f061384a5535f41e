"""What is written to a device: TCP segments in a row as one, which the kernel cuts into the very same frames again."""

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.link.coalesce import OTHER_HEADER, Writer
from coloproxy.link.flow import Frames
from coloproxy.packet import vnet
from coloproxy.packet.edit import tcp_part
from coloproxy.packet.parse import parse
from support.flow import batch
from support.frames import ACK, FIN, PSH, ones, tcp, timestamp
from support.kinds import V6

EMPTY = bytes(10)
MSS = 100
ADDRESSES = st.sampled_from([{}, V6])


class Device:
    """What was written to a descriptor, write by write."""

    def __init__(self) -> None:
        self._to, self._from = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._from.setblocking(False)
        self._to.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)

    def write(self, frames: Frames) -> list[bytes]:
        done, size, why = Writer().batch(self._to.fileno(), frames.buf, frames.index, 0, frames.count)
        written = list(self._written())
        assert (done, why) == (frames.count, 0)
        ranges = zip(frames.index[0::3], frames.index[1::3], frames.index[2::3], strict=True)
        assert size == sum(end - start + 10 - header for start, end, header in ranges)
        return written

    def _written(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._from.recv(1 << 17)
            except BlockingIOError:
                return

    def close(self) -> None:
        self._to.close()
        self._from.close()


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.close()


def stream(sizes: list[int], addresses: dict[str, str], seq: int = 1, ident: int = 7, **more: object) -> list[bytes]:
    """Segments in a row, of these many bytes."""
    made, data = [], bytes(range(256)) * (sum(sizes) // 256 + 1)
    at = 0
    for number, size in enumerate(sizes):
        which = {} if addresses else {"ident": (ident + number) & 0xFFFF}
        fields = {"flags": ACK, "ack": 5, **which, **addresses, **more}
        made.append(tcp(data[at : at + size], seq=(seq + at) & 0xFFFFFFFF, **fields))  # type: ignore[arg-type]
        at += size
    return made


def cut_again(written: bytes) -> list[bytes]:
    """What the kernel makes of a write: its segments, by what the virtio-net header says, with their sums."""
    header = vnet.read(written, 0, 10)
    if not header.gso_size:
        assert written[:10] == EMPTY
        return [written[10:]]
    packet = parse(written, 0, len(written), 10)
    size = packet.payload_end - packet.payload
    assert header.needs_csum
    assert header.hdr_len == packet.payload - 10
    assert (header.csum_start, header.csum_offset) == (packet.l4 - 10, 16)
    assert packet.version == 6 or ones(written[packet.l3 : packet.l4]) == 0xFFFF
    segments = []
    for first in range(0, size, header.gso_size):
        part = bytearray(tcp_part(written, packet, first, min(first + header.gso_size, size))[10:])
        l4 = packet.l4 - 10
        struct.pack_into(">H", part, l4 + 16, ~ones(bytes(part[l4:])) & 0xFFFF)  # it had the pseudo-header's sum
        segments.append(bytes(part))
    return segments


def broken(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]


@given(
    sizes=st.lists(st.sampled_from([MSS, MSS, MSS, 1, MSS - 1, MSS + 1, 0]), min_size=1, max_size=12),
    addresses=ADDRESSES, seq=st.sampled_from([1, 2**32 - 150]), ident=st.sampled_from([1, 65534]),
    headers=st.booleans(), stamps=st.booleans(),
    odd=st.lists(st.tuples(st.integers(0, 11), st.sampled_from(
        ["push", "fin", "broken", "twice", "lost", "other", "padded", "ack", "urgent"])), max_size=3),
)  # fmt: skip
def test_what_is_merged_is_cut_into_the_very_same_frames(
    device: Device, sizes: list[int], addresses: dict[str, str], seq: int, ident: int, headers: bool, stamps: bool,
    odd: list[tuple[int, str]],
) -> None:  # fmt: skip
    options = timestamp(3, 4) if stamps else b""
    frames = stream(sizes, addresses, seq, ident, options=options)
    others = {
        "push": stream(sizes, addresses, seq, ident, options=options, flags=ACK | PSH),
        "fin": stream(sizes, addresses, seq, ident, options=options, flags=ACK | FIN),
        "ack": stream(sizes, addresses, seq, ident, options=options, ack=6),
        "other": stream(sizes, addresses, seq, ident, options=options, sport=99),
        "urgent": stream(sizes, addresses, seq, ident, options=options, pad=4),
    }
    for at, what in odd:
        at %= len(frames)
        if what in others:
            frames[at] = others[what][at % len(sizes)]
        elif what == "broken":
            frames[at] = broken(frames[at], len(frames[at]) - 1 - at)
        elif what == "twice":
            frames.insert(at, frames[at])
        elif what == "padded":
            frames[at] += b"\0\0"
        elif len(frames) > 1:
            del frames[at]
    sent = batch(*[EMPTY + frame if headers else frame for frame in frames], vnet=10 if headers else 0)
    assert [frame for written in device.write(sent) for frame in cut_again(written)] == frames


@given(addresses=ADDRESSES, count=st.integers(2, 30), last=st.integers(1, MSS), push=st.booleans())
def test_whole_segments_in_a_row_are_one_write(
    device: Device, addresses: dict[str, str], count: int, last: int, push: bool
) -> None:
    frames = stream([MSS] * (count - 1) + [last], addresses)
    if push:
        frames[-1] = stream([MSS] * (count - 1) + [last], addresses, flags=ACK | PSH)[-1]
    (written,) = device.write(batch(*frames))
    assert cut_again(written) == frames


def test_a_merged_packet_is_no_larger_than_ip_allows(device: Device) -> None:
    frames = stream([1448] * 60, {})
    written = device.write(batch(*frames))
    assert len(written) == 2
    assert max(map(len, written)) <= 10 + 14 + 65535
    assert [frame for each in written for frame in cut_again(each)] == frames


@pytest.mark.parametrize("at", [24, 34 + 17, 60])
def test_a_frame_with_a_wrong_checksum_stays_wrong(device: Device, at: int) -> None:
    frames = stream([MSS] * 4, {})
    frames[2] = broken(frames[2], at)
    written = device.write(batch(*frames))
    assert len(written) == 3
    assert EMPTY + frames[2] in written


def test_a_frame_that_leaves_work_to_its_receiver_stands_alone(device: Device) -> None:
    frames = stream([MSS] * 3, {}, vnet=10, gso=50)
    assert device.write(batch(*frames, vnet=10)) == frames


def test_two_connections_are_not_mixed(device: Device) -> None:
    one, two = stream([MSS] * 2, {}), stream([MSS] * 2, {}, sport=99)
    assert len(device.write(batch(*one, *two))) == 2
    assert len(device.write(batch(one[0], two[0], one[1], two[1]))) == 4


def test_single_frames_of_one_buffer_are_merged_too(device: Device) -> None:
    frames = stream([MSS] * 4, {})
    sent = batch(*frames)
    outputs = [(sent.buf, sent.index[3 * n], sent.index[3 * n + 1], 0, None) for n in range(3)]
    done, size, why = Writer().outputs(device._to.fileno(), [*outputs, (frames[3], 0, len(frames[3]), 0, None)], 0)
    merged, alone = device._written()
    assert (done, size, why) == (4, sum(map(len, frames)) + 40, 0)
    assert cut_again(merged) + cut_again(alone) == frames


def test_a_header_of_another_length_stops_the_write(device: Device) -> None:
    one, two = tcp(b"one", vnet=10), tcp(b"two", vnet=12)
    sent = batch(one, vnet=10)
    sent.buf += two
    sent.add(len(sent.buf) - len(two), len(sent.buf), 12)
    assert Writer().batch(device._to.fileno(), sent.buf, sent.index, 0, 2) == (1, len(one), OTHER_HEADER)
    list(device._written())


def test_nothing_outside_its_buffer_is_written(device: Device) -> None:
    frames = Frames(bytearray(100))
    frames.add(0, 101, 0)
    with pytest.raises(ValueError, match="outside"):
        Writer().batch(device._to.fileno(), frames.buf, frames.index, 0, 1)
    with pytest.raises(ValueError, match="outside"):
        Writer().outputs(device._to.fileno(), [(frames.buf, 0, 101, 0, None)], 0)
