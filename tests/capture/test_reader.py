"""A capture from a file: what it is, whether it is compressed, and what is said when it cannot be read."""

import gzip
import io
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.capture import Capture, CaptureError, Record, to_ethernet
from coloproxy.capture.linktype import NAMES
from support.captures import Shot, enhanced, interface, old, option, pcap, section, simple

SHOTS = [Shot(n * 1_000, bytes([n]) * n) for n in range(50)]
PCAP = pcap(SHOTS)
PCAPNG = section() + interface(options=option(2, b"eth0")) + enhanced(1, b"one", options=option(1, b"hm"))
PCAPNG += simple(b"two") + section(">") + interface(order=">") + old(3, b"three", order=">")


class Drops:
    """A file that hands out a few bytes at a time, and fails when it is told to."""

    def __init__(self, data: bytes, size: int, fail_after: int | None = None) -> None:
        self.data, self.size, self.left = io.BytesIO(data), size, fail_after

    def read(self, size: int) -> bytes:
        if self.left is not None:
            if self.left <= 0:
                raise OSError(5, "Input/output error")
            size = min(size, self.left)
        data = self.data.read(min(size, self.size))
        if self.left is not None:
            self.left -= len(data)
        return data


def data_of(capture: Capture) -> list[bytes]:
    return [record.data for record in capture]


def test_a_path_is_opened_read_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(PCAP)
    with Capture(path) as capture:
        assert capture.format == "pcap"
        assert not capture.compressed
        assert capture.size == len(PCAP)
        assert data_of(capture) == [shot.data for shot in SHOTS]
        assert capture.read == len(SHOTS)
        assert capture.position == len(PCAP)
        assert capture.problem is None
    descriptors = Path("/proc/self/fd").iterdir()
    assert path not in [entry.readlink() for entry in descriptors if entry.is_symlink()]


def test_a_file_object_is_read_and_left_open() -> None:
    file = io.BytesIO(PCAPNG)
    with Capture(file) as capture:
        assert capture.format == "pcapng"
        assert capture.size is None
        assert data_of(capture) == [b"one", b"two", b"three"]
    assert not file.closed


def test_gzip_is_recognised_by_its_content_and_may_have_several_members(tmp_path: Path) -> None:
    path = tmp_path / "named-like-nothing"
    path.write_bytes(gzip.compress(PCAP[:200]) + gzip.compress(PCAP[200:]) + bytes(5))
    with Capture(path) as capture:
        assert capture.compressed
        assert data_of(capture) == [shot.data for shot in SHOTS]
        assert capture.problem is None


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("data", [PCAP, PCAPNG, gzip.compress(PCAP)])
def test_a_pipe_that_drips_is_read_whole(data: bytes, size: int) -> None:
    capture = Capture(Drops(data, size), name="pipe")
    whole = [record.data for record in Capture(io.BytesIO(data))]
    assert data_of(capture) == whole
    assert capture.problem is None


def test_gzip_cut_short_gives_what_was_there_and_says_so() -> None:
    packed = gzip.compress(pcap([Shot(n, os.urandom(100)) for n in range(100)]))
    capture = Capture(io.BytesIO(packed[:5000]))
    assert 30 < len(data_of(capture)) < 60
    assert capture.problem is not None
    assert capture.problem.startswith("the gzip compression ends too early, after 5000 bytes of the file, at byte ")
    assert capture.problem.endswith(" of the uncompressed capture")


def test_gzip_that_is_corrupt_gives_what_was_there_and_says_so() -> None:
    packed = bytearray(gzip.compress(PCAP))
    packed[-8] ^= 1  # its checksum
    capture = Capture(io.BytesIO(bytes(packed)))
    assert data_of(capture) == [shot.data for shot in SHOTS][:-1]  # zlib keeps the last byte back
    assert "the gzip compression is corrupt before byte" in str(capture.problem)


