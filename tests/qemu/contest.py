"""Both comparators perform the same plays, and what they do is compared."""

from pathlib import Path
from typing import NamedTuple

from contestants import Coloproxy, Contestant, Qemu
from plays import Play, Step
from said import Unit

LEFTOVER = "colo_compare_main : sec: this packet has compared"  # Reason.LOG_LINES


class Outcome(NamedTuple):
    """What came out because of a step, whether a checkpoint was asked for, and what was traced."""

    out: list[Unit]
    asked: bool
    lines: list[str]

    def __str__(self) -> str:
        out = "".join(f"    {unit.vnet}: {unit.data.hex()}\n" for unit in self.out)
        return f"{'a' if self.asked else 'no'} request, {len(self.out)} frames\n{out}" + "".join(
            f"    {line}\n" for line in self.lines
        )


class Difference(NamedTuple):
    """After so many steps the two did not do the same."""

    after: int
    theirs: Outcome
    ours: Outcome

    def __str__(self) -> str:
        return f"at step {self.after}:\n  QEMU: {self.theirs}  coloproxy: {self.ours}"


class Contest:
    """Both, for many plays one after another."""

    MOST_HOSTS = 5000  # with two connections each; QEMU forgets everything at 16386 (Reason.TABLE_FULL)

    def __init__(self, folder: Path, vnet_hdr: bool, trace: bool = False) -> None:
        self.vnet_hdr = vnet_hdr
        self._trace = trace
        self._folder, self._number, self._hosts = folder, 0, 0
        self._both: tuple[Contestant, ...] = ()
        self._start()

    def _start(self) -> None:
        self.end()
        self._number, self._hosts = self._number + 1, 0
        folders = [self._folder / f"{who}{self._number}" for who in ("qemu", "ours")]
        for folder in folders:
            folder.mkdir()
        self._both = (
            Qemu(folders[0], self.vnet_hdr, self._trace),
            Coloproxy(folders[1], self.vnet_hdr, *Coloproxy.AT_ONCE, trace=self._trace),
        )
        try:
            for each in self._both:
                each.connect()
                if self._trace:
                    each.feed("p")
                    each.traced()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        for each in self._both:
            each.end()

    def perform(self, play: Play) -> Difference | None:
        """Have both perform it; the first difference. Its connections are new to both, and nothing of it stays held."""
        if self._hosts + play.hosts > self.MOST_HOSTS:
            self._start()
        host, self._hosts = self._hosts, self._hosts + play.hosts
        try:
            for number, step in enumerate(play.steps):
                theirs, ours = (self._take(each, step, host) for each in self._both)
                if theirs != ours:
                    return Difference(number, theirs, ours)
            return None
        finally:
            for each in self._both:
                each.flush()

    def _take(self, each: Contestant, step: Step, host: int) -> Outcome:
        """What it does, as far as that is to be equal: how often it asks is Reason.NOTIFY_STORM, in which order a
        checkpoint releases is Reason.RELEASE_ORDER. In which order lines are written is left to the system: that of
        the two inputs is undefined."""
        if not step.side:
            out, asked = sorted(each.flush()), False
        else:
            out = each.feed(step.side, *(said.unit(host) for said in step.said))
            asked = each.requests() > 0
        lines = sorted(line for line in each.traced() if line != LEFTOVER) if self._trace else []
        return Outcome(out, asked, lines)
