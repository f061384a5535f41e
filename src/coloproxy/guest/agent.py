"""The agent of one host: its QEMU, its part of the network, its connection to the other agent, and what it does when
something happens to one of them. What may happen when is said by `states`."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coloproxy import __version__
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.guest import lease, messages, numbers
from coloproxy.guest import states as table
from coloproxy.guest.machine import Machine, alive
from coloproxy.guest.primary import Primary
from coloproxy.guest.secondary import Secondary
from coloproxy.guest.states import Do, State
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.topology.control import Command

E = table.Event
LOOKS = 10  # questions to QEMU in the time in which it must answer one


class Agent(Primary, Secondary):
    """Works until `stop()`; the guest goes on without it, and is found again. Raises ColoproxyError for what cannot be
    done here at all."""

    def run(self) -> None:
        """Work until stopped."""
        self._wire.heard, self._wire.met, self._wire.lost_peer = self._hear, self._met, self._lost_peer
        with self._works.opened(self._control):
            try:
                self._plug.attach()
                for text in self._qemu.warnings():
                    self.warn(text)
                self._recover()
                self._tick()
                self._renewing()
                self._works.gate()
                while not self._stopping:
                    self._works.turn()
            finally:
                if self._machine is not None:
                    self._machine.let_be()
                if self._monitor is not None:
                    self._monitor.close()
                self._aio.close()
                self._jobs.close()
                self._plug.close()

    def stop(self) -> None:
        """End the agent; the guest goes on."""
        self._stopping = True

    def _recover(self) -> None:
        """Find again what was here before: a primary's guest is kept, a copy is of no use any more."""
        was = self._memory.read()
        self.generation = was.generation
        if not alive(was.qemu):
            return
        assert was.qemu is not None
        kept = was.state in table.PRIMARY - {State.STARTING} or was.state is State.FAILING_OVER
        self._machine = Machine(was.qemu, self.loop, self._machine_ended)
        if not kept:
            self._discard()
            self._remember()
            return
        self._unwhole = bool(self._disk)
        self.path.alone(first=True)
        numbers.given(self.path.rewriter, was.numbers)
        succeeding = was.state is State.FAILING_OVER  # the other host is to be fenced first
        state = State.TAKING_OVER if succeeding else State.DECIDING
        self._change(state, "found again", f"a guest that was {was.state}")
        self._begin_loss("the agent was started anew")
        self._attach(self._found)

    def _found(self) -> None:
        self._unwhole = False
        if self.state is State.DECIDING:  # one that fails over merges when it has left COLO
            self._merge()
        self._claim()

    def _actions(self) -> Mapping[Do, Callable[[], None]]:
        return {
            Do.NOTHING: lambda: None, Do.START: self._start, Do.SPEAK: self._speak, Do.SILENCE: self._silence,
            Do.COPY: self._copy, Do.RECEIVE: self._receive, Do.PAIR: self._pair, Do.TELL: self._tell,
            Do.CLAIM: self._claim, Do.SEPARATE: self._separate, Do.SUCCEED: self._fence, Do.YIELD: self._yield,
            Do.DISCARD: self._discard,
        }  # fmt: skip

    def _qemu_says(self, name: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU's, at once when it comes."""
        primary = self.state in table.PRIMARY
        if name == "STOP":
            self._primary_stopped() if primary else self._secondary_stopped()
        elif name == "RESUME":
            self._primary_resumed() if primary else self._secondary_resumed()
        elif name == "MIGRATION":
            self._migration(str(data.get("status")))
        elif name == "COLO_EXIT":
            self._left_colo()
        elif name == "QUORUM_REPORT_BAD":
            self._disk_failed(str(data.get("node-name")), str(data.get("type")), str(data.get("error")))
        elif self._colo is not None:
            self._colo.mirror.heard(name, data)

    def _left_colo(self) -> None:
        assert self._colo is not None
        self._step("QEMU let go")
        self._colo.exited()
        if self._colo.active and self._can(E.LOST) and self.state not in (State.DECIDING, State.TAKING_OVER):
            self._lose("QEMU lost the other QEMU")

    def _met(self) -> None:
        self._wire.say(messages.Hello(self.file.name, self.host, self.state, __version__))

    def _lost_peer(self, why: str) -> None:
        self._peer_state = None
        self._lose(f"the other agent: {why}")

    def _tick(self) -> None:
        """Give a sign of life; look for the other agent's, and for QEMU's. Who did not work itself meanwhile, for
        others had the processor, has no right to wonder: of the time since the last look only what is usual counts."""
        every, now = self.file.timing.heartbeat / 1000, time.monotonic()
        self.loop.after(every, self._tick)
        passed, before, self._ticked = min(now - self._ticked, 2 * every), self._ticked, now
        if self._wire.connected:
            self._wire.say(messages.Beat(self.state, now))
            self._unheard = min(now - self._wire.last, passed + (0.0 if self._wire.last > before else self._unheard))
            if self._unheard > every * self.file.timing.misses:
                self._wire.hang_up(f"no sign of life for {now - self._wire.last:.3f} s")
        if self._monitor is not None and self._answers:
            self._look_after_qemu(passed)

    def _look_after_qemu(self, passed: float) -> None:
        """It must answer one question before the next is asked, which is not at once: that costs more than it says."""
        patience = self.file.timing.monitor / 1000
        if self._unanswered is None:
            self._unasked += passed
            if self._unasked < patience / LOOKS:
                return
            self._unanswered, self._unasked = 0.0, 0.0
            assert self._monitor is not None
            self._monitor.execute("query-status", None, self._qemu_answered)
            return
        self._unanswered += passed
        if self._unanswered > patience and not self._hung:
            self._hung = True
            why = f"QEMU does not answer for {self._unanswered:.1f} s"
            self.warn(why)
            if self._can(E.HUNG):
                self.fire(E.HUNG, why)

    def _qemu_answered(self, _status: object, why: str | None) -> None:
        if why is None:
            self._unanswered, self._hung = None, False

    def _hear(self, message: messages.Any) -> None:
        match message:
            case messages.Hello():
                self._greeted(message)
            case messages.Beat():
                self._wire.say(messages.Heard(message.said))
                before, self._peer_state = self._peer_state, State(message.state)
                if before is not self._peer_state:
                    self._look_for_protection()
            case messages.Heard():
                self._was_heard(message.said)
            case messages.Receive():
                self._asked_to_receive(message)
            case messages.Ready():
                self._ready_to_receive(message)
            case messages.Numbers():
                self._inherited = Rewriter()
                numbers.given(self._inherited, message.connections)
            case messages.Paired():
                self.generation, self._paired = message.generation, True
            case messages.Running():
                self._copy_runs()
            case messages.Stopped():
                pass  # what is in front of it has been taken
            case messages.Loaded():
                self._copy_loaded()
            case messages.Yielded():
                if self._can(E.HAND_OVER) and self.state in table.SECONDARY:
                    self._begin_loss("handed over")
                    self.fire(E.HAND_OVER)
            case messages.Parted():
                self._parted(message.text)

    def _greeted(self, hello: messages.Hello) -> None:
        if (hello.guest, hello.host) != (self.file.name, self.other):
            self.warn(f"an agent of {hello.guest} on {hello.host} came; expected was {self.file.name} on {self.other}")
            self._wire.hang_up("another guest's agent")
            return
        if hello.version != __version__:
            self.warn(f"the other agent is coloproxy {hello.version}, this one {__version__}")
        self._peer_state = State(hello.state)
        self._look_for_protection()

    def _was_heard(self, said: float) -> None:
        """Until so much later the other agent cannot have missed us, whatever we do: until then we may speak."""
        self._heard_until = said + self.file.timing.heartbeat * self.file.timing.misses / 1000
        if self._paired and self.state in (State.PROTECTED, State.CHECKPOINTING):
            self._let_speak(self._heard_until)

    def _asked_to_receive(self, asked: messages.Receive) -> None:
        if not self._can(E.ASKED):
            self._wire.say(messages.Ready(f"it is {self.state}"))
        elif asked.disk != self._disk:
            self._wire.say(messages.Ready(f"its disk has {self._disk} bytes to write to, not {asked.disk}"))
        else:
            self.generation = asked.generation
            self.fire(E.ASKED)

    def _parted(self, why: str) -> None:
        if self.state is State.RECEIVING:
            self.fire(E.COPY_FAILED, why)
        elif self.state in (State.STANDBY, State.LOADING, State.TAKING_OVER):
            self.fire(E.BROKEN, why)
        elif self.state in (State.COPYING, State.PAIRING, State.PROTECTED, State.CHECKPOINTING):
            self._lose(f"the other agent: {why}")

    def _commands(self) -> Mapping[str, Command]:
        def trying(call: Callable[[], None]) -> Command:
            def command() -> Mapping[str, Any] | None:
                try:
                    call()
                except ColoproxyError as error:
                    return {"ok": False, "error": str(error)}
                return None

            return command

        return {
            "status": self.status,
            "up": trying(lambda: self.fire(E.UP)),
            "protect": trying(self.protect),
            "checkpoint": trying(self.checkpoint),
            "failover": trying(lambda: self.fire(E.HAND_OVER, "asked for")),
            "down": trying(self.down),
            "stop": trying(self.stop),
        }

    def down(self) -> None:
        """End the guest, here and there. Raises ColoproxyError if its disk would be of no use afterwards."""
        if self._unwhole:
            raise ColoproxyError(f"the disk of {self.host} is being merged, or the lease cannot be told that it is "
                                 "whole: it would be of no use; ask again in a moment.")  # fmt: skip
        had = self.state in table.PRIMARY
        self.fire(E.DOWN)
        if had:
            decide = lease.give_up(self.host, self.generation)
            self._jobs.begin(lambda: self._store.change(decide), lambda *_: None)

    def status(self) -> Mapping[str, Any]:
        """What is to be known of it now."""
        account = self.path.comparator.accounting()
        return {
            "guest": self.file.name, "host": self.host, "state": self.state, "role": table.role(self.state),
            "peer": self._peer_state if self._wire.connected else None, "generation": self.generation,
            "paired": self._paired, "detail": self._detail,
            "qemu": ".".join(map(str, self._qemu.version)), "accelerator": self._qemu.accelerator,
            "pid": self._machine.identity.pid if self._machine is not None else None,
            "checkpoints": self._checkpoints,
            "copy": _plain(self._progress), "checkpoint": _plain(self._last_checkpoint),
            "takeover": _plain(self._last_takeover),
            "divergences": sum(account.divergences.values()), "verified_bytes": account.verified_bytes,
        }  # fmt: skip


def _plain(event: Event | None) -> Any:
    return None if event is None else msgspec.to_builtins(event)
