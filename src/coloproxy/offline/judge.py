"""The comparator as judge of what was lined up: frames go in, a batch of either side at a time; differences come out.

Every frame is a copy whose Ethernet addresses, which nobody compares, say where it came from: the number of its record
and of the subject (a connection, or the datagrams between two ports) that it belongs to.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Protocol

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.config import Config
from coloproxy.compare.events import Divergence, Side
from coloproxy.compare.rules import Rule

HEADROOM = 4  # in front of a frame, so that frames released one behind the other leave as one range
BATCH = 64  # frames; the comparator keeps evidence of so many divergences
COMPACT = 512  # batches after which what is still held is copied out of them
AGE = 61.0  # seconds after which the comparator forgets a closed connection
FOR_EVER = 2**32 - 1

_STAMP = struct.Struct(">4xQI")  # headroom; record, subject
_stamp = _STAMP.pack
_NUMBERS = struct.Struct(">QI")
ETHERNET = 14


class Subject(Protocol):
    """Whose frames are judged."""

    def differs(self, divergence: Divergence, frames: tuple[list[int], list[int]]) -> None:
        """The comparator found a difference, in these frames of the primary and the secondary."""


class Batch:
    """Frames of one side on their way to the comparator, one behind the other; `ends` says where each ends."""

    __slots__ = ("buf", "count", "ends", "headroom", "index", "lease")

    def __init__(self) -> None:
        self.buf = bytearray()
        self.ends: list[int] = []
        self.index = array("I")
        self.count = 0
        self.headroom = HEADROOM
        self.lease: object = self

    def close(self) -> None:
        """Make the index, as the comparator wants it."""
        begin = HEADROOM
        index: list[int] = []
        for end in self.ends:
            index += (begin, end, 0)
            begin = end + HEADROOM
        self.index = array("I", index)
        self.count = len(self.ends)


class Judge:
    """Timeouts are no business of captures: the comparator's clock stands still, but for `age`."""

    def __init__(self, rules: Sequence[Rule] | None) -> None:
        config = Config(
            isn="relative", on_divergence="release", prefix_release=False, reorder_grace=0,
            compare_timeout=FOR_EVER, expired_scan_cycle=30_000, max_queue_size=FOR_EVER, max_held_bytes=FOR_EVER,
        )  # fmt: skip
        self.now = 0.0
        self.comparator = Comparator(config, self.now, evidence=True)
        if rules is not None:
            self.comparator.set_rules(rules)
        self.batches = [Batch(), Batch()]
        self._subjects: dict[int, Subject] = {}
        self._numbered = 0
        self._delivered = 0

    def admit(self, subject: Subject) -> int:
        """Take a subject on; its number for `put`."""
        self._numbered = number = (self._numbered + 1) & 0xFFFFFFFF
        self._subjects[number] = subject
        return number

    def dismiss(self, number: int) -> None:
        """No more frames will come of this subject. Deliver first."""
        self._subjects.pop(number, None)

    def put(self, side: int, subject: int, number: int, ether: bytes, data: bytes, l3: int, zeros: int) -> int:
        """Add a frame to a side's batch: data[l3:] with the ethertype (and tags) `ether` in front and `zeros` behind.

        Returns where its IP header begins in the batch's buffer, `batches[side].buf`, for whoever has to change it.
        """
        batch = self.batches[side]
        if len(batch.ends) == BATCH:
            self.deliver()
            batch = self.batches[side]
        buf = batch.buf
        buf += _stamp(number, subject) + ether
        at = len(buf)
        buf += data[l3:]
        if zeros:
            buf += bytes(zeros)
        batch.ends.append(len(buf))
        return at

    def deliver(self) -> None:
        """Have the comparator compare what is in the batches, and tell the subjects of what differs."""
        batches, self.batches = self.batches, [Batch(), Batch()]
        for side, batch in zip(Side, batches):
            if batch.ends:
                batch.close()
                self.comparator.receive_batch(side, batch, self.now)
                self._hear()
        self._delivered += 1
        if self._delivered % COMPACT == 0:
            self.comparator.compact()

    def age(self) -> None:
        """Have the comparator forget connections that are closed."""
        self.deliver()
        self.now += AGE
        self.comparator.tick(self.now)
        self._hear()

    @property
    def verified(self) -> int:
        """Bytes found equal so far."""
        return self.comparator.accounting().verified_bytes

    def _hear(self) -> None:
        self.comparator.take_output()
        if not self.comparator.take_events():
            return
        for divergence, frames in self.comparator.take_evidence():
            numbers: tuple[list[int], list[int]] = ([], [])
            subject = 0
            for side, frame, _, _ in frames:
                number, subject = _NUMBERS.unpack_from(frame)
                if number not in numbers[side]:
                    numbers[side].append(number)
            if subject in self._subjects:
                self._subjects[subject].differs(divergence, numbers)
