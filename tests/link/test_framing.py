"""Frames are found at any split of the stream, and put together again on the way out."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.link.arena import Pool
from coloproxy.link.framing import BATCH, MAX_FRAME, Batch, Packer, boundary
from support.wire import framed, unframed

FRAMES = st.lists(st.tuples(st.binary(min_size=1, max_size=80), st.integers(0, 2**32 - 1)), max_size=20)


def scan(batch: Batch, data: bytes) -> tuple[list[tuple[bytes, int]], bytes]:
    """All frames of a piece of a stream, with their second words, and what is left."""
    batch.buf = bytearray(data)
    found, at = [], 0
    while True:
        at = batch.scan(at, len(data))
        cells = batch.index[: 3 * batch.count]
        found += [(data[a:b], h) for a, b, h in zip(cells[::3], cells[1::3], cells[2::3])]
        if batch.count < BATCH:
            return found, data[at:]


@given(FRAMES, st.booleans(), st.lists(st.integers(0, 4000), max_size=12))
def test_frames_come_out_whole_wherever_the_stream_is_cut(
    frames: list[tuple[bytes, int]], vnet_hdr: bool, cuts: list[int]
) -> None:
    stream = b"".join(framed(frame, word if vnet_hdr else None) for frame, word in frames)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    batch, half, found = Batch(vnet_hdr), b"", []
    for begin, end in pairwise(places):
        some, half = scan(batch, half + stream[begin:end])
        assert batch.refused == -1
        found += some
    assert half == b""
    assert found == [(frame, word if vnet_hdr else 0) for frame, word in frames]


@pytest.mark.parametrize("size", [1, 2, MAX_FRAME - 1, MAX_FRAME])
@pytest.mark.parametrize("vnet_hdr", [False, True])
def test_lengths_from_1_to_69632_are_taken(size: int, vnet_hdr: bool) -> None:
    batch = Batch(vnet_hdr)
    assert scan(batch, framed(bytes(size), 0 if vnet_hdr else None)) == ([(bytes(size), 0)], b"")
    assert batch.refused == -1


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("vnet_hdr", [False, True])
def test_any_other_length_is_refused_behind_the_frames_in_front_of_it(length: int, vnet_hdr: bool) -> None:
    batch = Batch(vnet_hdr)
    good = framed(b"good", 0 if vnet_hdr else None)
    found, left = scan(batch, good + struct.pack(">I", length) + b"and more")
    assert (found, batch.refused) == ([(b"good", 0)], length)
    assert left.startswith(struct.pack(">I", length))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_cut_as_the_definition_says(data: bytes, vnet_hdr: bool) -> None:
    batch, expected, rest = Batch(vnet_hdr), [], data
    while len(rest) >= 4 and 1 <= (size := struct.unpack_from(">I", rest)[0]) <= MAX_FRAME:
        some, after = unframed(rest[: size + (8 if vnet_hdr else 4)], vnet_hdr)
        if not some:
            break
        expected += some
        rest = rest[size + (8 if vnet_hdr else 4) :]
        assert after == b""
    found, left = scan(batch, data)
    assert ([frame for frame, _ in found], left) == (expected, rest)
    refused = len(rest) >= 4 and not 1 <= struct.unpack_from(">I", rest)[0] <= MAX_FRAME
    assert batch.refused == (struct.unpack_from(">I", rest)[0] if refused else -1)


def test_more_frames_than_fit_one_batch_are_found_in_several() -> None:
    stream = framed(b"x") * (2 * BATCH + 5)
    found, left = scan(Batch(False), stream)
    assert (len(found), left) == (2 * BATCH + 5, b"")


@pytest.mark.parametrize(("at", "tail"), [(-1, 4), (5, 4), (0, 9), (9, 9)])
def test_a_range_outside_the_buffer_is_an_error(at: int, tail: int) -> None:
    batch = Batch(False)
    batch.buf = bytearray(8)
    with pytest.raises(ValueError, match="outside"):
        batch.scan(at, tail)


# The way out

KINDS = st.lists(
    st.tuples(
        st.sampled_from(["framed", "bare", "bytes", "long"]),
        st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4),
    ),
    max_size=30,
)  # fmt: skip


@given(KINDS, st.booleans(), st.booleans())
def test_what_is_released_leaves_in_order_and_in_frames(
    kinds: list[tuple[str, list[bytes]]], vnet_hdr: bool, keep: bool
) -> None:
    outputs: list[tuple[object, ...]] = []
    expected = b""
    word = 12 if vnet_hdr else None
    for kind, frames in kinds:
        if kind in ("bare", "bytes"):
            for frame in frames:
                buf = bytearray(b"??" + frame + b"?") if kind == "bare" else b"??" + frame + b"?"
                outputs.append((buf, 2, 2 + len(frame), 12, None))
                expected += framed(frame, word)
        else:
            data = b"".join(framed(frame * (200 if kind == "long" else 1), word) for frame in frames)
            outputs.append((bytearray(b"?" + data), 1, 1 + len(data), -1, "lease"))
            expected += data
    pool = Pool(80_000)
    packer, pieces = Packer(vnet_hdr, pool.take), []  # type: ignore[var-annotated]
    packer.pack(outputs, pieces, keep)
    assert b"".join(piece for piece, _ in pieces) == expected
    assert packer.size == len(expected)
    for piece, _ in pieces:
        assert unframed(bytes(piece), vnet_hdr)[1] == b"", "a piece ends within a frame"
    if not keep:
        assert all(lease != "lease" for _, lease in pieces)


def test_a_copied_range_longer_than_a_buffer_is_parted_between_frames() -> None:
    data = b"".join(framed(bytes([n]) * 3000) for n in range(100))
    packer, pieces = Packer(False, Pool(80_000).take), []  # type: ignore[var-annotated]
    packer.pack([(bytearray(data), 0, len(data), -1, None)], pieces, False)
    assert b"".join(piece for piece, _ in pieces) == data
    assert len(pieces) > 3
    assert all(unframed(bytes(piece))[1] == b"" for piece, _ in pieces)


def test_ranges_outside_their_buffer_and_frames_that_are_too_long_are_errors() -> None:
    packer = Packer(False, Pool(80_000).take)
    for output in [(b"abc", 0, 4, 0, None), (b"abc", 2, 2, 0, None), (b"abc", -1, 2, -1, None)]:
        with pytest.raises(ValueError, match="outside"):
            packer.pack([output], [], True)
    with pytest.raises(ValueError, match="longer"):
        packer.pack([(bytes(MAX_FRAME + 1), 0, MAX_FRAME + 1, 0, None)], [], True)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8), st.booleans(), st.data())
def test_the_frame_a_byte_belongs_to_is_found(frames: list[bytes], vnet_hdr: bool, data: st.DataObject) -> None:
    stream, starts = b"", []
    for frame in frames:
        starts.append(len(stream))
        stream += framed(frame, 0 if vnet_hdr else None)
    offset = data.draw(st.integers(0, len(stream) - 1))
    assert boundary(memoryview(stream), offset, 8 if vnet_hdr else 4) == max(s for s in starts if s <= offset)
