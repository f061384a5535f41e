"""Evidence: the frames around each difference, as they were captured, in a pcapng that Wireshark opens."""

from collections.abc import Sequence

from coloproxy.capture import Capture, PcapngWriter, Record
from coloproxy.offline.report import Difference, Report
from coloproxy.offline.shared import FRAMES, NAMES

MOST = 200  # differences whose frames are kept


def write_evidence(writer: PcapngWriter, report: Report) -> None:
    """Write the frames of a report's differences, read from the captures once more, in order of time.

    Each side is an interface; comments say which differences a frame belongs to. Raises CaptureError if a capture
    cannot be opened again.
    """
    told = report.differences[:MOST]
    found: list[tuple[int, int, int, Record, str]] = []
    for side, summary in enumerate((report.primary, report.secondary)):
        comments = _comments(told, side)
        found += ((r.time_ns, side, number, r, comments[number]) for number, r in _records(summary.path, comments))
    for _, side, number, record, comment in sorted(found, key=lambda entry: entry[:3]):
        writer.write(
            record.data, record.time_ns, interface=NAMES[side], linktype=record.linktype,
            original_length=record.original_length, comment=f"frame {number} of the {NAMES[side]}\n{comment}",
        )  # fmt: skip


def _comments(differences: Sequence[Difference], side: int) -> dict[int, str]:
    """What is to be said of each frame, by its number."""
    comments: dict[int, str] = {}
    for count, difference in enumerate(differences, 1):
        text = f"difference {count}: {difference.reason}: {difference.detail}"
        for number in (difference.primary_frames, difference.secondary_frames)[side][:FRAMES]:
            comments[number] = f"{comments[number]}\n{text}" if number in comments else text
    return comments


def _records(path: str, wanted: dict[int, str]) -> list[tuple[int, Record]]:
    """The records of these numbers."""
    if not wanted:
        return []
    with Capture(path) as capture:
        records = zip(range(1, max(wanted) + 1), capture)
        return [(number, record) for number, record in records if number in wanted]
