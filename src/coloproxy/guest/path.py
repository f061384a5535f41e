"""The way of frames through an agent, for each role; all of it is made once, and only its junctions are turned.

    network - strip - door - inward -alone-------------. rewriter.client - guest
                                '-paired- mirror ------' '- wire               alone and primary
    wire - fork -secondary- gate - rewriter.client - guest                     secondary
              '-primary- compare.secondary
    guest - rewriter.secondary - listener - hold - outward -alone---- mouth - network
                                                       |-primary-- compare - mouth
                                                       '-secondary- wire

The rewriter translates for connections that began under another primary. The comparator sees what clients see.
"""

from collections.abc import Callable

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import Event
from coloproxy.guest.config import File
from coloproxy.guest.elements import Door, Gate, Junction, Listener, Mouth
from coloproxy.guest.socket import GuestCard, GuestPort
from coloproxy.guest.wire import Wire
from coloproxy.link.address import Address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.device import TapPort
from coloproxy.link.loop import Loop
from coloproxy.link.port import Port
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.topology import config
from coloproxy.topology.build import PORT, Pieces, Wiring
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.element import Element
from coloproxy.topology.plain import Mirror
from coloproxy.topology.rewriting import Rewriting, Strip
from coloproxy.topology.wires import Shape, parse_wires

WIRES = (
    "network -> strip -> door -> inward",
    "inward.alone -> rewriter.client -> guest",
    "inward.paired -> mirror -> rewriter.client",
    "mirror.copy -> peer",
    "peer -> fork",
    "fork.primary -> compare.secondary",
    "fork.secondary -> gate -> rewriter.client",
    "guest -> rewriter.secondary -> listener -> hold -> outward",
    "outward.alone -> mouth -> network",
    "outward.primary -> compare.primary",
    "outward.secondary -> peer",
    "compare -> mouth",
)
LAST_READS = 64  # reads of the guest's socket, at most, when it has stopped


class Path:
    """The data path of one agent. `place` is the folder of QEMU's sockets."""

    def __init__(
        self, file: File, host: str, loop: Loop, clock: Clock, pool: Pool, report: Callable[[Event], None], wire: Wire
    ) -> None:  # fmt: skip
        self._clock = clock
        socket = file.place(host) / "guest"
        address, shared = Address(f"unix:{socket}", False, path=str(socket)), (loop, clock.now, report, pool)
        card = file.guest.network == "vhost-user"
        self.guest: GuestCard | GuestPort
        if card:
            self.guest = GuestCard("guest", address, *shared)
        else:
            self.guest = GuestPort("guest", address, *shared, vnet_hdr=False, patient=False)
        self.network = TapPort("network", file.host[host].tap, None, *shared, offload=card)
        settings = config.ComparatorElement(retry_after=file.timing.checkpoint)
        self._compare = Comparing("compare", settings, clock, report, loop)
        self._rewriting = Rewriting("rewriter", config.Rewriter(), clock, report)
        self._inward = Junction("inward", ("alone", "paired"))
        self._fork = Junction("fork", ("primary", "secondary"))
        self._outward = Junction("outward", ("alone", "primary", "secondary"))
        self.door, self.gate, self.hold = Door("door"), Gate("gate"), Gate("hold")
        self.mouth = Mouth("mouth")
        self.listener = Listener("listener", bytes.fromhex(file.guest.mac.replace(":", "")))
        elements: list[Element] = [
            Strip("strip"), Mirror("mirror"), self._compare, self._rewriting, self._inward, self._fork, self._outward,
            self.door, self.gate, self.hold, self.mouth, self.listener,
        ]  # fmt: skip
        self.pieces = wired({"guest": self.guest, "network": self.network, "peer": wire}, elements)

    @property
    def comparator(self) -> Comparator:
        return self._compare.comparator

    @property
    def rewriter(self) -> Rewriter:
        return self._rewriting.rewriter

    # Roles

    def off(self) -> None:
        """No guest is here."""
        if self._outward.way == "primary":
            self.comparator.primary_alone(self._clock.now())  # it asks for nothing any more
        self._inward.way = self._fork.way = self._outward.way = None
        self.mouth.shut()
        self.mouth.patient = False
        self.door.remembering = False
        for gate in (self.door, self.gate, self.hold):
            gate.forget()
            gate.open_up(self._clock.now())

    def alone(self, first: bool) -> None:
        """The guest runs here, unprotected. first: for the first time; otherwise its connections are kept."""
        now = self._clock.now()
        if first:
            self.rewriter.primary_alone(now)
        if first or self._fork.way == "secondary":
            self.rewriter.failover_to_secondary(now)
        self._fork.way = None
        self._inward.way = "alone"
        self.gate.forget()
        self.gate.open_up(now)
        self.door.remembering = False
        self.door.open_up(now)
        if self._outward.way != "primary":
            self._outward.way = "alone"
            self.hold.open_up(now)
            return
        self.comparator.primary_alone(now)
        self.hold.open_up(now)
        self._compare.finish(now)  # what was held leaves in front of what goes the short way
        self._outward.way = "alone"

    def copied(self) -> None:
        """A copy of the guest begins to run: it is sent what clients say; what it says is not yet compared."""
        self.comparator.primary_alone(self._clock.now())
        self.door.remembering = False
        self._outward.way = self._fork.way = "primary"
        self._inward.way = "paired"

    def secondary(self) -> None:
        """A copy of the guest is going to be here: it hears nothing before it runs."""
        now = self._clock.now()
        self.off()
        self.rewriter.primary_alone(now)
        self.rewriter.checkpoint_completed(now)
        self._outward.way = "secondary"

    def secondary_runs(self) -> None:
        """It hears what the client says."""
        self._fork.way = "secondary"

    # Checkpoints

    def last_words(self) -> None:
        """The guest has stopped: what it said until now belongs to the epoch that ends."""
        for _ in range(LAST_READS):
            if not self.guest.read():
                break

    def primary_barrier(self) -> None:
        """The copy is one again."""
        now = self._clock.now()
        self.comparator.checkpoint_completed(now)
        self.hold.open_up(now)

    def secondary_barrier(self, theirs: Rewriter | None) -> None:
        """This is a copy again. theirs: the numbers of connections that the primary's guest has under other ones."""
        now = self._clock.now()
        self.rewriter.checkpoint_completed(now, theirs)
        self._rewriting.let_go(now)
        self.gate.open_up(now)


def wired(ports: dict[str, Port], elements: list[Element]) -> Pieces:
    """The pieces, joined."""
    named = {element.name: element for element in elements}
    shapes: dict[str, Shape] = {**dict.fromkeys(ports, PORT), **{name: each.shape for name, each in named.items()}}
    return Wiring(dict(ports), named, parse_wires(WIRES, shapes)).pieces()
