"""Ports and elements made from a topology's file, and wired."""

from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import Address, parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.device import PacketPort, TapPort
from coloproxy.link.flow import Sink
from coloproxy.link.framed import FramedPort
from coloproxy.link.loop import Loop
from coloproxy.link.playback import CapturePort
from coloproxy.link.port import Port
from coloproxy.link.vhost.port import VhostPort
from coloproxy.topology import config
from coloproxy.topology.alter import Alter
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.element import Element
from coloproxy.topology.impair import Impair
from coloproxy.topology.plain import COPY, Buffer, Dump, Mirror, Switch
from coloproxy.topology.redirect import Redirector
from coloproxy.topology.renumber import Renumber
from coloproxy.topology.rewriting import Rewriting, Strip, Uncopied
from coloproxy.topology.wires import IN, OUT, Shape, Wire, parse_wires

PORT = Shape((IN,), (OUT,), loose=True)


class Reach(NamedTuple):
    """What the frames of a port can come to: ports, and inputs of elements that may not be readable for."""

    ports: set[Port]
    inputs: list[tuple[Element, str]]


NOWHERE = Reach(set(), [])


class Pieces(NamedTuple):
    """A topology's parts. elements: in the order in which frames pass them. every_port: those of the file and those of
    elements. reaches: what each of these leads to."""

    ports: dict[str, Port]
    elements: list[Element]
    every_port: list[Port]
    reaches: list[tuple[Port, Reach]]
    wires: list[Wire]


class Factory:
    """Makes single pieces; all share one loop, clock and pool."""

    def __init__(self, loop: Loop, clock: Clock, pool: Pool, report: Callable[[Event], None]) -> None:
        self.loop, self.clock, self.pool, self.report = loop, clock, pool, report
        self._taken: dict[tuple[str, str, int], str] = {}  # places of sockets, and who has them

    def port(self, name: str, settings: config.PortConfig) -> Port:
        """A port of the file. Raises ColoproxyError."""
        config.check(name, settings)
        shared = self.loop, self.clock.now, self.report
        if settings.tap is not None:
            return TapPort(name, settings.tap, settings.netns, *shared, self.pool, offload=settings.offload)
        if settings.packet is not None:
            return PacketPort(name, settings.packet, settings.netns, *shared, self.pool)
        if settings.capture is not None:
            return CapturePort(name, Path(settings.capture), *shared)
        if settings.vhost_user is not None:
            address = self._address(name, settings.vhost_user)
            if not address.path:
                raise ColoproxyError(f"port {name}: vhost_user = '{address.text}': write unix:PATH, it shares memory.")
            return VhostPort(name, address, *shared, self.pool, offload=settings.offload)
        return self.framed(name, settings.socket or "", settings)

    def framed(self, name: str, text: str, settings: config.PortConfig | config.Redirector) -> FramedPort:
        """A port on a socket. Raises ColoproxyError."""
        return FramedPort(
            name, self._address(name, text), self.loop, self.clock.now, self.report, self.pool,
            vnet_hdr=settings.vnet_hdr, patient=settings.untaken == "wait",
        )  # fmt: skip

    def _address(self, name: str, text: str) -> Address:
        """An address that no other port has. Raises ColoproxyError."""
        try:
            address = parse_address(text)
        except ColoproxyError as error:
            raise ColoproxyError(f"port {name}: {error}") from None
        other = self._taken.setdefault(address.place, name)
        if other != name:
            raise ColoproxyError(f"ports {other} and {name} have one address, {text}; each needs its own.")
        return address

    def element(self, name: str, settings: config.ElementConfig) -> Element:
        """An element of the file. Raises ColoproxyError."""
        match settings:
            case config.Mirror():
                return Mirror(name)
            case config.Redirector():
                return Redirector(name, settings, self.framed)
            case config.Switch():
                return Switch(name)
            case config.Strip():
                return Strip(name)
            case config.Rewriter():
                made = Rewriting if settings.copies else Uncopied
                return made(name, settings, self.clock, self.report)
            case config.ComparatorElement():
                return Comparing(name, settings, self.clock, self.report, self.loop)
            case config.Buffer():
                return Buffer(name, settings, self.clock.now)
            case config.Dump():
                return Dump(name, settings, self.report)
            case config.Impair():
                return Impair(name, settings)
            case config.Renumber():
                return Renumber(name, settings)
            case config.Alter():
                return Alter(name, settings)


def build(
    topology: config.Topology, loop: Loop, clock: Clock, pool: Pool, report: Callable[[Event], None]
) -> Pieces:  # fmt: skip
    """Make a topology, everything closed yet. Raises ColoproxyError for what cannot be made, or wired so."""
    factory = Factory(loop, clock, pool, report)
    ports = {name: factory.port(name, each) for name, each in topology.port.items()}
    elements = {name: factory.element(name, each) for name, each in topology.element.items()}
    shapes = {**dict.fromkeys(ports, PORT), **{name: element.shape for name, element in elements.items()}}
    wires = parse_wires(topology.wires, shapes)
    return Wiring(ports, elements, wires).pieces()


