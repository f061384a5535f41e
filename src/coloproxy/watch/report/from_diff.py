"""The story of two captures that were compared."""

import shlex
from collections import Counter

from coloproxy.offline import CaptureSummary, Difference, Report
from coloproxy.watch.report.story import MOST, Figure, Item, Story, worst
from coloproxy.watch.report.words import counted, size


def of_diff(report: Report, command: list[str]) -> Story:
    """What `coloproxy diff` found. command: how it was called, to be done again."""
    totals = report.totals
    reasons = Counter(str(difference.reason) for difference in report.differences)
    found: dict[str, Counter[str]] = {}
    for difference in report.differences:
        found.setdefault(str(difference.connection), Counter())[difference.reason] += 1
    notes = {str(one.connection): f"{size(one.verified)} verified" for one in report.connections}
    left = [f"{size(count)} {why}" for count, why in totals.left_out()]
    told = len(report.differences)
    return Story(
        title="coloproxy: two captures compared",
        source=f"{report.primary.path} and {report.secondary.path}",
        verdict="The same, wherever they could be compared." if report.same else (
            f"Not the same: {counted(totals.differences, 'difference')} on {counted(totals.differ, 'connection')}."
        ),
        good=report.same,
        figures=[
            Figure("Differences", f"{totals.differences:,}", f"the first {told:,} are told of" if
                   told < totals.differences else counted(len(reasons), "reason")),
            Figure("Connections", f"{totals.connections:,}", f"{totals.same:,} the same, {totals.differ:,} differ"),
            Figure("Verified", size(totals.verified), "of payload, equal on both sides"),
            Figure("Not compared", left[0] if left else "nothing", "; ".join(left[1:])),
        ],
        facts=[
            ("Primary", read(report.primary)),
            ("Secondary", read(report.secondary)),
            ("Replica", report.side + (f", in the secondary's {report.secondary_side}" if report.secondary_side else "")
             + (f" (guessed: {report.guessed})" if report.guessed else "")),
        ],
        reasons=reasons,
        connections=worst(found, notes),
        items=[item(number, difference) for number, difference in enumerate(report.differences[:MOST], 1)],
        again=[shlex.join(command)],
        warnings=[
            f"{summary.path} could not be read to the end: {summary.problem}"
            for summary in (report.primary, report.secondary)
            if summary.problem
        ],
    )  # fmt: skip


def read(capture: CaptureSummary) -> str:
    """What a capture had."""
    return f"{capture.path}: {counted(capture.frames, 'frame')}, {capture.sent:,} sent by the replica"


def item(number: int, difference: Difference) -> Item:
    """A difference, as it is told."""
    parts = []
    if difference.offset is not None:
        stream = "stream" if difference.connection.protocol == "tcp" else "datagram"
        parts.append(f"byte {difference.offset:,} of the {stream}")
    if difference.seq is not None:
        parts.append(f"sequence number {difference.seq}")
    notes = [
        f"frame {', '.join(map(str, numbers[:8]))} of the {side}"
        for side, numbers in (("primary", difference.primary_frames), ("secondary", difference.secondary_frames))
        if numbers
    ]
    if difference.secondary_connection is not None:
        notes.append(f"in the secondary's capture {difference.secondary_connection}")
    return Item(
        number=number, reason=difference.reason, connection=difference.connection, detail=difference.detail,
        rule=difference.rule, place=", ".join(parts), offset=difference.offset,
        primary=bytes.fromhex(difference.primary), secondary=bytes.fromhex(difference.secondary),
        context_offset=difference.context_offset, notes=notes,
    )  # fmt: skip
