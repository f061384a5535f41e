"""The matrix of faults: what is done, to whom, while what goes on; on one pair, and as far as can be on the same
connections. `python bench/guest.py faults` tries all cells, at other moments too."""

import os
import shutil
from collections.abc import Iterator

import pytest

from support.faults import Fault, Ranges, quick

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranges]:
    if shutil.which("etcd") is None and not os.environ.get("COLOPROXY_CI"):
        pytest.skip("etcd is not installed (Debian package etcd-server)")
    made = Ranges(tmp_path_factory.mktemp("faults"), seed=1)
    yield made
    made.close()


@pytest.mark.parametrize("fault", quick(), ids=str)
def test_a_fault_is_survived(ranges: Ranges, fault: Fault) -> None:
    ranges.suffer(fault)
