"""The promise about streams: no cut makes a divergence, and every differing byte makes one, at its place."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy import Comparator, Config, Side
from coloproxy.capture import Capture, to_ethernet
from coloproxy.compare.events import Divergence
from coloproxy.packet.parse import Kind, Malformed, parse
from support import frames
from support.play import adds_up
from support.recut import Habits, changed, first_difference, interleave, recut, segment

ANY = Habits()
RUNS = int(os.environ.get("COLOPROXY_RUNS", "400"))
WRAPS = (0, 1, 0xFFFFFFFF, 0xFFFFFFF0, 0xFFFFFC00, 0x7FFFFFFF, 0x80000000)


def isns(rng: random.Random) -> int:
    """Initial numbers: half of them so that the stream runs over 2**32 or 2**31."""
    return (rng.choice(WRAPS) - rng.randrange(600)) & 0xFFFFFFFF if rng.random() < 0.5 else rng.getrandbits(32)


def run(
    rng: random.Random, first: bytes, second: bytes, *, habits: Habits = ANY, general: bool = False,
    relative: bool = False, syn: bool = True,
) -> tuple[Comparator, list[bytes], list[Divergence]]:  # fmt: skip
    """Feed two streams as the two replicas' sides of one connection; what left, and what diverged."""
    c = Comparator(Config(isn="relative" if relative else "shared"), now=0.0)
    if general:
        c.use_general_path()
    isn = isns(rng)
    isn2 = isns(rng) if relative else isn
    sides = []
    for number, stream in ((isn, first), (isn2, second)):
        begin = frames.tcp(seq=number, ack=1, flags=frames.SYN | frames.ACK, options=frames.syn_options())
        pieces = [segment(piece, number) for piece in recut(rng, stream, habits)]
        sides.append(([begin] if syn else []) + pieces)
    out, divergences = [], []
    for side, frame in interleave(rng, *sides):
        c.receive(Side(side), frame, 0.0)
    for buf, start, end, _, _ in c.take_output():
        out.append(bytes(buf[start:end]))
    divergences = [event for event in c.take_events() if isinstance(event, Divergence)]
    accounting = c.accounting()
    assert adds_up(accounting.primary)
    assert adds_up(accounting.secondary)
    return c, out, divergences


def released(out: list[bytes]) -> tuple[bytes, bool]:
    """The stream that left, put together by sequence number as the client would, and whether it was ended."""
    isn = None
    got: dict[int, bytes] = {}
    ended = False
    for frame in out:
        packet = parse(frame, 0, len(frame))
        if packet.flags & frames.SYN:
            isn = packet.seq
        elif isn is not None:
            got[(packet.seq - isn - 1) & 0xFFFFFFFF] = max(
                got.get((packet.seq - isn - 1) & 0xFFFFFFFF, b""), frame[packet.payload : packet.payload_end], key=len
            )
            ended = ended or bool(packet.flags & frames.FIN)
    stream = bytearray()
    for at in sorted(got):
        if at <= len(stream) < at + len(got[at]):
            stream += got[at][len(stream) - at :]
    return bytes(stream), ended


@given(seed=st.integers(0, 2**32), general=st.booleans(), relative=st.booleans())
def test_no_cut_makes_a_divergence(seed: int, general: bool, relative: bool) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(rng.randrange(1, 20000))
    c, out, divergences = run(rng, stream, stream, general=general, relative=relative)
    assert divergences == []
    assert released(out) == (stream, True)
    accounting = c.accounting()
    assert accounting.primary.held.frames == accounting.secondary.held.frames == 0


@given(seed=st.integers(0, 2**32), general=st.booleans(), relative=st.booleans())
def test_the_first_differing_byte_is_found(seed: int, general: bool, relative: bool) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(rng.randrange(1, 3000))
    other = changed(rng, stream)
    if other == stream:
        return
    _, out, divergences = run(rng, stream, other, general=general, relative=relative)
    place = first_difference(stream, other)
    assert [d.stream_offset for d in divergences] == [place]
    assert divergences[0].reason in ("tcp_payload", "tcp_fin")
    left, ended = released(out)
    assert stream.startswith(left)
    assert len(left) <= place
    assert not ended


def test_many_changes_are_all_found_where_they_are() -> None:
    rng = random.Random(int(os.environ.get("COLOPROXY_SEED", "1")))
    habits = Habits(largest=300)
    for trial in range(RUNS * 5):
        size = rng.randrange(1, 800)
        stream = rng.randbytes(size) if trial % 2 else bytes(rng.choices(b"ab", k=size))
        other = changed(rng, stream)
        if other == stream:
            continue
        _, _, divergences = run(rng, stream, other, habits=habits, general=trial % 4 == 0, relative=trial % 3 == 0)
        assert [d.stream_offset for d in divergences] == [first_difference(stream, other)], trial


def streams_of(capture: Path) -> list[bytes]:
    """Each TCP direction's bytes in a capture, put together by sequence number from the first that was seen."""
    directions: dict[bytes, tuple[int, bytearray]] = {}
    with Capture(capture) as records:
        found = [frame for record in records if (frame := to_ethernet(record)) is not None]
    for frame in found:
        try:
            packet = parse(frame, 0, len(frame))
        except Malformed:
            continue
        if packet.kind != Kind.TCP or packet.fragment is not None:
            continue
        data = frame[packet.payload : packet.payload_end]
        seq = (packet.seq + (packet.flags >> 1 & 1)) & 0xFFFFFFFF
        first, stream = directions.setdefault(packet.key, (seq, bytearray()))
        at = (seq - first) & 0xFFFFFFFF
        if at <= len(stream) < at + len(data):
            stream += data[len(stream) - at :]
    return [bytes(stream) for _, stream in directions.values() if stream]


def real_streams(folder: Path) -> list[bytes]:
    names = sorted(path for path in folder.rglob("*") if path.suffix in {".pcap", ".pcapng", ".cap", ".gz"})
    found = [stream for name in names for stream in streams_of(name)]
    assert found, f"no TCP in the captures of {folder}"
    return found


@pytest.mark.slow
def test_real_streams_cut_anew_never_diverge(captures: Path) -> None:
    streams = real_streams(captures)
    rng = random.Random(int(os.environ.get("COLOPROXY_SEED", "2")))
    for trial in range(max(RUNS, len(streams))):
        stream = streams[trial % len(streams)]
        begin = rng.randrange(max(1, len(stream) - 20000))
        part = stream[begin : begin + 20000]
        habits = rng.choice((Habits(), Habits(largest=8000), Habits(smallest=500, largest=1460, reorder=0.4)))
        _, out, divergences = run(
            rng, part, part, habits=habits, general=trial % 4 == 0, relative=trial % 3 == 0
        )  # fmt: skip
        assert divergences == [], trial
        assert released(out) == (part, True), trial
