"""What a real pair's file can ask for: checkpoints from time to time, and that the other host is fenced."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pair import Pair, running, talking

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]

EVERY = 400  # milliseconds


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    script = folder / "fence"
    script.write_text(f'echo "$COLOPROXY_GUEST $COLOPROXY_HOST" >>{folder}/fenced\ntest -e {folder}/dead\n')
    with running(folder, extra=f'fence = "sh {script}"', timing={"max_interval": EVERY}) as made:
        yield made


def test_checkpoints_are_made_that_nobody_asks_for(pair: Pair) -> None:
    primary = pair.primary()
    began, before = time.monotonic(), pair.ask(primary)["checkpoints"]
    pair.wait(lambda: pair.ask(primary)["checkpoints"] >= before + 4)
    made, took = pair.ask(primary)["checkpoints"] - before, time.monotonic() - began
    assert made <= took / (EVERY / 1000) + 1
    assert pair.events(primary, "guest_checkpoint")[-1]["asked"] == {"max_interval": 1}


def fenced(pair: Pair) -> list[str]:
    path: Path = pair.folder / "fenced"
    return path.read_text().splitlines() if path.exists() else []


def test_nobody_takes_over_before_the_other_host_is_fenced(pair: Pair) -> None:
    primary = pair.primary()
    other = pair.file.other(primary)
    pair.wait_state(other, "standby")
    with talking(pair) as talk:
        os.kill(pair.qemu(primary), signal.SIGKILL)
        pair.wait(lambda: len(fenced(pair)) >= 2)
        assert pair.state(other) == "failing over"
        count, qemu = talk.count, pair.qemu(other)
        os.kill(pair.agent_pid(other), signal.SIGKILL)  # the next one fences too
        pair.agent(other)
        pair.wait_state(other, "failing over")
        seen = len(fenced(pair))
        pair.wait(lambda: len(fenced(pair)) > seen)
        assert talk.count <= count + 1
        (pair.folder / "dead").touch()
        pair.wait_state(other, "alone")
        assert pair.qemu(other) == qemu
        talk.goes_on(pair, 20)
    assert set(fenced(pair)) == {f"{pair.name} {primary}"}
    assert "fence" in pair.events(other, "taken_over")[-1]["steps"]
