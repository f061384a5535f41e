"""QEMU as a process, which may have been started by an agent that ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from coloproxy.guest.machine import Identity, Machine, began
from coloproxy.link.loop import Loop
from support.wire import PATIENCE

LARGE = "import time; memory = bytearray(200 << 20); print(flush=True); time.sleep(60)"
STARTER = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {LARGE!r}]).pid, flush=True)"


@pytest.fixture
def orphan() -> int:
    """A process of some size, whose parent has ended."""
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        return int(b"".join(starter.stdout.readline() for _ in range(2)))


def test_one_that_an_agent_before_us_started_is_gone_when_it_was_ended(orphan: int) -> None:
    loop = Loop()
    Machine(Identity(orphan, began(orphan) or 0), loop, lambda: None).kill()
    assert began(orphan) is None
    loop.close()


def test_one_that_ended_by_itself_meanwhile_may_be_ended(orphan: int) -> None:
    loop = Loop()
    machine = Machine(Identity(orphan, began(orphan) or 0), loop, lambda: None)
    os.kill(orphan, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while os.path.exists(f"/proc/{orphan}"):
        assert time.monotonic() < end
        time.sleep(0.01)
    machine.kill()
    loop.close()
