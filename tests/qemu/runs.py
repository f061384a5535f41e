"""Which plays are performed, and how a difference is told.

COLOPROXY_RUNS says how many plays, COLOPROXY_SEED which. A play that shows a difference is made as short as it gets
and printed; COLOPROXY_PLAY performs one alone, by its number.
"""

import os
import random
from collections.abc import Callable

import plays
from contest import Contest
from plays import Play

SEED = os.environ.get("COLOPROXY_SEED", "1")
RUNS = int(os.environ.get("COLOPROXY_RUNS", "120"))
NUMBERS = [int(os.environ["COLOPROXY_PLAY"])] if "COLOPROXY_PLAY" in os.environ else list(range(RUNS))


def make(number: int, vnet_hdr: bool) -> Play:
    """One of the plays."""
    return plays.make(random.Random(f"{SEED}/{number}"), vnet_hdr)


def difference(contest: Contest, number: int, prepare: Callable[[Play], Play] = lambda play: play) -> str:
    """What a play shows, prepared in some way: nothing, or the play made short, and where the two differ."""

    def fails(play: Play) -> bool:
        return contest.perform(prepare(play)) is not None

    play = make(number, contest.vnet_hdr)
    if not fails(play):
        return ""
    play = prepare(plays.reduced(play, fails))
    return f"COLOPROXY_SEED={SEED} COLOPROXY_PLAY={number}; in short:\n{play}{contest.perform(play)}"
