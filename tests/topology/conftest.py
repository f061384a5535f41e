"""The witness, and topologies in processes of their own."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.topology import Topology


@pytest.fixture(scope="session")
def tshark() -> str:
    """Where tshark is; without it the tests that need it are skipped, but not where all must be there."""
    found = shutil.which("tshark")
    if found is None:
        if os.environ.get("COLOPROXY_CI"):
            pytest.fail("tshark is missing")
        pytest.skip("tshark is missing")
    return found


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Callable[..., Topology]]:
    """Starts `coloproxy run` with a file; ends it with the test."""
    started: list[Topology] = []

    def start(text: str, *options: str) -> Topology:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Topology(folder, text, *options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
