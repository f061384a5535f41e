"""QEMU's colo-compare and `coloproxy compare`, each with a test at the other end of its four sockets."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from contest import Contest
from contestants import Coloproxy, Qemu, qemu_program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses QEMU is marked so, and skipped where there is none, unless all must be there."""
    for item in items:
        if {"qemu", "contest", "traced"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.qemu)
            if qemu_program() is None and not os.environ.get("COLOPROXY_CI"):
                item.add_marker(pytest.mark.skip(reason="qemu-system-x86_64 is not installed"))


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Callable[..., Qemu]]:
    """Starts QEMU's comparator with properties; ends it with the test."""
    started: list[Qemu] = []

    def start(vnet_hdr: bool = False, trace: bool = False, **properties: int) -> Qemu:
        folder = tmp_path / f"qemu{len(started)}"
        folder.mkdir()
        started.append(Qemu(folder, vnet_hdr, trace, **properties))
        return started[-1].connect()

    yield start
    for each in started:
        each.end()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Callable[..., Coloproxy]]:
    """Starts `coloproxy compare` with options; ends it with the test."""
    started: list[Coloproxy] = []

    def start(*options: str, vnet_hdr: bool = False, trace: bool = False) -> Coloproxy:
        folder = tmp_path / f"ours{len(started)}"
        folder.mkdir()
        started.append(Coloproxy(folder, vnet_hdr, *options, trace=trace))
        return started[-1].connect()

    yield start
    for each in started:
        each.end()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "vnet"])
def contest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contest]:
    """Both, for many plays; without and with virtio-net headers."""
    made = Contest(tmp_path_factory.mktemp("contest"), request.param)
    yield made
    made.end()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "vnet"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contest]:
    """Both, tracing, for many plays; without and with virtio-net headers."""
    made = Contest(tmp_path_factory.mktemp("traced"), request.param, trace=True)
    yield made
    made.end()