def test_a_disk_that_fails_gives_what_was_there_and_says_so() -> None:
    capture = Capture(Drops(PCAP, 1 << 20, fail_after=300), name="disk")
    assert 0 < len(data_of(capture)) < len(SHOTS)
    assert "reading failed after 300 bytes (Input/output error)" in str(capture.problem)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\x1f\x8b", "the gzip compression ends too early, after 2 bytes of the file"),
        (b"\x1f\x8bnonsense", "the gzip compression is corrupt before byte 10 of the file"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (b"GIF89a", "it begins with 47 49 46 38, which is neither pcap nor pcapng"),
        (b"x", "it begins with 78, which is neither pcap nor pcapng"),
        (PCAP[:20], "it ends within the pcap header, after 20 bytes"),
        (PCAPNG[:20], "it ends within the pcapng section header, after 20 bytes"),
        (PCAPNG[:8] + bytes(40), "it begins like a pcapng capture but has no byte-order mark"),
    ],
)
def test_what_is_no_capture_is_refused_at_once_in_one_sentence(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(CaptureError) as error:
        Capture(path)
    assert str(error.value).startswith(f"capture {path}: {why}")
    assert str(error.value).endswith("; name a pcap or pcapng file, gzip or not.")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_opened_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(CaptureError) as error:
            Capture(path)
        assert str(error.value) == f"capture {path}: {why}; name a readable pcap or pcapng file."
    with pytest.raises(CaptureError, match="null"):
        Capture("a\0b")


@given(st.sampled_from([PCAP, PCAPNG, gzip.compress(PCAP), gzip.compress(PCAPNG)]), st.data())
def test_corruption_raises_nothing_but_a_capture_error_at_opening(data: bytes, draw: st.DataObject) -> None:
    bad = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 6))):
        bad[draw.draw(st.integers(0, len(bad) - 1))] = draw.draw(st.integers(0, 255))
    try:
        capture = Capture(io.BytesIO(bytes(bad)))
    except CaptureError:
        return
    for record in capture:
        assert isinstance(record, Record)
        to_ethernet(record)
    assert capture.problem is None or "\n" not in capture.problem


@given(st.binary(max_size=200))
def test_any_bytes_are_a_capture_or_refused(data: bytes) -> None:
    for head in (b"", PCAP[:4], PCAP[:24], PCAPNG[:4], PCAPNG[:28], gzip.compress(PCAP)[:10]):
        try:
            capture = Capture(io.BytesIO(head + data))
        except CaptureError:
            continue
        list(capture)


def test_a_block_that_claims_much_takes_no_more_memory_than_there_is_file() -> None:
    claims = section() + interface() + b"\x06\0\0\0" + ((1 << 24) - 4).to_bytes(4, "little")
    capture = Capture(io.BytesIO(claims + bytes(1000)))
    assert data_of(capture) == []
    assert capture.problem == "the capture is cut short within a block, at byte 48 of the file"


def test_a_zip_bomb_is_read_a_block_at_a_time() -> None:
    packer = zlib.compressobj(wbits=31)
    record = (0).to_bytes(8) + (200_000).to_bytes(4, "little") * 2 + bytes(200_000)
    packed = packer.compress(pcap([])) + b"".join(packer.compress(record) for _ in range(500)) + packer.flush()
    capture = Capture(io.BytesIO(packed))
    assert max(sum(len(r.data) for r in batch) for batch in capture.batches()) < 1 << 20
    assert capture.read == 500


def test_every_real_capture_is_read_whole(captures: Path) -> None:
    paths = sorted(captures.glob("*.pcap*"))
    assert paths
    for path in paths:
        with Capture(path) as capture:
            found = list(capture)
        assert found, path.name
        assert capture.problem is None, path.name
        assert all(record.linktype in NAMES for record in found)
        assert all(0 < record.time_ns < 2**61 for record in found)


def test_every_real_capture_cut_anywhere_gives_its_beginning(captures: Path) -> None:
    for path in sorted(captures.glob("*.pcap*")):
        data = path.read_bytes()[:50_000]
        whole = list(Capture(io.BytesIO(data)))
        for size in range(30, len(data), 997):
            found = list(Capture(io.BytesIO(data[:size])))
            assert found == whole[: len(found)]
