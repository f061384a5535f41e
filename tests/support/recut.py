"""One stream, cut anew: what another TCP stack might have sent of the same bytes, and what no stack would have."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from support import frames


class Piece(NamedTuple):
    """Bytes of a stream, beginning at `offset`; `fin`: the stream ends with them."""

    offset: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True)
class Habits:
    """How a stack cuts. Sizes are bytes, the others probabilities for each segment."""

    smallest: int = 1
    largest: int = 1460
    repeat: float = 0.1  # sent again, as it was
    overlap: float = 0.1  # sent again, cut elsewhere
    reorder: float = 0.1  # overtaken by a later one
    fin_alone: float = 0.3


TIDY = Habits(repeat=0, overlap=0, reorder=0)


def recut(rng: random.Random, stream: bytes, habits: Habits = Habits(), fin: bool = True) -> list[Piece]:
    """The stream in pieces, in the order in which they are sent. Every byte is sent at least once."""
    pieces: list[Piece] = []
    at = 0
    while at < len(stream):
        size = rng.randint(habits.smallest, habits.largest)
        pieces.append(Piece(at, stream[at : at + size]))
        if rng.random() < habits.repeat:
            pieces.append(rng.choice(pieces[-8:]))
        if rng.random() < habits.overlap:
            begin = rng.randint(max(0, at - habits.largest), at)
            pieces.append(Piece(begin, stream[begin : rng.randint(begin + 1, at + len(pieces[-1].data))]))
        at += size
    if fin:
        _end(rng, pieces, len(stream), habits)
    for index in range(len(pieces) - 1):
        if rng.random() < habits.reorder:
            other = min(len(pieces) - 1, index + rng.randint(1, 5))
            pieces[index], pieces[other] = pieces[other], pieces[index]
    return pieces


def _end(rng: random.Random, pieces: list[Piece], end: int, habits: Habits) -> None:
    """Say where the stream ends: on the last piece, or by a segment of its own."""
    last = pieces[-1] if pieces else None
    if last is not None and last.offset + len(last.data) == end and rng.random() >= habits.fin_alone:
        pieces[-1] = last._replace(fin=True)
    else:
        pieces.append(Piece(end, b"", True))


def changed(rng: random.Random, stream: bytes) -> bytes:
    """The stream with one byte changed, inserted or deleted."""
    at = rng.randrange(len(stream))
    how = rng.choice(("change", "insert", "delete"))
    if how == "change":
        return stream[:at] + bytes([stream[at] ^ rng.randint(1, 255)]) + stream[at + 1 :]
    if how == "insert":
        at = rng.randint(0, len(stream))
        return stream[:at] + bytes([rng.randrange(256)]) + stream[at:]
    return stream[:at] + stream[at + 1 :]


def first_difference(a: bytes, b: bytes) -> int:
    """The place of the first differing byte, or of the end of the shorter one."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low


def segment(piece: Piece, isn: int, ack: int = 1, **tcp: object) -> bytes:
    """The piece as a frame of a connection whose SYN had the number `isn`."""
    flags = frames.ACK | (frames.FIN if piece.fin else 0) | (frames.PSH if piece.data else 0)
    return frames.tcp(piece.data, seq=isn + 1 + piece.offset, ack=ack, flags=flags, **tcp)  # type: ignore[arg-type]


def interleave(rng: random.Random, first: list[bytes], second: list[bytes]) -> list[tuple[int, bytes]]:
    """Both lists' frames in one random order that keeps each list's own: (0 or 1, frame)."""
    turns = [0] * len(first) + [1] * len(second)
    if rng.random() < 0.7:
        rng.shuffle(turns)
    elif rng.random() < 0.5:
        turns.reverse()
    sources = iter(first), iter(second)
    return [(turn, next(sources[turn])) for turn in turns]
