"""Checkpoints, on the primary's side: asked for, followed, and what they release."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from coloproxy.checkpoint.driver import Driver
from coloproxy.compare.events import GuestCheckpoint
from coloproxy.errors import ColoproxyError
from coloproxy.guest import messages, numbers
from coloproxy.guest import states as table
from coloproxy.guest.disk import DISK
from coloproxy.guest.driving import Driving
from coloproxy.guest.loss import Loss
from coloproxy.guest.states import State

E = table.Event
WRITTEN = 64 << 20  # bytes after which a checkpoint is due: a secondary keeps them, and merges them if it takes over
LOOK = 0.25  # seconds between looks at how many it were
JUST = 0.01  # seconds before QEMU says that it has stopped, in which frames may have come too late for its guest,
LONG = 0.2  # which are more if the guest has said nothing for longer: QEMU hands it none while it ends the copy
BEGUN = 0.05  # seconds in which a checkpoint that is asked for begins, or clients wait no longer


class Pace(Loss):
    """Each ends what the primary said before it stopped, and what the secondary said before it was loaded."""

    def checkpoint(self) -> None:
        """Ask for one. Raises ColoproxyError if there is no secondary."""
        if self.state not in (State.PROTECTED, State.CHECKPOINTING):
            raise ColoproxyError(f"the agent is {self.state}; checkpoints are made while it is protected.")
        self._want("asked for")

    def _want(self, reason: str) -> None:
        if self._driving is not None:
            self._driving.want(reason)

    def _begin_driving(self) -> None:
        """Checkpoints are made from now on."""
        timing = self.file.timing
        driver = Driver(
            time.monotonic(), min_interval=timing.min_interval / 1000, timeout=timing.checkpoint / 1000,
            max_interval=timing.max_interval and timing.max_interval / 1000,
        )  # fmt: skip
        self._driving = driving = Driving(driver, self.loop, self._ask_qemu, self._too_late)
        self._written: int | None = None  # bytes at the first look, or the last that was followed by a checkpoint
        if self._disk:
            self._look_at_writing(driving)

    def _look_at_writing(self, driving: Driving) -> None:
        def told(answer: Sequence[Mapping[str, Any]] | None, _why: str | None) -> None:
            written = sum(each["stats"]["wr_bytes"] for each in answer or () if each.get("node-name") == DISK)
            if self._written is None:
                self._written = written
            elif written - self._written > WRITTEN and driving is self._driving:
                self._written = written
                self._want("disk written")
            self.loop.after(LOOK, lambda: self._look_at_writing(driving))

        if driving is self._driving and self._colo is not None:
            self._colo.monitor.execute("query-blockstats", None, told)

    def _ask_qemu(self) -> None:
        if self._colo is not None:
            self._shut_door()
            self._colo.checkpoint()

    def _shut_door(self) -> None:
        """Clients wait from now on: what only the copy has heard when the primary stops, it loses, and that is noticed
        late, by a client's retransmission."""
        self.path.door.close_up()
        before = self._checkpoints

        def look() -> None:
            driving = self._driving
            under_way = driving is not None and driving.driver.under_way
            if self._checkpoints == before and not under_way:
                self.path.door.open_up(self.clock.now())

        self.loop.after(BEGUN, look)

    def _too_late(self) -> None:
        self._lose(f"a checkpoint took longer than {self.file.timing.checkpoint} ms")

    def _primary_stopped(self) -> None:
        now = self.clock.now()
        self.path.door.close_behind(max(now - LONG, min(now, self.path.listener.spoke) - JUST))
        if self._driving is None or self.state in (State.DECIDING, State.ALONE):
            return
        self.path.last_words()
        self.path.hold.close_up()
        self._driving.driver.began(time.monotonic())
        known = numbers.taken(self.path.rewriter)
        if known:
            self._wire.say(messages.Numbers(known))
        if self.state is State.PROTECTED:
            self.fire(E.STOPPED)
        if self._loaded:
            self._barrier()

    def _copy_loaded(self) -> None:
        """The secondary is a copy again; what it said before is in front of this."""
        if self._driving is None:
            return
        if self.path.hold.closed:
            self._barrier()
        else:
            self._loaded = True

    def _barrier(self) -> None:
        self._loaded = False
        self.path.primary_barrier()

    def _primary_resumed(self) -> None:
        driving = self._driving
        if driving is None or not driving.driver.awaited:
            self.path.door.open_up(self.clock.now())
        if driving is None or not driving.driver.under_way or self.state in (State.DECIDING, State.ALONE):
            return
        made = driving.driver.completed(time.monotonic())
        self._checkpoints += 1
        self._last_checkpoint = GuestCheckpoint(
            time=self.clock.now(), guest=self.file.name, number=self._checkpoints, asked=made.reasons, took=made.took,
            paused=made.paused,
        )  # fmt: skip
        self._report(self._last_checkpoint)
        if self.state is State.COPYING:
            self.fire(E.COPIED)
        elif self.state is State.CHECKPOINTING:
            self.fire(E.RESUMED)
        driving.look()
