"""A topology at work: ports and elements made from its file, wired, and kept going on one event loop."""

import time

import msgspec

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import PortAccount, Running, Summary, TopologyState, TopologySummary, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.log import EventLog
from coloproxy.link.loop import Loop
from coloproxy.link.playback import CapturePort
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from coloproxy.topology.build import Pieces, build
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.config import Topology
from coloproxy.topology.control import Command, Control
from coloproxy.topology.plain import Switch
from coloproxy.topology.rewriting import Rewriting
from coloproxy.topology.works import Works

LAST_WRITES = 0.5  # seconds that those who read have at the end


class Runner:
    """Runs a topology until `stop()`.

        runner = Runner(load(path), log)
        runner.run()

    Raises ColoproxyError for what the file cannot mean, at once, or for what cannot be opened, from `run`.
    """

    def __init__(self, topology: Topology, log: EventLog) -> None:
        self.loop = Loop()
        self.clock = Clock()
        self._log = log
        log.attach(self.loop)
        self._topology = topology
        self._stopping = False
        self._survivor: Source | None = None  # the replica that goes on alone
        pool = Pool()
        self.pieces: Pieces = build(topology, self.loop, self.clock, pool, log.write)
        self._works = Works(self.pieces, self.loop, self.clock, pool)
        self._finite = all(isinstance(port, CapturePort) for port in self.pieces.every_port if port.take is not None)
        self._comparing = self._works.comparing
        self._rewriting = [each for each in self.pieces.elements if isinstance(each, Rewriting)]
        for element in self._comparing:
            element.completed = self._checkpoint_completed
        self._control = Control(topology.control, self.loop, self._commands()) if topology.control else None

    # The life of the process

    def run(self) -> None:
        """Work until stopped, then sum up."""
        control = () if self._control is None else (self._control,)
        with self._works.opened(*control):
            self._log.write(Running(time=self.clock.now(), name=self._topology.name, ports=list(self.pieces.ports)))
            self._works.gate()
            while not (self._stopping or self._played()):
                self._works.turn()
            self._finish()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._stopping = True

    def _played(self) -> bool:
        """Whether all there is to read are captures, and these are over, and nothing more will come of it."""
        return (
            self._finite
            and all(port.done for port in self.pieces.every_port if port.take is not None)
            and all(element.idle for element in self.pieces.elements)
            and not any(port.pending for port in self.pieces.every_port)
        )

    def _finish(self) -> None:
        """Give those who read a last chance to take what was released, and sum up."""
        for port, _ in self.pieces.reaches:
            port.read_on(False)
        self._works.pass_on(self.clock.now())
        end = time.monotonic() + LAST_WRITES
        while any(port.pending and port.connected for port in self.pieces.every_port) and time.monotonic() < end:
            self.loop.turn(end)
            self._works.pass_on(self.clock.now())  # who is told of what was sent makes room for more
        for element in self._comparing:
            self._log.write(self._summary(element))
        now = self._account()
        self._log.write(
            TopologySummary(
                time=now.time, name=now.name, ports=now.ports, elements=now.elements, cpu_seconds=time.process_time()
            )
        )

    # Commands

    def _commands(self) -> dict[str, Command]:
        return {
            "state": lambda: msgspec.to_builtins(self._account()),
            "checkpoint completed": self._checkpoint_completed,
            "checkpoint failed": self._checkpoint_failed,
            "failover secondary": lambda: self._failover(Source.SECONDARY),
            "failover primary": lambda: self._failover(Source.PRIMARY),
        }

    def _checkpoint_completed(self) -> None:
        """The secondary is a copy of the primary, and both stand still: what they said before is on its way to us."""
        self._works.drain()
        self._survivor = None
        now = self.clock.now()
        for element in self._comparing:
            element.comparator.checkpoint_completed(now)
        for rewriting in self._rewriting:
            rewriting.checkpoint_completed(now)

    def _checkpoint_failed(self) -> None:
        for element in self._comparing:
            element.comparator.checkpoint_failed(self.clock.now())

    def _failover(self, survivor: Source) -> None:
        """One replica goes on alone. Raises ColoproxyError if the other one does so already."""
        if self._survivor is not None and self._survivor is not survivor:
            raise ColoproxyError(
                f"the {self._survivor.label} goes on alone: a checkpoint must complete before the {survivor.label} can."
            )
        self._survivor = survivor
        now = self.clock.now()
        parts: list[Comparator | Rewriter] = [each.comparator for each in self._comparing]
        parts += [each.rewriter for each in self._rewriting]
        for each in parts:
            if survivor is Source.SECONDARY:
                each.failover_to_secondary(now)
            else:
                each.primary_alone(now)
        for switch in self.pieces.elements:
            if isinstance(switch, Switch) and survivor is Source.SECONDARY:
                switch.turn()

    # What is said of it

    def warn(self, text: str) -> None:
        self._log.write(Warned(time=self.clock.now(), text=text))

    def report_state(self) -> None:
        """Say what is where."""
        for element in self._comparing:
            self._log.write(element.comparator.state(self.clock.now()))
        self._log.write(self._account())

    def _account(self) -> TopologyState:
        for each in self.pieces.every_port:
            each.settle()
        return TopologyState(
            time=self.clock.now(),
            name=self._topology.name,
            ports={
                port.name: PortAccount(
                    received=port.received.counts(),
                    sent=port.sent.counts(),
                    dropped=port.dropped.counts(),
                    pending=port.pending,
                )
                for port in self.pieces.every_port
            },
            elements={element.name: element.counters() for element in self.pieces.elements},
        )

    def _summary(self, element: Comparing) -> Summary:
        now, comparator = self.clock.now(), element.comparator
        return Summary(
            time=now,
            accounting=comparator.accounting(),
            connections=comparator.state(now, 0).connection_count,
            epoch=comparator.epoch,
        )
