"""A stream cut anew carries the same bytes, in segments whose lengths and checksums are right."""

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.errors import ColoproxyError
from coloproxy.packet.parse import parse
from demo import stream
from support import frames

ISN = 2**32 - 700  # the numbers wrap within the stream


def captured(pieces: list[bytes], fin_alone: bool = False) -> list[bytes]:
    """A server's frames: SYN-ACK, an ACK, the pieces (an empty one: a pure ACK), FIN, and the last ACK."""
    found = [frames.tcp(seq=ISN, ack=1, flags=frames.SYN | frames.ACK), frames.tcp(seq=ISN + 1, ack=9)]
    place = 1
    for index, piece in enumerate(pieces):
        fin = frames.FIN if index == len(pieces) - 1 and not fin_alone else 0
        found.append(frames.tcp(piece, seq=ISN + place, ack=9 + index, flags=frames.ACK | fin))
        place += len(piece)
    if fin_alone:
        found.append(frames.tcp(seq=ISN + place, ack=9 + len(pieces), flags=frames.ACK | frames.FIN))
    found.append(frames.tcp(seq=ISN + place + 1, ack=10 + len(pieces), flags=frames.ACK))
    return found


def loaded(folder: Path, raw: list[bytes]) -> list[stream.Segment]:
    file = folder / "capture"
    file.write_bytes(b"".join(struct.pack(">I", len(frame)) + frame for frame in raw))
    return stream.read(file)


def assert_sums_are_right(frame: bytes) -> None:
    """By the tests' own arithmetic: IPv4 header and TCP segment sum to all ones, the total length is the frame's."""
    total = struct.unpack_from(">H", frame, 16)[0]
    assert total == len(frame) - 14
    assert frames.ones(frame[14:34]) == 0xFFFF
    pseudo = frame[26:34] + struct.pack(">HH", 6, total - 20)
    assert frames.ones(pseudo + frame[34:]) == 0xFFFF


PIECES = st.lists(st.binary(max_size=300), min_size=1, max_size=30).filter(lambda pieces: any(pieces) and pieces[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures")


@given(PIECES, st.booleans(), st.integers(0, 2**32))
def test_a_stream_cut_anew_is_the_same_stream(folder: Path, pieces: list[bytes], fin_alone: bool, seed: int) -> None:
    primary = loaded(folder, captured(pieces, fin_alone))
    cut = stream.recut(primary, random.Random(seed))
    place = -1
    for segment in cut:
        packet = parse(segment.frame, 0, len(segment.frame))
        assert_sums_are_right(segment.frame)
        assert segment.begin == place
        assert packet.seq == (ISN + 1 + place) & 0xFFFFFFFF
        assert packet.ack <= 10 + len(pieces)
        place = segment.end
    assert place == len(b"".join(pieces)) + 1
    assert b"".join(segment.data for segment in cut) == b"".join(pieces)
    assert [segment.fin for segment in cut].count(True) == 1
    acks = [segment.packet.ack for segment in cut]
    assert acks == sorted(acks)
    assert acks[-1] == 10 + len(pieces)


@given(PIECES, st.data())
def test_one_byte_changed_is_all_that_changes(folder: Path, pieces: list[bytes], data: st.DataObject) -> None:
    primary = loaded(folder, captured(pieces))
    before = b"".join(pieces)
    place = data.draw(st.integers(0, len(before) - 1))
    value = data.draw(st.integers(0, 255))
    after = stream.changed(primary, place, value)
    assert stream.stream(after) == before[:place] + bytes([value]) + before[place + 1 :]
    assert [segment[2:] for segment in after] == [segment[2:] for segment in primary]
    assert sum(new.frame != old.frame for new, old in zip(after, primary, strict=True)) == (value != before[place])
    for segment in after:
        assert_sums_are_right(segment.frame)


def test_the_boundaries_lie_elsewhere(tmp_path: Path) -> None:
    primary = loaded(tmp_path, captured([bytes(1000)] * 200))
    cut = stream.recut(primary, random.Random(1))
    common = {segment.end for segment in cut} & {segment.end for segment in primary}
    assert len(common) < 10
    assert len(cut) > 250


def test_checksums_left_to_a_card_are_set(tmp_path: Path) -> None:
    raw = [bytearray(frame) for frame in captured([b"some", b"bytes"])]
    for frame in raw:
        frame[50:52] = b"\x12\x34"
    primary = loaded(tmp_path, [bytes(frame) for frame in raw])
    assert [segment.frame for segment in primary] == captured([b"some", b"bytes"])


def test_a_retransmission_is_left_out(tmp_path: Path) -> None:
    raw = captured([b"one", b"two", b"three"])
    again = [*raw[:4], raw[2], raw[3], *raw[4:], raw[-2], raw[-1]]
    assert [segment.frame for segment in loaded(tmp_path, again)] == [*raw, raw[-1]]


@pytest.mark.parametrize(("missing", "sentence"), [(0, "the beginning"), (3, "the bytes 3 to 6 were not captured")])
def test_a_capture_with_a_gap_is_an_error(tmp_path: Path, missing: int, sentence: str) -> None:
    raw = captured([b"one", b"two", b"three"])
    del raw[missing]
    with pytest.raises(ColoproxyError, match=sentence):
        stream.stream(loaded(tmp_path, raw))
