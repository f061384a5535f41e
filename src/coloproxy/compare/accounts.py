"""The columns of the engine's tally, by name, and the account made from it."""

from collections.abc import Sequence

from coloproxy.compare.events import Counts, SideAccount

RECEIVED, RELEASED, PASSED, HELD, DROPPED, REFUSED = range(0, 12, 2)
WIDTH = 12
_NAMES = ("received", "released", "passed", "held", "dropped", "refused")


def side_account(tally: Sequence[int], side: int) -> SideAccount:
    """One side's account: frames and bytes by where they ended."""
    columns = range(side * WIDTH, (side + 1) * WIDTH, 2)
    return SideAccount(**{name: Counts(tally[at], tally[at + 1]) for name, at in zip(_NAMES, columns, strict=True)})
