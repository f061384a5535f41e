"""What an agent does when the other side is lost: find out who may live, then live."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping

from coloproxy.compare.events import TakenOver
from coloproxy.guest import disk, lease, messages
from coloproxy.guest import states as table
from coloproxy.guest.colo import Colo
from coloproxy.guest.leasing import AGAIN, Leasing
from coloproxy.guest.states import State

E = table.Event


FENCE_AGAIN = 1.0  # seconds until the command is run again
SLOW = 60.0  # seconds after which a merge is said to take long, again each time


class Loss(Leasing):
    """Steps are told with their times."""

    def _lose(self, why: str) -> None:
        """The other side counts as lost from now on."""
        if self.state in table.IN_STEP | table.SECONDARY and self.state is not State.RECEIVING:
            self._begin_loss(why)
        if self._can(E.LOST):
            self.fire(E.LOST, why)

    def _claim(self) -> None:
        """Ask who may live; meanwhile QEMU is got out of COLO, which is over in any case."""
        self._begin_loss("asked for")
        if self._colo is not None and self._colo.active and not self._colo.left:
            self._colo.break_off()
        if self._monitor is not None:
            self._monitor.execute("query-status", None, lambda _, why: self._claim_alive(why))

    def _claim_alive(self, why: str | None) -> None:
        """Only who has a QEMU that answers may want to live: the other side's may, and the lease goes to one."""
        if why is None and self.state in (State.DECIDING, State.TAKING_OVER):
            merging = bool(self._disk) and self.state is State.TAKING_OVER
            self._ask_lease(lease.claim(self.host, self.generation, merging), lambda: self.fire(E.GRANTED))

    def _separate(self) -> None:
        """The primary goes on alone."""
        self._step("lease")
        self._paired = False
        self._let_speak(min(self.path.mouth.until, self._valid_until))  # from now on the lease must last
        self._wire.say(messages.Parted(self._why or "the copy is given up"))
        if self._colo is None:
            return
        if self._driving is None and self.state is not State.ALONE:
            self._cancel(self._colo)
            return
        in_colo = self._driving is not None or self._lost_at is not None
        self._stop_driving()
        if in_colo:
            self._colo.go_on_alone(self._separated)
        else:
            self._cancel(self._colo)
            self._rest()

    def _cancel(self, colo: Colo) -> None:
        """Give up a first copy."""
        colo.cancel()
        self.path.door.remembering = False

    def _separated(self) -> None:
        self._step("QEMU runs alone")
        self.path.alone(first=False)
        self.path.mouth.patient = False
        if self.state is State.ALONE:
            self._let_speak(self._valid_until)
            self._step("network")
            self._plug_in(True)
            if self._lost_at is not None:
                self._tell_takeover("primary")
            self._look_for_protection()

    def _fence(self) -> None:
        """The secondary may live. Make sure that the primary does not, if the file says how."""
        self._step("lease")
        self._wire.say(messages.Parted(f"{self.host} takes over"))
        if self.file.fence is None:
            self._succeed()
        else:
            self._fence_again(self._asks)

    def _fence_again(self, granted: int) -> None:
        """`granted`: the number of the question to the lease that was answered by yes."""
        if self.state is not State.FAILING_OVER or self._asks != granted:
            return
        command, seconds = self.file.fence or "", self.file.timing.fence / 1000
        variables = {**os.environ, "COLOPROXY_GUEST": self.file.name, "COLOPROXY_HOST": self.other}

        def fenced(status: int | None, error: Exception | None) -> None:
            if self.state is not State.FAILING_OVER or self._asks != granted:
                return
            if status == 0:
                self._step("fence")
                self._succeed()
            else:
                self.warn(f"fence: {error or f'ended with status {status}'}; it is tried again")
                self.loop.after(FENCE_AGAIN, lambda: self._fence_again(granted))

        self._jobs.begin(lambda: fence(command, variables, seconds), fenced)

    def _succeed(self) -> None:
        if self._colo is not None:
            self._colo.go_on_alone(self._succeeded)

    def _succeeded(self) -> None:
        if self.state is not State.FAILING_OVER:
            return
        self._step("QEMU runs alone")
        self.path.alone(first=False)
        self._merge()
        self.fire(E.ALIVE)

    def _merge(self) -> None:
        """The disk was a secondary's, and becomes whole while the guest runs."""
        colo, path = self._colo, self.file.disk(self.host)
        if self._disk and colo is not None and path is not None:
            self._unwhole = True
            colo.mirror.merge(lambda: self._merged(colo, path))
            self._look_at_merging(colo, path)

    def _look_at_merging(self, colo: Colo, path: str, seconds: float = SLOW) -> None:
        """QEMU does not say that it failed."""

        def look() -> None:
            if colo is self._colo and colo.mirror.merging:
                self.warn(f"disk {path}: after {seconds:.0f} s it still lacks some of what the guest wrote, and no "
                          "copy begins before it has all; look whether the image can be written")  # fmt: skip
                self._look_at_merging(colo, path, seconds + SLOW)

        self.loop.after(SLOW, look)

    def _merged(self, colo: Colo, path: str) -> None:
        """All is in the image: when it is there even if the power goes, that is written down."""
        if colo is not self._colo:
            return
        whole = lease.whole(self.host, self.generation)

        def work() -> None:
            disk.flush(path)
            self._store.change(whole)

        def told(_: None, error: Exception | None) -> None:
            if colo is not self._colo:
                return
            if error is None:
                self._unwhole = False
                disk.remove_overlays(self.place)
            elif isinstance(error, OSError):
                self._unwhole = False
                self.warn(f"disk {path}: {error.strerror}; it does not count as whole")
            else:
                self.loop.after(AGAIN, lambda: self._merged(colo, path))

        self._jobs.begin(work, told)

    def _disk_failed(self, node: str, what: str, why: str) -> None:
        """One of two images could not be written, which the guest does not hear of."""
        if what == "read" or self._colo is None or self._colo.mirror.copying:
            return  # then the other one was read, or the guest hears of it: there is one
        if node != disk.FAR:
            if self.state in table.IN_STEP | {State.COPYING, State.STANDBY, State.LOADING}:
                self.fire(E.BROKEN, f"the disk of {self.host}: {why}")
        elif self.state is State.COPYING:
            self._copy_failed(f"the disk of {self.other}: {why}")
        elif self.state in (State.PAIRING, State.PROTECTED, State.CHECKPOINTING):
            self._wire.say(messages.Parted(f"the disk of {self.other} has not all that was written: {why}"))
            self._lose(f"the disk of {self.other}: {why}")

    def _tell_takeover(self, role: str) -> None:
        self._step("network")
        self._last_takeover = TakenOver(
            time=self.clock.now(), guest=self.file.name, host=self.host, role=role, why=self._why,
            generation=self.generation, steps=self._steps,
        )  # fmt: skip
        self._report(self._last_takeover)
        self._forget_pair()


def fence(command: str, variables: Mapping[str, str], seconds: float) -> int:
    """A shell command's exit status. Raises TimeoutError, or OSError: then nothing of it goes on."""
    with subprocess.Popen(command, shell=True, env=variables, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it did not end within {seconds:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
