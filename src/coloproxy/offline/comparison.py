"""Two captures, compared as what two replicas sent: read side by side, lined up, judged.

Read is the side that is behind. What one side has and the other has not yet waits, up to a limit on both; past it, the
captures are too far apart to be compared in what waits longest.
"""

import os
import struct
from collections.abc import Callable, Sequence

import msgspec

from coloproxy.capture import Record
from coloproxy.compare.rules import DEFAULT_RULES, Rule, Rules
from coloproxy.offline.intake import Intake
from coloproxy.offline.judge import Judge
from coloproxy.offline.lineup import Lineup
from coloproxy.offline.pairing import FiveTuple, Order
from coloproxy.offline.reading import Reading, begins
from coloproxy.offline.replica import Guess, Replica
from coloproxy.offline.report import Findings, Report
from coloproxy.offline.segment import FIN, RST, SYN
from coloproxy.offline.shared import Shared
from coloproxy.packet.parse import PROTO_TCP

WAITING = 32 << 20  # bytes that may wait on each side
TURN = 64  # records after which what they let go of the other side is handed on
PROGRESS = 16  # batches of records between two reports of progress
EXTRAORDINARY = FIN | SYN | RST
ETHERNET_LINK = 1
PLAIN_IPV4 = b"\x08\x00\x45"  # ethertype, version, a header of 20 bytes
PLAIN_IPV6 = b"\x86\xdd"

# Total length, fragment's flags and offset, protocol; TCP's sequence number, data offset, flags.
_IPV4 = struct.Struct(">H2xHxB14xI4xBB")
# Payload length, next header; TCP's.
_IPV6 = struct.Struct(">HB37xI4xBB")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """side, secondary_side: whose frames are compared; guessed if not given. match: "five-tuple" or "order". rules: as
    the comparator's. progress: called now and then with the bytes read so far and, if known, those of both files."""

    side: Replica | None = None
    secondary_side: Replica | None = None
    match: str = "five-tuple"
    rules: Sequence[Rule] | None = None
    progress: Callable[[int, int | None], None] | None = None


def compare(
    primary: str | os.PathLike[str], secondary: str | os.PathLike[str], options: Options | None = None
) -> Report:  # fmt: skip
    """Compare two captures. Raises ColoproxyError for a file that is none, and when there is nothing to compare."""
    first = Reading(primary)
    try:
        second = Reading(secondary)
        try:
            return Comparison((first, second), options or Options()).run()
        finally:
            second.capture.close()
    finally:
        first.capture.close()


