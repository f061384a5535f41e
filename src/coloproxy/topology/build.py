"""Ports and elements made from a topology's file, and wired."""

from collections.abc import Callable, Iterable, Iterator
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
from coloproxy.topology import config
from coloproxy.topology.alter import Alter
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.element import Element
from coloproxy.topology.impair import Impair
from coloproxy.topology.plain import COPY, Buffer, Dump, Mirror
from coloproxy.topology.redirect import Redirector
from coloproxy.topology.renumber import Renumber
from coloproxy.topology.rewriting import Rewriting, Strip
from coloproxy.topology.wires import IN, OUT, Shape, Wire, parse_wires

PORT = Shape((IN,), (OUT,), loose=True)


class Reach(NamedTuple):
    """What the frames of a port can come to: ports, and inputs of elements."""

    ports: set[Port]
    inputs: list[tuple[Element, str]]


class Pieces(NamedTuple):
    """A topology's parts. elements: in the order in which frames pass them. every_port: those of the file and those of
    elements. reaches: for each port from which anything is read, what it leads to."""

    ports: dict[str, Port]
    elements: list[Element]
    every_port: list[Port]
    reaches: list[tuple[Port, Reach]]
    wires: list[Wire]


class Factory:
    """Makes single pieces; all share one loop, clock and pool."""

    def __init__(self, loop: Loop, clock: Clock, pool: Pool, report: Callable[[Event], None]) -> None:
        self.loop, self.clock, self.pool, self.report = loop, clock, pool, report

    def port(self, name: str, settings: config.PortConfig) -> Port:
        """A port of the file. Raises ColoproxyError."""
        what = config.kind(name, settings)
        shared = self.loop, self.clock.now
        if what == "tap":
            assert settings.tap is not None
            return TapPort(name, settings.tap, settings.netns, *shared, self.pool, offload=settings.offload)
        if what == "packet":
            assert settings.packet is not None
            return PacketPort(name, settings.packet, settings.netns, *shared, self.pool)
        if what == "capture":
            return CapturePort(name, Path(settings.capture or ""), *shared)
        return self.framed(name, settings.socket or "", settings.vnet_hdr)

    def framed(self, name: str, address: str, vnet_hdr: bool) -> FramedPort:
        """A port on a socket. Raises ColoproxyError."""
        return FramedPort(
            name, self._address(name, address), self.loop, self.clock.now, self.pool, self.report, vnet_hdr=vnet_hdr
        )

    @staticmethod
    def _address(name: str, address: str) -> Address:
        try:
            return parse_address(address)
        except ColoproxyError as error:
            raise ColoproxyError(f"port {name}: {error}") from None

    def element(self, name: str, settings: config.ElementConfig) -> Element:
        """An element of the file. Raises ColoproxyError."""
        match settings:
            case config.Mirror():
                return Mirror(name)
            case config.Redirector():
                return Redirector(name, settings, self.framed)
            case config.Strip():
                return Strip(name)
            case config.Rewriter():
                return Rewriting(name, settings, self.clock)
            case config.ComparatorElement():
                return Comparing(name, settings, self.clock, self.report, self.loop)
            case config.Buffer():
                return Buffer(name, settings, self.clock.now)
            case config.Dump():
                return Dump(name, settings)
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


class Wiring:
    """Joins ports and elements by wires."""

    def __init__(self, ports: dict[str, Port], elements: dict[str, Element], wires: list[Wire]) -> None:
        self.ports = ports
        self.elements = elements
        self.wires = wires
        self.next = {wire.source: wire.target for wire in wires}

    def pieces(self) -> Pieces:
        for wire in self.wires:
            self._join(wire)
        for name, element in self.elements.items():
            element.wired()
            if isinstance(element, Mirror):
                out, copy = list(self._path((name, OUT))), list(self._path((name, COPY)))
                element.apart = alters(out) or (alters(copy) and keeps(out))
        inner = [port for element in self.elements.values() for port in element.ports()]
        self._check_offload()
        reaches = [(port, self._reach((name, OUT))) for name, port in self.ports.items() if port.take is not None]
        for element in self.elements.values():
            reaches += [(port, self._reach((element.name, OUT))) for port in element.ports() if port.take is not None]
        return Pieces(self.ports, self._in_order(), [*self.ports.values(), *inner], reaches, self.wires)

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
        return Reach(ports, [each for each in path if isinstance(each, tuple)])

    def _in_order(self) -> list[Element]:
        """The elements, each behind those whose frames it gets."""
        order: dict[Element, None] = {}
        for name in self.ports:
            path = [each[0] for each in self._path((name, OUT)) if isinstance(each, tuple)]
            for element in path:
                order.pop(element, None)
                order[element] = None
        for element in self.elements.values():
            order.setdefault(element)
        return list(order)

    def _check_offload(self) -> None:
        """Frames that count on their receiver to cut and sum them may not come to one that is not told so."""
        for name, port in self.ports.items():
            if not port.vnet_hdr or port.plain:
                continue
            for each in self._path((name, OUT)):
                if isinstance(each, Port) and not each.vnet_hdr:
                    raise ColoproxyError(
                        f"wires: frames of port {name} have virtio-net headers, and port {each.name} has none: set"
                        f" offload = false at {name}, or vnet_hdr = true at {each.name}."
                    )


def alters(path: Iterable[Port | tuple[Element, str]]) -> bool:
    """Whether an element on the way changes frames where they lie."""
    return any(isinstance(each, tuple) and each[0].alters for each in path)


def keeps(path: Iterable[Port | tuple[Element, str]]) -> bool:
    """Whether something on the way refers to frames for longer than the call."""
    return any(each[0].keeps if isinstance(each, tuple) else each.keeps for each in path)
