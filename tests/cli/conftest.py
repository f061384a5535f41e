"""Real proxies for the tests of this room."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.process import Running


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `coloproxy compare` with options; ends it with the test."""
    started: list[Running] = []

    def start(*options: str, **settings: object) -> Running:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Running(folder, *options, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.kill()