class Comparison:
    """The work on two captures."""

    def __init__(self, readings: tuple[Reading, Reading], options: Options) -> None:
        self.readings = readings
        self.options = options
        self.replicas, self.guessed = _replicas(readings, options)
        rules = DEFAULT_RULES if options.rules is None else options.rules
        self.shared = Shared(judge=Judge(rules), findings=Findings(), begins=begins(readings))
        self.intakes = [
            Intake(replica, reading.path, self._taker(side))
            for side, (replica, reading) in enumerate(zip(self.replicas, readings))
        ]
        pairing = Order() if options.match == "order" else FiveTuple()
        self.lineup = Lineup(self.shared, pairing, Rules(rules), [intake.summary for intake in self.intakes])

    def run(self) -> Report:
        """Read both to the end."""
        turns = 0
        while (side := self._behind()) is not None:
            batch = self.readings[side].next()
            if batch is None:
                self._over(side)
            else:
                self._take(side, batch)
                self.shared.times[side] = batch[-1].time_ns
            if min(self.shared.waiting) > WAITING:
                self.lineup.relieve()
            self.lineup.sweep()
            turns += 1
            if self.options.progress is not None and turns % PROGRESS == 0:
                self._progress(self.options.progress)
        return self._report()

    def _behind(self) -> int | None:
        """The side to read on: the earlier one, if both were taken at one time; or that of which less waits."""
        p, s = self.readings
        if p.over or s.over:
            return None if p.over and s.over else int(p.over)
        waiting, times = self.shared.waiting, self.shared.times
        near = self.shared.begins is not None and abs(waiting[0] - waiting[1]) < WAITING // 2
        if near and times[0] != times[1]:
            return int(times[1] < times[0])
        if waiting[0] != waiting[1]:
            return int(waiting[1] < waiting[0])
        return int(s.capture.position < p.capture.position)

    def _progress(self, tell: Callable[[int, int | None], None]) -> None:
        captures = [reading.capture for reading in self.readings]
        sizes = [capture.size for capture in captures if capture.size is not None]
        tell(sum(capture.position for capture in captures), sum(sizes) if len(sizes) == len(captures) else None)

    def _take(self, side: int, records: list[Record]) -> None:
        """Take some records."""
        let_go = self.shared.let_go
        for at in range(0, len(records), TURN):
            self._take_some(side, records[at : at + TURN])
            while let_go:
                let_go.pop().flush()

    def _take_some(self, side: int, records: list[Record]) -> None:
        """The ordinary segment of a known stream goes a short way, everything else the long one."""
        reading, intake, streams = self.readings[side], self.intakes[side], self.lineup.streams[side]
        number, address = reading.number, intake.address
        ipv4, ipv6 = _IPV4.unpack_from, _IPV6.unpack_from
        ordinary = 0
        for record in records:
            number += 1
            data = record.data
            if record.linktype == ETHERNET_LINK and len(data) >= 54:
                if data[12:15] == PLAIN_IPV4:
                    stream = streams.get(data[26:38])
                    if stream is not None:
                        length, fragment, protocol, seq, offset, flags = ipv4(data, 16)
                        l4, end, fragment = 34, 14 + length, fragment & 0x3FFF
                    elif data[26:30] != address:
                        continue
                elif data[12:14] == PLAIN_IPV6 and len(data) >= 74:
                    stream = streams.get(data[22:58])
                    if stream is not None:
                        length, protocol, seq, offset, flags = ipv6(data, 18)
                        l4, end, fragment = 54, 54 + length, 0
                    elif data[22:38] != address:
                        continue
                else:
                    stream = None
                if stream is not None and seq == stream.expected and protocol == PROTO_TCP:
                    payload = l4 + (offset >> 2 & 0x3C)
                    if l4 + 20 <= payload <= end <= len(data) and not (fragment or flags & EXTRAORDINARY):
                        stream.ordinary(number, data, l4, payload, end - payload)
                        ordinary += 1
                        continue
            self.shared.times[side] = record.time_ns
            intake.receive(number, record)
        reading.number = number
        intake.summary.sent += ordinary

    def _taker(self, side: int) -> Callable[..., None]:
        return lambda *packet: self.lineup.receive(side, *packet)

    def _over(self, side: int) -> None:
        """A capture is at its end."""
        capture, intake = self.readings[side].capture, self.intakes[side]
        self.shared.over[side] = True
        self.shared.broken[side] = capture.problem is not None
        intake.close()
        summary = intake.summary
        summary.format, summary.frames, summary.problem = capture.format, capture.read, capture.problem
        self.lineup.over(side)

    def _report(self) -> Report:
        for reading, intake, replica in zip(self.readings, self.intakes, self.replicas):
            if not intake.summary.sent:
                raise reading.nothing(f"no frame in it was sent by {replica}")
        self.lineup.finish()
        findings = self.shared.findings
        side, other = self.replicas
        return Report(
            same=not findings.totals.differences, side=str(side), secondary_side="" if other == side else str(other),
            guessed=self.guessed, match=self.options.match, primary=self.intakes[0].summary,
            secondary=self.intakes[1].summary, totals=findings.totals, differences=findings.differences,
            connections=findings.connections(),
        )  # fmt: skip


def _replicas(readings: tuple[Reading, Reading], options: Options) -> tuple[tuple[Replica, Replica], str]:
    """Whose frames are compared in either capture; and, if that was guessed, why."""
    if options.side is not None:
        return (options.side, options.secondary_side or options.side), ""
    found = []
    for reading in readings:
        guess = Guess()
        guess.look(reading.beginning())
        best = guess.best()
        if best is None:
            raise reading.nothing("no IP packet is at its beginning")
        found.append((best, guess))
    ((ours, why), _), ((theirs, _), their_guess) = found
    if ours.address in their_guess.senders:
        theirs = ours
    return (ours, options.secondary_side or theirs), why
