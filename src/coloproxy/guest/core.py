"""What all parts of an agent share: its pieces, its state, and how that changes."""

import abc
import contextlib
import math
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path as Files
from typing import Any

from coloproxy.compare.events import (
    AgentChanged,
    CheckpointRequested,
    CopyProgress,
    Event,
    GuestCheckpoint,
    TakenOver,
    Warned,
)
from coloproxy.errors import ColoproxyError
from coloproxy.guest import disk, messages, numbers, qemu
from coloproxy.guest import states as table
from coloproxy.guest.bridge import Plug
from coloproxy.guest.channel import Channel
from coloproxy.guest.colo import Colo
from coloproxy.guest.config import File
from coloproxy.guest.driving import Driving
from coloproxy.guest.jobs import Jobs
from coloproxy.guest.machine import Machine
from coloproxy.guest.memory import Memory, Remembered
from coloproxy.guest.mirror import Mirror, Written
from coloproxy.guest.monitor import Aio, Monitor
from coloproxy.guest.path import Path
from coloproxy.guest.states import Do, State
from coloproxy.guest.stores import store
from coloproxy.guest.tls import context, for_qemu
from coloproxy.guest.wire import Wire
from coloproxy.link.address import Address, parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.log import EventLog
from coloproxy.link.loop import Loop
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.topology import gathering
from coloproxy.topology.control import Command, Control
from coloproxy.topology.works import Works

E = table.Event
URGENT = -10  # niceness
REST = 1.0  # seconds until a copy that failed is tried again by itself