class Way(NamedTuple):
    """The way of frames through an element: the outputs that they may leave by, whichever input they came in by."""

    name: str
    outputs: tuple[str, ...]


class Wiring:
    """Joins ports and elements by wires."""

    def __init__(self, ports: dict[str, Port], elements: dict[str, Element], wires: list[Wire]) -> None:
        self.ports = ports
        self.elements = elements
        self.wires = wires
        self.next = {wire.source: wire.target for wire in wires}
        # Every port, those of elements too, and the output that leads on from it.
        self.sources = [(port, (name, OUT)) for name, port in ports.items()]
        self.sources += [(port, (element.name, OUT)) for element in elements.values() for port in element.ports()]

    def pieces(self) -> Pieces:
        for wire in self.wires:
            self._join(wire)
        elements = self._in_order()
        for element in elements:
            element.wired()
            if isinstance(element, Mirror):
                out, copy = list(self._path((element.name, OUT))), list(self._path((element.name, COPY)))
                element.apart = alters(out) or (alters(copy) and keeps(out))
        self._check_headers()
        reaches = [(port, self._reach(source) if port.take else NOWHERE) for port, source in self.sources]
        return Pieces(self.ports, elements, [port for port, _ in self.sources], reaches, self.wires)

    def _join(self, wire: Wire) -> None:
        (name, channel), (following, entrance) = wire
        sink: Sink = self.ports[following] if following in self.ports else self.elements[following].inlet(entrance)
        if name in self.ports:
            self.ports[name].take = sink.batch
        else:
            self.elements[name].outs[channel] = sink

    def _path(self, source: tuple[str, str]) -> Iterator[Port | tuple[Element, str]]:
        """What lies behind an output: ports, and elements with the input entered."""
        seen: set[tuple[str, str]] = set()
        ahead = [source]
        while ahead:
            target = self.next.get(ahead.pop())
            if target is None or target in seen:
                continue
            seen.add(target)
            name, channel = target
            if name in self.ports:
                yield self.ports[name]
                continue
            element = self.elements[name]
            yield element, channel
            yield from element.ports()
            ahead += [(name, out) for out in element.leads_to(channel)]

    def _reach(self, source: tuple[str, str]) -> Reach:
        path = list(self._path(source))
        ports = {each for each in path if isinstance(each, Port)}
        return Reach(ports, [each for each in path if isinstance(each, tuple) and each[0].gate(each[1]) is not None])

    def _in_order(self) -> list[Element]:
        """The elements, each behind those whose frames it gets. Raises ColoproxyError if there is a circle."""
        before: dict[Way, set[Way]] = {}
        for (name, channel), (following, entrance) in self.next.items():
            here = {way for way in self._ways(name) if channel in way.outputs}
            before.setdefault(self._way(following, entrance), set()).update(here)
        try:
            order = list(TopologicalSorter({way: sorted(ways) for way, ways in before.items()}).static_order())
        except CycleError as error:
            circle = " -> ".join(way.name for way in error.args[1])
            raise ColoproxyError(f"wires: frames would go round for ever: {circle}; take one of these away.") from None
        first = {way.name: -at for at, way in enumerate(reversed(order))}
        return sorted(self.elements.values(), key=lambda element: first.get(element.name, -len(order)))

    def _ways(self, name: str) -> set[Way]:
        inputs = self.elements[name].shape.inputs if name in self.elements else ()
        return {self._way(name, entrance) for entrance in inputs}

    def _way(self, name: str, entrance: str) -> Way:
        return Way(name, tuple(self.elements[name].leads_to(entrance)) if name in self.elements else ())

    def _check_headers(self) -> None:
        """Frames with virtio-net headers, which count on their receiver to cut and sum them, may not come to a port
        that has no place for these headers."""
        for port, source in self.sources:
            if not port.vnet_hdr or port.plain:
                continue
            for each in self._path(source):
                if isinstance(each, Port) and not each.vnet_hdr:
                    raise ColoproxyError(
                        f"wires: frames of port {port.name} have virtio-net headers, and port {each.name} has none:"
                        f" set vnet_hdr at {each.name}, or have {port.name} do without."
                    )


def alters(path: Iterable[Port | tuple[Element, str]]) -> bool:
    """Whether an element on the way changes frames where they lie."""
    return any(isinstance(each, tuple) and each[0].alters for each in path)


def keeps(path: Iterable[Port | tuple[Element, str]]) -> bool:
    """Whether something on the way refers to frames for longer than the call."""
    return any(each[0].keeps if isinstance(each, tuple) else each.keeps for each in path)
