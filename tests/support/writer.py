"""A client that has the guest write to its disk, and looks whether all is there that was acknowledged."""

import hashlib
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coloproxy.guest import image
from support.pair import DISK, Client, Pair, connected

SECTOR, PAGE, MIB = 512, 4096, 1 << 20
RECORDS = 2048  # the sectors of the first mebibyte


class Disk:
    """A connection to the guest that has it write and read."""

    def __init__(self, pair: Pair) -> None:
        self._sock = connected(pair.address, DISK)
        self._lines = self._sock.makefile("rb")

    def say(self, line: str) -> str:
        self._sock.sendall(line.encode() + b"\n")
        answer = self._lines.readline()
        assert answer.endswith(b"\n"), "the connection was closed"
        return answer.decode("ascii", "replace").strip()

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Writer(Client):
    """Writes records all over the first mebibyte of the disk, some of which are different in two guests, and mebibytes
    behind it; reads what it wrote before, and what is known already. size: mebibytes of the disk; every: so many
    records one of these."""

    def __init__(self, pair: Pair, size: int, known: "Writer | None" = None, every: int = 4) -> None:
        super().__init__()
        self.records: dict[int, str] = dict(known.records) if known else {}
        self.filled: dict[int, int] = dict(known.filled) if known else {}  # mebibyte: by how many pages it is turned
        self._size, self._every = size, every
        self._chance = random.Random(1)
        self._disk = Disk(pair)

    def exchange(self) -> None:
        number, text = self._chance.randrange(RECORDS), os.urandom(200).hex()
        self.records.pop(number, None)  # until it is acknowledged it may be the old or the new
        if self.count % self._every == 1:
            text = self._disk.say(f"stamp {number}")
            assert len(text) == 120
        else:
            assert self._disk.say(f"put {number} {text}") == f"put {number}"
        self.records[number] = text
        self._look_at(self._chance.choice(list(self.records)))
        if self.count % self._every == 0:
            self._fill()

    def _fill(self) -> None:
        number, pages = self._chance.randrange(1, self._size), self._chance.randrange(1, MIB // PAGE)
        self.filled.pop(number, None)
        assert self._disk.say(f"fill {number} {pages}") == f"fill {number} {pages}"
        self.filled[number] = pages
        self._look_at_filled(self._chance.choice(list(self.filled)))

    def _look_at(self, number: int) -> None:
        found = self._disk.say(f"get {number}")
        assert found == self.records[number], f"record {number} is {found[:40]!r}, not {self.records[number][:40]!r}"

    def _look_at_filled(self, number: int) -> None:
        found = self._disk.say(f"sum {number}").split()[0]
        assert found == hashlib.md5(turned(self.filled[number])).hexdigest(), f"mebibyte {number} is wrong"

    def look_at_all(self) -> None:
        """All that was acknowledged is read in the guest."""
        for number in self.records:
            self._look_at(number)
        for number in self.filled:
            self._look_at_filled(number)

    def look_in(self, path: Path) -> None:
        """It is in an image."""
        with path.open("rb") as disk:
            for number, text in self.records.items():
                disk.seek(number * SECTOR)
                found = disk.read(SECTOR).decode("ascii", "replace").strip()
                assert found == text, f"{path}: record {number} is {found[:40]!r}, not {text[:40]!r}"
            for number, pages in self.filled.items():
                disk.seek(number * MIB)
                assert disk.read(MIB) == turned(pages), f"{path}: mebibyte {number} is wrong"

    def drop(self) -> None:
        """End, and do not wait for an answer that will not come."""
        self.give_up()
        self._disk.close()
        self.join(30)
        assert not self.is_alive()

    def close(self, pair: Pair) -> None:
        super().close(pair)
        self._disk.close()


def turned(pages: int) -> bytes:
    """What a mebibyte is filled with: different for each number of pages."""
    block = image.block()
    return block[pages * PAGE :] + block[: pages * PAGE]


@contextmanager
def writing(pair: Pair, size: int, known: Writer | None = None, every: int = 4) -> Iterator[Writer]:
    """Something is written all the time; in the end all that was is read."""
    writer = Writer(pair, size, known, every)
    writer.start()
    writer.goes_on(pair)
    yield writer
    writer.close(pair)
