"""Where a frame comes from."""

import enum


class Source(enum.IntEnum):
    """Who sent a frame. The primary and the secondary have the values they have in `compare.events.Side`."""

    PRIMARY = 0
    SECONDARY = 1
    CLIENT = 2

    @property
    def label(self) -> str:
        return self.name.lower()
