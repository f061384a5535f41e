"""Evidence: the frames around each divergence, in a capture file that Wireshark opens."""

import contextlib
import os
import re
from pathlib import Path
from typing import Protocol

from coloproxy.capture import PcapngWriter
from coloproxy.compare.comparator import Evidence
from coloproxy.compare.events import Divergence
from coloproxy.errors import ColoproxyError
from coloproxy.link.clock import Clock

MOST_FILES = 10000  # in one folder; a divergence a second must not fill the disk for ever


class Witness(Protocol):
    """Keeps evidence somewhere; returns a sentence if that was not possible."""

    def write(self, evidence: Evidence) -> str | None: ...


class EvidenceFolder:
    """Writes DIR/NNNN-reason.pcapng, numbered on from what is there. Raises ColoproxyError if DIR cannot be used."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = Path(path)
        self._clock = clock
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            numbers = [int(found[0]) for name in os.listdir(path) if (found := re.match(r"\d{4,}(?=-)", name))]
        except OSError as error:
            raise ColoproxyError(f"evidence folder {path}: {error.strerror}; name one that can be written.") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise ColoproxyError(f"evidence folder {path}: not writable; name one that can be written.")
        self._number = max(numbers, default=0)

    def write(self, evidence: Evidence) -> str | None:
        """Write one file; returns a sentence if that was not possible."""
        if self._number >= MOST_FILES:
            return f"evidence folder {self._path} has {MOST_FILES} files; no more are written"
        divergence = evidence.divergence
        path = self._path / f"{self._number + 1:04}-{divergence.reason}.pcapng"
        unfinished = path.with_suffix(".pcapng.tmp")
        try:
            with open(unfinished, "wb") as file:
                self._frames(PcapngWriter(file), evidence)
            unfinished.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            return f"evidence file {path}: {error.strerror}"
        self._number += 1
        return None

    def _frames(self, writer: PcapngWriter, evidence: Evidence) -> None:
        comment = title(evidence.divergence)
        for side, frame, vnet_len, when in sorted(evidence.frames, key=lambda entry: entry[3]):
            writer.write(
                frame[vnet_len:], self._clock.wall_ns(when), comment=comment, interface=side.label
            )
            comment = ""


def title(divergence: Divergence) -> str:
    """What the first packet of a divergence's evidence has as its comment."""
    return f"{divergence.reason}: {divergence.connection or ''} {divergence.detail}".strip()
