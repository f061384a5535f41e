"""The documentation, read as a reader who tries everything."""

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked for QEMU is skipped where there is none."""
    if shutil.which("qemu-system-x86_64"):
        return
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("qemu"):
            item.add_marker(pytest.mark.skip(reason="qemu-system-x86_64 is not installed"))
