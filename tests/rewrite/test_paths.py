"""The fast path, the general path and the uncompiled engine do the same."""

import os
import subprocess
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from support.rewritings import perform

PERFORM = """
import sys
from coloproxy.rewrite import engine
from support.rewritings import perform
print(engine.COMPILED, hash(tuple(perform(seed) for seed in range(int(sys.argv[1])))))
"""


@given(seed=st.integers(0, 2**40))
@example(seed=1625556)  # numbers known from a checkpoint, before the client acknowledged anything
def test_the_fast_path_changes_nothing_but_the_speed(seed: int) -> None:
    assert perform(seed) == perform(seed, general=True)


def test_the_uncompiled_engine_does_the_same() -> None:
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    said = []
    for uncompiled in ("", "1"):
        environment = {**os.environ, "COLOPROXY_UNCOMPILED": uncompiled, "PYTHONPATH": tests, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", PERFORM, "80"], env=environment, capture_output=True, text=True, check=True
        )  # fmt: skip
        said.append(done.stdout.split())
    assert said[1] == ["False", said[0][1]]
