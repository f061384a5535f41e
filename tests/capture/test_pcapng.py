"""pcapng: sections, interfaces, the three packet blocks, options; what is ignored, and what is corruption."""

import io
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.capture import Capture, CaptureError, PcapngWriter, Record
from support.captures import block, enhanced, interface, old, option, section, simple

ORDERS = ["<", ">"]
TIME = 1_700_000_000_123_456_789
COMMENT, NAME, RESOLUTION, OFFSET = 1, 2, 9, 14


def read(data: bytes) -> tuple[list[Record], str | None]:
    capture = Capture(io.BytesIO(data))
    return list(capture), capture.problem


@pytest.mark.parametrize("order", ORDERS)
def test_all_three_packet_blocks_are_read_in_either_byte_order(order: str) -> None:
    data = section(order) + interface(113, order=order)
    data += enhanced(TIME // 1000, b"one", order=order)
    data += old(TIME // 1000, b"three", original=90, order=order)
    data += simple(b"twoo", order=order)
    micro = TIME // 1000 * 1000
    assert read(data) == (
        [
            Record(micro, 113, b"one", 3, None, "0"),
            Record(micro, 113, b"three", 90, None, "0"),
            Record(0, 113, b"twoo", 4, None, "0"),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("value", "ticks", "time_ns"),
    [
        (b"", 5, 5_000),
        (b"\x09", TIME, TIME),
        (b"\x03", 7, 7_000_000),
        (b"\x00", 7, 7_000_000_000),
        (b"\x0c", 1_999, 1),  # picoseconds are rounded down
        (b"\x8a", 1024 + 512, 1_500_000_000),
        (b"\xff", 2**63, 0),
        (b"\x7f", 2**63, 0),
    ],
)
def test_the_resolution_is_a_power_of_ten_or_of_two(value: bytes, ticks: int, time_ns: int) -> None:
    options = option(RESOLUTION, value) if value else b""
    found, problem = read(section() + interface(options=options) + enhanced(ticks, b"x"))
    assert problem is None
    assert found[0].time_ns == time_ns


@pytest.mark.parametrize("order", ORDERS)
def test_the_offset_is_added_in_seconds(order: str) -> None:
    options = option(OFFSET, struct.pack(order + "q", -100), order)
    found, _ = read(section(order) + interface(options=options, order=order) + enhanced(5, b"x", order=order))
    assert found[0].time_ns == 5_000 - 100 * 10**9


def test_names_numbers_and_comments_are_told() -> None:
    comments = option(COMMENT, "Grüße".encode()) + option(77, b"?") + option(COMMENT, b"again\0") + option(0, b"")
    data = section() + interface(options=option(NAME, b"eth0") + option(0, b"") + b"junk") + interface()
    data += enhanced(1, b"a", 1) + enhanced(2, b"bb", 0, options=comments)
    found, problem = read(data)
    assert problem is None
    assert [(r.interface, r.comment) for r in found] == [("1", None), ("eth0", "Grüße\nagain")]


def test_every_section_has_its_own_byte_order_and_interfaces() -> None:
    data = section("<") + interface(1) + enhanced(1, b"a")
    data += section(">") + interface(101, order=">") + enhanced(2, b"b", order=">")
    found, problem = read(data)
    assert problem is None
    assert [(r.linktype, r.time_ns, r.data) for r in found] == [(1, 1000, b"a"), (101, 2000, b"b")]
    found, problem = read(section() + interface() + section() + enhanced(1, b"a"))
    assert (found, problem) == ([], "a packet is of interface 0, which is not described, at byte 76 of the file")


def test_what_is_no_packet_is_ignored() -> None:
    others = [4, 5, 10, 0xBAD, 0x40000BAD, 0x80000001]
    data = section() + interface() + b"".join(block(kind, b"whatever") for kind in others) + enhanced(1, b"a")
    found, problem = read(data)
    assert (len(found), problem) == (1, None)


def test_a_snapshot_length_cuts_simple_packets() -> None:
    found, problem = read(section() + interface(snaplen=4) + simple(b"abcd", original=100))
    assert problem is None
    assert (found[0].data, found[0].original_length, found[0].cut) == (b"abcd", 100, True)


BROKEN = {
    "a block's two lengths differ": block(6, bytes(24))[:-4] + bytes(4),
    "a block claims 8 bytes": struct.pack("<II", 6, 8),
    "a block claims 30 bytes": struct.pack("<II", 6, 30) + bytes(30),
    "a block claims 2147483648 bytes": struct.pack("<II", 6, 1 << 31),
    "a packet claims 3 bytes, more than its block has": block(6, struct.pack("<IIIII", 0, 0, 0, 3, 3)),
    "a packet claims 9 bytes, more than its block has": simple(b"abcd", original=9),
    "a packet is of interface 7, which is not described": enhanced(1, b"x", 7),
    "a block is shorter than its kind": block(6, bytes(16)),
    "an option is longer than its block": enhanced(1, b"x", options=struct.pack("<HH", 1, 99)),
    "a section has no byte-order mark": block(0x0A0D0D0A, bytes(16)),
    "a section is of pcapng version 2.0, which is not known (1.0 is)": section(version=(2, 0)),
    "the capture is cut short within a section's header": section()[:20],
    "the capture is cut short within a block": enhanced(1, b"x")[:-1],
}


@pytest.mark.parametrize("why", BROKEN)
def test_corruption_ends_the_reading_and_is_said_with_its_place(why: str) -> None:
    good = section() + interface() + enhanced(1, b"good")
    behind = b"" if why.startswith("the capture is cut") else enhanced(2, b"behind")
    found, problem = read(good + BROKEN[why] + behind)
    assert [r.data for r in found] == [b"good"]
    assert problem == f"{why}, at byte {len(good)} of the file"


@pytest.mark.parametrize("order", ORDERS)
def test_a_capture_cut_anywhere_gives_what_is_before_the_cut_and_says_so(order: str) -> None:
    blocks = [section(order), interface(order=order), enhanced(1, b"abc", order=order), simple(b"defgh", order=order)]
    blocks += [section(order), interface(order=order), old(2, b"", order=order)]
    ends = [sum(map(len, blocks[: n + 1])) for n in range(len(blocks))]
    packets = [ends[n] for n in (2, 3, 6)]
    whole = b"".join(blocks)
    for size in range(len(whole)):
        if size < len(blocks[0]):
            with pytest.raises(CaptureError):
                read(whole[:size])
            continue
        found, problem = read(whole[:size])
        assert len(found) == sum(end <= size for end in packets)
        assert (problem is None) == (size in ends)
        if problem is not None:
            assert problem.endswith(f"at byte {max(end for end in ends if end <= size)} of the file")


FRAMES = st.lists(
    st.tuples(
        st.binary(max_size=70),
        st.integers(0, 2**64 - 1),
        st.none() | st.text(min_size=1, max_size=30).filter(lambda text: not text.endswith("\0")),
        st.sampled_from(["primary", "secondary", "größer"]),
        st.sampled_from([1, 113, 101]),
        st.integers(0, 2000),
    ),
    max_size=20,
)


@given(FRAMES)
def test_what_the_writer_wrote_the_reader_reads(frames: list[tuple[bytes, int, str | None, str, int, int]]) -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    expected = []
    for data, time_ns, comment, name, linktype, more in frames:
        size = len(data) + more
        writer.write(data, time_ns, comment=comment, interface=name, linktype=linktype, original_length=size)
        expected.append(Record(time_ns, linktype, data, size, comment, name))
    assert read(file.getvalue()) == (expected, None)


def test_times_and_comments_that_do_not_fit_are_cut_to_what_does() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.write(b"a", -5, comment="ä" * 40000, interface="i")
    writer.write(b"b", 2**70)
    (first, second), problem = read(file.getvalue())
    assert problem is None
    assert (first.time_ns, second.time_ns) == (0, 2**64 - 1)
    assert first.comment == "ä" * 32767


@pytest.mark.witness
def test_tshark_reads_what_the_writer_wrote(tmp_path: Path, tshark: str) -> None:
    path = tmp_path / "written.pcapng"
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    with open(path, "wb") as file:
        writer = PcapngWriter(file)
        writer.write(frame, TIME, comment="tcp_payload: Grüße", interface="primary")
        writer.write(frame[:40], TIME + 1, interface="secondary", original_length=60)
        writer.write(b"\x45\0\0\x14" + bytes(16), TIME + 2, interface="raw", linktype=101)
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for name in ("time_epoch", "interface_name", "comment", "cap_len", "len", "encap_type"):
        command += ["-e", f"frame.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "1700000000.123456789|primary|tcp_payload: Grüße|60|60|1",
        "1700000000.123456790|secondary||40|60|1",
        "1700000000.123456791|raw||20|20|7",
    ]