class Core(abc.ABC):
    """An agent without the knowledge of what to do. Raises ColoproxyError for what cannot be done here at all."""

    def __init__(self, file: File, host: str, log: EventLog) -> None:
        if host not in file.host:
            raise ColoproxyError(f"there is no host '{host}' in the file; there are {' and '.join(file.host)}.")
        self.file, self.host, self.other = file, host, file.other(host)
        self.place = file.place(host)
        self.place.mkdir(parents=True, exist_ok=True)
        self.loop, self.clock, pool = Loop(), Clock(), Pool()
        self._log = log
        log.attach(self.loop)
        self._qemu = qemu.find(file.guest)
        self._environment = qemu.environment(file.guest, self._qemu, self.place)
        self._secrets = secrets(file, host)
        self._disk = disk.prepare(file, host)  # its bytes, if it is written
        self._store = store(file.lease, file.name, file.timing.lease / 1000)
        self._memory = Memory(self.place / "state.json")
        self._aio, self._jobs = Aio(self.loop), Jobs(self.loop)
        there = meeting(file, host)
        self._wire = Wire(
            there, self.loop, self.clock.now, self._report, pool, secrecy(file, host, there.server),
            headers=file.guest.network == "vhost-user",
        )  # fmt: skip
        self.path = Path(file, host, self.loop, self.clock, pool, self._report, self._wire)
        gathers = gathering.CARD if file.guest.network == "vhost-user" else gathering.SOCKET
        self._works = Works(self.path.pieces, self.loop, self.clock, pool, gathers)
        self._plug = Plug(file.host[host].tap, file.host[host].bridge)
        control = Control(f"unix:{self.place / 'control'}", self.loop, self._commands())
        self._control = control
        self._stopping = False
        self.state = State.WAITING
        self.generation = 0
        self._valid_until = -math.inf
        self._machine: Machine | None = None
        self._monitor: Monitor | None = None
        self._colo: Colo | None = None
        self._inherited: Rewriter | None = None
        self._channel: Channel | None = None
        self._peer_state: State | None = None
        self._driving: Driving | None = None
        self._forget_pair()
        self._detail = ""  # why the state is what it is
        self._progress: CopyProgress | None = None
        self._last_checkpoint: GuestCheckpoint | None = None
        self._last_takeover: TakenOver | None = None
        self._checkpoints = 0
        self._ticked = time.monotonic()
        self._unheard = 0.0  # seconds for which we have worked, and heard nothing of the other agent
        self._heard_until = -math.inf  # it cannot have missed us before then
        self._unwhole = False  # the disk was a secondary's, and it is not written down that it is whole
        self._answers = False  # QEMU has greeted us
        self._unanswered: float | None = None  # seconds that it has been taking for an answer; None: nothing was asked
        self._unasked = 0.0  # seconds since the last answer
        self._hung = False  # it takes too many
        self._rests_until = -math.inf  # no copy is begun by itself before then
        self._asks = 0  # questions to the lease
        self._incarnation = 0
        be_urgent()

    # What the parts do

    @abc.abstractmethod
    def _actions(self) -> Mapping[Do, Callable[[], None]]:
        """What is done for each word of the table."""

    @abc.abstractmethod
    def _commands(self) -> Mapping[str, Command]:
        """What can be said on the control socket."""

    @abc.abstractmethod
    def _qemu_says(self, name: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU's, at once when it comes."""

    @abc.abstractmethod
    def _want(self, reason: str) -> None:
        """A checkpoint is needed."""

    # What is said of it

    def _report(self, event: Event) -> None:
        self._log.write(event)
        if isinstance(event, CheckpointRequested):
            self._want(event.reason)

    def warn(self, text: str) -> None:
        self._report(Warned(time=self.clock.now(), text=text))

    def _remember(self) -> None:
        identity = self._machine.identity if self._machine is not None else None
        has = self.state in table.PRIMARY or self.state is State.FAILING_OVER
        known = numbers.taken(self.path.rewriter) if has else []
        try:
            self._memory.write(Remembered(state=self.state, generation=self.generation, qemu=identity, numbers=known))
        except OSError as error:  # a secondary's overlays are there too
            self.warn(f"folder {self.place}: {error.strerror}; the next agent here would not know of this one's state")

    def fire(self, event: table.Event, detail: str = "") -> None:
        """Something happened. Raises ColoproxyError if it cannot have."""
        after, do = table.following(self.state, event)
        changed = after is not self.state
        if changed:
            self._change(after, event, detail)
        self._actions()[do]()
        if changed:
            self._remember()

    def _change(self, after: State, happened: str, detail: str) -> None:
        before, self.state, self._detail = self.state, after, detail
        self._report(
            AgentChanged(
                time=self.clock.now(), guest=self.file.name, host=self.host, before=before, after=after,
                happened=happened, detail=detail,
            )
        )  # fmt: skip
        self._wire.say(messages.Beat(self.state, time.monotonic()))

    def _let_speak(self, until: float) -> None:
        """What the guest says leaves until then, seconds of the monotonic clock, unless more time is given."""
        self.path.mouth.give(until, self.clock.now())

    def _can(self, event: table.Event) -> bool:
        return event in table.TABLE[self.state]

    def _qemu_refused(self, what: str) -> None:
        if self.state in (State.COPYING, State.RECEIVING):
            self._copy_failed(what)
        elif self._can(E.BROKEN):
            self.fire(E.BROKEN, what)

    def _launch(self, incoming: str | None, then: Callable[[], None]) -> None:
        try:
            more = [*disk.arguments(self.file, self.host, incoming is not None), *self._secrets]
            command = qemu.command(self.file.guest, self._qemu, self.place, incoming, more)
            self._machine = Machine.start(command, self._environment, self.place, self.loop, self._machine_ended)
        except ColoproxyError as error:
            self.fire(E.BROKEN, str(error))
            return
        self._attach(then)

    def _attach(self, then: Callable[[], None]) -> None:
        """Speak to QEMU, be its network, and go on when it answers."""
        self._answers, self._unanswered, self._hung = False, None, False

        def ready() -> None:
            self._answers = True
            if not self.path.guest.early:
                self.path.guest.connect()
            colo.prepare(then)

        if self.path.guest.early:
            self.path.guest.connect()

        self._monitor = Monitor(
            self._aio, parse_address(f"unix:{self.place / 'qmp'}"), self._qemu_says, ready, self._machine_ended
        )
        mirror = Mirror()
        if self._disk:
            mirror = Written(self._monitor, self.loop, self.file, self.host, self._qemu_refused)
        self._colo = colo = Colo(
            self._monitor, self.loop, self._qemu_refused, mirror, self.other if self._secrets else None)  # fmt: skip

    def _machine_ended(self) -> None:
        if self._machine is None:
            return
        self._machine.kill()
        self._machine = None
        self._detach()
        if self._can(E.BROKEN):
            self.fire(E.BROKEN, "QEMU ended")

    def _detach(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = self._colo = None
        self._unwhole = False
        self._shut_channel()
        self.path.guest.disconnect()

    def _discard(self) -> None:
        """End the guest that is here."""
        was, self._machine = self._machine, None
        self._detach()
        if was is not None:
            was.kill()
        if self._disk:
            disk.remove_overlays(self.place)
        self.path.off()
        self._plug_in(False)
        self._wire.say(messages.Parted(self._detail or "the other host's guest is ended"))
        self._inherited = None
        self._forget_pair()

    def _plug_in(self, up: bool) -> None:
        """Whether the network leads here."""
        try:
            (self._plug.up if up else self._plug.down)()
        except ColoproxyError as error:
            self.warn(str(error))

    def _forget_pair(self) -> None:
        """What is known of a pair that is no more, or not yet."""
        self._stop_driving()
        self._running = False  # the secondary's guest runs
        self._loaded = False  # the secondary is a copy again, and our QEMU has not yet said that it stopped
        self._stopped = False  # the secondary's guest stands still for a checkpoint
        self._paired = False
        self._lost_at: float | None = None
        self._steps: dict[str, float] = {}
        self._why = ""

    def _stop_driving(self) -> None:
        """No more checkpoints are asked for."""
        if self._driving is not None:
            self._driving.end()
            self._driving = None

    def _begin_loss(self, why: str) -> None:
        if self._lost_at is None:
            self._lost_at, self._why = time.monotonic(), why

    def _step(self, what: str) -> None:
        if self._lost_at is not None:
            self._steps.setdefault(what, round(time.monotonic() - self._lost_at, 6))

    def _open_channel(self, host: str, listen: bool) -> None:
        """The connection between both QEMUs, to or at a host."""

        def made(sock: socket.socket) -> None:
            if self._colo is not None and self._channel is not None:
                (self._colo.receive if listen else self._colo.copy)(self._channel, sock)

        self._shut_channel()
        try:
            self._channel = Channel(self.file.host[host], listen, self.loop, made)
        except ColoproxyError as error:
            self._copy_failed(str(error))

    def _shut_channel(self) -> None:
        if self._channel is not None:
            self._channel.shut()
            self._channel = None

    def _copy_failed(self, why: str) -> None:
        self._wire.say(messages.Parted(why))
        self.fire(E.COPY_FAILED, why)

    def protect(self) -> None:
        """Make a secondary. Raises ColoproxyError if none can be."""
        if not self._wire.connected or self._peer_state not in (State.WAITING, State.FAILED):
            state = self._peer_state if self._wire.connected else "not there"
            raise ColoproxyError(f"the agent of {self.other} is {state}; it must be waiting.")
        self.fire(E.PROTECT)

    def _look_for_protection(self) -> None:
        willing = self._wire.connected and self._peer_state in (State.WAITING, State.FAILED)
        done = self._lost_at is None  # or the guest is on its way to be alone, after which this is asked again
        rested = time.monotonic() >= self._rests_until
        if self.file.protect == "auto" and self.state is State.ALONE and willing and done and rested:
            self.protect()

    def _rest(self) -> None:
        """A copy has failed. The other host may have said before that it waits again, and not say so any more; or it
        says so at once each time, and each time the whole disk would go there."""
        self._rests_until = time.monotonic() + REST
        self.loop.after(REST, self._look_for_protection)


def secrecy(file: File, host: str, server: bool) -> ssl.SSLContext | None:
    """TLS, if the file names keys. Raises ColoproxyError if they are not good."""
    return context(Files(file.keys), host, file.other(host), server) if file.keys is not None else None


def secrets(file: File, host: str) -> list[str]:
    """QEMU's arguments for TLS, none if the file names no keys. Raises ColoproxyError if there can be none."""
    return for_qemu(Files(file.keys), host, file.other(host), file.place(host)) if file.keys is not None else []


def be_urgent() -> None:
    """Be served before others: who is late with signs of life counts as dead. With automatic groups (sched(7)) the
    group's niceness is what counts."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, URGENT)
        Files("/proc/self/autogroup").write_text(str(URGENT))


def meeting(file: File, host: str) -> Address:
    """Where the agents meet: the first of the file's hosts listens."""
    first = next(iter(file.host))
    there = file.host[first]
    place = f"[{there.address}]" if ":" in there.address else there.address
    return parse_address(f"tcp:{place}:{there.port}{',server' if host == first else ''}")
