"""The benchmark is no installed package: its modules are found beside one another."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.append(str(BENCH))


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where generator and relay are, compiled."""
    import run

    folder = tmp_path_factory.mktemp("programs")
    try:
        run.build(folder)
    except RuntimeError as problem:
        pytest.skip(str(problem))
    return folder
