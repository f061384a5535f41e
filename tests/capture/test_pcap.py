"""Classic captures: every byte order, resolution and header that is in use, and what is wrong with a capture."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.capture import Capture, CaptureError, PcapWriter, Record
from support.captures import Shot, pcap

ORDERS = ["<", ">"]
TIME = 1_700_000_000_123_456_789
SHOTS = [Shot(TIME, b"first"), Shot(TIME + 1_000, b""), Shot(TIME + 2_000_000_000, b"cut", 1500)]

records = st.lists(
    st.tuples(st.integers(0, (2**32 - 1) * 10**9 + 999_999_999), st.binary(max_size=80), st.integers(0, 2000)),
    max_size=20,
)


def read(data: bytes) -> tuple[list[Record], str | None]:
    capture = Capture(io.BytesIO(data))
    return list(capture), capture.problem


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("nanoseconds", "modified"), [(False, False), (True, False), (False, True)])
def test_every_byte_order_resolution_and_header_is_read(order: str, nanoseconds: bool, modified: bool) -> None:
    tick = 1 if nanoseconds else 1000
    found, problem = read(pcap(SHOTS, order, nanoseconds, modified, linktype=113))
    assert problem is None
    assert found == [
        Record(time // tick * tick, 113, data, len(data) if original is None else original)
        for time, data, original in SHOTS
    ]
    assert [record.cut for record in found] == [False, False, True]


def test_bits_that_describe_a_frame_check_sequence_are_no_part_of_the_link_type() -> None:
    found, _ = read(pcap([SHOTS[0]], linktype=0x14000001))
    assert found[0].linktype == 1


def test_a_capture_without_records_is_a_capture() -> None:
    assert read(pcap([])) == ([], None)


@pytest.mark.parametrize("order", ORDERS)
def test_a_capture_cut_anywhere_gives_what_is_before_the_cut_and_says_so(order: str) -> None:
    whole = pcap(SHOTS, order)
    ends = {24, *(24 + sum(16 + len(shot.data) for shot in SHOTS[: n + 1]) for n in range(len(SHOTS)))}
    for size in range(len(whole)):
        if size < 24:
            with pytest.raises(CaptureError, match=r"^capture .*: .+; name a pcap or pcapng file"):
                read(whole[:size])
            continue
        found, problem = read(whole[:size])
        assert len(found) == sum(1 for end in sorted(ends)[1:] if end <= size)
        assert (problem is None) == (size in ends), size
        if problem:
            place = max(end for end in ends if end <= size)
            assert problem == f"the capture is cut short within a record, at byte {place} of the file"


def test_a_record_longer_than_any_is_corruption_and_said_where() -> None:
    bad = bytearray(pcap(SHOTS))
    bad[24 + 16 + 5 + 8 : 24 + 16 + 5 + 12] = (1 << 30).to_bytes(4, "little")
    found, problem = read(bytes(bad))
    assert [record.data for record in found] == [b"first"]
    assert problem == "a record claims 1073741824 bytes, at byte 45 of the file"


def test_another_version_is_refused_with_advice() -> None:
    with pytest.raises(CaptureError, match=r"pcap version 3.4 is not known \(2.4 is\); convert it with editcap"):
        read(pcap([], version=(3, 4)))


@given(records)
def test_what_the_writer_wrote_the_reader_reads(shots: list[tuple[int, bytes, int]]) -> None:
    file = io.BytesIO()
    writer = PcapWriter(file, linktype=101)
    for time_ns, data, more in shots:
        writer.write(data, time_ns, len(data) + more)
    assert read(file.getvalue()) == ([Record(time, 101, data, len(data) + more) for time, data, more in shots], None)


def test_a_capture_of_many_blocks_is_read_in_batches_with_every_record_in_place() -> None:
    shots = [Shot(n * 1000, n.to_bytes(4) * (n % 300)) for n in range(2000)]
    data = pcap(shots)
    assert len(data) > 1 << 20
    capture = Capture(io.BytesIO(data))
    batches = list(capture.batches())
    assert len(batches) > 3
    assert [(r.time_ns, r.data) for batch in batches for r in batch] == [(s.time_ns, s.data) for s in shots]
    assert capture.read == len(shots)
