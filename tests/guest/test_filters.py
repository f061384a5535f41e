"""A real pair with QEMU's own filters, by the command lines of the manual: comparator, rewriter and driver are ours."""

import signal
from collections.abc import Iterator

import pytest

from support.filters import Filters, beside, until
from support.pair import ECHO, RANDOM

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def filters() -> Iterator[Filters]:
    with beside() as made:
        yield made


def test_answers_that_are_alike_need_no_checkpoint_and_are_right(filters: Filters) -> None:
    with filters.connect(ECHO) as sock:
        sock.sendall(b"first")
        assert sock.recv(100) == b"first"
        before = len(filters.checkpoints())
        for number in range(100):
            sock.sendall(b"%08d" % number)
            assert sock.recv(100) == b"%08d" % number
        assert len(filters.checkpoints()) <= before + 1


def test_answers_that_differ_are_healed_by_a_checkpoint(filters: Filters) -> None:
    before = len(filters.checkpoints())
    with filters.connect(ECHO) as echo:
        for _ in range(5):
            with filters.connect(RANDOM) as sock:
                sock.sendall(b"go\n")
                said = b""
                while part := sock.recv(4096):
                    said += part
                assert len(said) == 1000
            echo.sendall(b"still there")
            assert echo.recv(100) == b"still there"
    made = until(lambda: filters.checkpoints()[before:])
    assert any(each["asked"] == {"notify": 1} for each in made)


def test_the_driver_ends_with_the_pair(filters: Filters) -> None:
    until(filters.checkpoints)  # it has met both: it waits for a QEMU that it has not
    secondary = filters.qemus["secondary"]
    secondary.send_signal(signal.SIGKILL)
    assert filters.drive.wait(20) == 2
