"""The fast path, the general path and the uncompiled engine say and do the same."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support import frames
from support.anything import perform
from support.play import Play

PERFORM = """
import sys, hashlib, msgspec
from coloproxy.compare import engine
from support import frames
from support.anything import perform
from support.play import Play
out = hashlib.sha256()
for seed in range(int(sys.argv[1])):
    digest, said = perform(seed)
    out.update(digest.encode() + msgspec.json.encode(said))
print(engine.COMPILED, out.hexdigest())
"""


@given(seed=st.integers(0, 2**40))
def test_the_fast_path_changes_nothing_but_the_speed(seed: int) -> None:
    assert perform(seed) == perform(seed, general=True)


def test_the_uncompiled_engine_does_the_same() -> None:
    seeds = 60
    expected = hashlib.sha256()
    for seed in range(seeds):
        digest, said = perform(seed)
        expected.update(digest.encode() + msgspec.json.encode(said))
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "COLOPROXY_UNCOMPILED": "1", "PYTHONPATH": tests}
    done = subprocess.run(
        [sys.executable, "-c", PERFORM, str(seeds)], env=environment, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.split() == ["False", expected.hexdigest()]


def test_events_are_json(seed: int = 3) -> None:
    _, said = perform(seed)
    for event in said:
        assert isinstance(json.loads(msgspec.json.encode(event)), dict)


def test_a_virtio_net_header_of_a_length_that_none_has_is_malformed_on_known_connections_too(
    play: Callable[..., Play],
) -> None:
    made = play(malformed="refuse").both(frames.tcp(b"known", seq=1000, ack=1), frames.udp(b"known"))
    made.left()
    made.p(bytes(16) + frames.tcp(b"x", seq=1005, ack=1), bytes(16) + frames.udp(b"x"), vnet_len=16)
    assert made.comparator.accounting().malformed == {"vnet_header": 2}
    assert made.held == (0, 0)
