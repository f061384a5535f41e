"""The agent of a primary: its guest is started, speaks, and is copied."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from coloproxy.compare.events import CopyProgress
from coloproxy.guest import lease, messages, numbers
from coloproxy.guest import states as table
from coloproxy.guest.announce import announcements
from coloproxy.guest.pace import Pace
from coloproxy.guest.states import State

E = table.Event
REANNOUNCE = (0.0, 0.05, 0.2, 1.0)  # seconds at which the network is told where the guest is
WARM = 0.1  # seconds until a guest that was just copied is about as fast as the one it was copied from
LOOK = 0.1  # seconds between looks at how far a copy is


class Primary(Pace):
    """From the start of a guest to its protection."""

    def _start(self) -> None:
        self._ask_lease(lease.take(self.host, bool(self._disk)), self._granted_start)

    def _granted_start(self) -> None:
        if self.state is State.STARTING:
            self.path.alone(first=True)
            self._launch(None, lambda: self.fire(E.STARTED))

    def _speak(self) -> None:
        """The guest lives here: the network leads to it."""
        self.path.mouth.patient = False
        self._let_speak(self._valid_until)
        self._plug_in(True)
        for after in REANNOUNCE:
            self.loop.after(after, self._announce)
        if self._lost_at is not None:
            self._tell_takeover("secondary")
        self._look_for_protection()

    def _announce(self) -> None:
        if self.state not in table.PRIMARY or not self.path.mouth.speaks:
            return
        mac = bytes.fromhex(self.file.guest.mac.replace(":", ""))
        frames = announcements(mac, self.path.listener.addresses)
        self.path.network.outputs([(frame, 0, len(frame), 0, None) for frame in frames], self.clock.now())

    def _silence(self) -> None:
        """The lease may pass to another: nothing leaves, and no copy is made."""
        self._leave_copy("the lease could not be renewed")

    def _leave_copy(self, why: str) -> None:
        if self._driving is not None or self._paired:
            self._separate()
        elif self._colo is not None:
            self._cancel(self._colo)
        self._wire.say(messages.Parted(why))

    def _copy(self) -> None:
        self._forget_pair()
        self._progress = None
        self._incarnation += 1
        self._wire.say(messages.Receive(self.generation, self._disk))
        self._be_patient()
        self._copy_late(self._incarnation)

    def _be_patient(self) -> None:
        """From now on a copy of memory has its time, or that of a disk until it has come further."""
        self._due = time.monotonic() + self.file.timing.copy / 1000

    def _copy_late(self, incarnation: int) -> None:
        if self.state is not State.COPYING or incarnation != self._incarnation:
            return
        left = self._due - time.monotonic()
        if left > 0:
            self.loop.after(left, lambda: self._copy_late(incarnation))
        else:
            self._copy_failed(f"the copy took longer than {self.file.timing.copy} ms")

    def _ready_to_receive(self, message: messages.Ready) -> None:
        if self.state is not State.COPYING or self._colo is None:
            return
        if message.text:
            self._copy_failed(f"{self.other}: {message.text}")
            return
        self.path.door.remembering = True
        self._colo.mirror.copy(self._disk_copied)
        self._look_at_copy()

    def _disk_copied(self) -> None:
        if self.state is State.COPYING:
            self._be_patient()
            self._wire.say(messages.Numbers(numbers.taken(self.path.rewriter)))
            self._open_channel(self.other, listen=False)

    def _look_at_copy(self) -> None:
        if self.state is not State.COPYING or self._driving is not None or self._colo is None:
            return
        if self._colo.mirror.copying:
            self._colo.monitor.execute("query-block-jobs", None, self._disk_stands)
        else:
            self._colo.monitor.execute("query-migrate", None, self._copy_stands)

    def _disk_stands(self, answer: Sequence[Mapping[str, Any]] | None, _why: str | None) -> None:
        for job in answer or ():
            if self._progress is None or job["offset"] != self._progress.transferred:
                self._be_patient()
            self._tell_progress("disk", job["offset"], job["len"] - job["offset"], job["len"])
        self.loop.after(LOOK, self._look_at_copy)

    def _copy_stands(self, answer: Mapping[str, Any] | None, _why: str | None) -> None:
        if ram := (answer or {}).get("ram"):
            self._tell_progress("memory", ram["transferred"], ram["remaining"], ram["total"])
        self.loop.after(LOOK, self._look_at_copy)

    def _tell_progress(self, what: str, transferred: int, remaining: int, total: int) -> None:
        if self.state is State.COPYING:
            self._progress = CopyProgress(
                time=self.clock.now(), guest=self.file.name, what=what, transferred=transferred, remaining=remaining,
                total=total,
            )  # fmt: skip
            self._report(self._progress)

    def _copy_runs(self) -> None:
        self._running = True
        self._ask_first()

    def _ask_first(self) -> None:
        """When the copy has run for a while: from the checkpoint on clients wait for what it says."""
        incarnation = self._incarnation

        def ask() -> None:
            if self.state is State.COPYING and incarnation == self._incarnation:
                self._want("first")

        if self._running and self._driving is not None:
            self.loop.after(WARM, ask)

    def _pair(self) -> None:
        self._ask_lease(lease.pair(self.host, self.other, self.generation), lambda: self.fire(E.GRANTED))

    def _tell(self) -> None:
        """What leaves from now on, both have said; and it leaves while the secondary hears from us."""
        self._paired = True
        self.path.mouth.patient = True
        self._let_speak(self._heard_until)
        self._wire.say(messages.Paired(self.generation))

    def _yield(self) -> None:
        """The secondary is to live."""
        self._wire.say(messages.Yielded())
        was, self._machine = self._machine, None
        self._detach()
        if was is not None:
            was.kill()
        self.path.off()
        self._plug_in(False)
        self._forget_pair()

    def _migration(self, status: str) -> None:
        if self._colo is None:
            return
        if status == "colo" and self.state is State.COPYING:
            self._colo.active = True
            self._begin_driving()
            self.path.copied()
            self._ask_first()
        elif status == "colo" and self.state is State.RECEIVING:
            self._colo.active = True
        elif status == "failed" and self.state in (State.COPYING, State.RECEIVING):
            self._copy_failed("QEMU says that the copy failed")
