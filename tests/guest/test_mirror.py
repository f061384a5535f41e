"""A written disk over a monitor that answers as it is told to."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from coloproxy.guest.config import File, Guest, Host
from coloproxy.guest.mirror import AGAIN, JOB, Written
from coloproxy.guest.monitor import Answered, Monitor
from coloproxy.link.loop import Loop


class Answers:
    """All is done at once, but what is in `refused`."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.refused: dict[str, str] = {}

    def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, answered: Answered | None = None, *,
        out_of_band: bool = False,
    ) -> None:  # fmt: skip
        self.said.append(command)
        if answered is not None:
            answered(None, self.refused.get(command))


class Bench:
    """The disk of host a."""

    def __init__(self) -> None:
        self.loop, self.qemu = Loop(), Answers()
        self.failed: list[str] = []
        self.copied: list[str] = []
        hosts = {name: Host(address="192.0.2.1", tap="t0") for name in ("a", "b")}
        guest = Guest(memory="1M", mac="52:54:00:00:00:01", disk="/dev/null", disk_writable=True)
        file = File(name="web", guest=guest, host=hosts, lease="file:l", folder="/nowhere")
        self.mirror = Written(cast("Monitor", self.qemu), self.loop, file, "a", self.failed.append)

    def copy(self, name: str) -> None:
        self.mirror.copy(lambda: self.copied.append(name))

    def job(self, event: str, **data: str) -> None:
        self.mirror.heard(event, {"device": JOB, **data})

    def until(self, command: str) -> None:
        while command not in self.qemu.said:
            self.loop.turn(0.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


def test_a_copy_ends_with_the_guest_standing_still_and_going_on(bench: Bench) -> None:
    bench.copy("first")
    assert bench.qemu.said[-2:] == ["blockdev-add", "blockdev-mirror"]
    bench.job("BLOCK_JOB_READY")
    assert bench.qemu.said[-2:] == ["stop", "block-job-cancel"]
    bench.job("BLOCK_JOB_COMPLETED")
    assert bench.qemu.said[-2:] == ["x-blockdev-change", "cont"]
    assert (bench.copied, bench.failed) == (["first"], [])


def test_the_end_of_a_copy_that_was_given_up_is_not_that_of_the_next(bench: Bench) -> None:
    bench.copy("first")
    bench.qemu.refused["blockdev-del"] = "Node far is in use"
    bench.mirror.leave(lambda: None)
    bench.copy("second")
    bench.job("BLOCK_JOB_COMPLETED", error="Input/output error")
    assert bench.failed == []
    bench.qemu.refused.clear()
    bench.qemu.said.clear()
    bench.until("blockdev-mirror")
    bench.job("BLOCK_JOB_READY")
    bench.job("BLOCK_JOB_COMPLETED")
    assert (bench.copied, bench.failed) == (["second"], [])


def test_a_guest_that_stands_still_for_a_copy_that_is_given_up_goes_on(bench: Bench) -> None:
    bench.copy("first")
    bench.job("BLOCK_JOB_READY")
    bench.mirror.leave(lambda: None)
    assert "cont" in bench.qemu.said
    assert not bench.mirror.copying


def test_an_image_is_being_merged_until_nobody_uses_what_is_beside_it(bench: Bench) -> None:
    bench.qemu.refused["blockdev-del"] = "Node active is in use"
    bench.mirror.merge(lambda: bench.copied.append("merged"))
    assert bench.mirror.merging
    bench.qemu.refused["blockdev-del"] = "Failed to find node with node-name='active'"
    while not bench.copied:
        assert bench.mirror.merging
        bench.loop.turn(time.monotonic() + AGAIN)
    assert not bench.mirror.merging


def test_a_copy_that_was_given_up_before_it_began_does_not_begin(bench: Bench) -> None:
    bench.qemu.refused["blockdev-del"] = "Node active is in use"  # what was a secondary's is being merged
    bench.qemu.refused["blockdev-add"] = "Connection refused"
    bench.copy("first")
    bench.mirror.leave(lambda: bench.copied.append("left"))
    bench.qemu.refused.pop("blockdev-del")
    end = time.monotonic() + 3 * AGAIN
    while time.monotonic() < end:
        bench.loop.turn(end)
    assert (bench.copied, bench.failed) == (["left"], [])
    assert "blockdev-add" not in bench.qemu.said
