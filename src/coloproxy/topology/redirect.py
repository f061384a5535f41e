"""The redirector: frames to a socket, and frames from one, in place of wires."""

from collections.abc import Callable, Mapping, Sequence

from coloproxy.compare.comparator import Batch
from coloproxy.errors import ColoproxyError
from coloproxy.link.flow import Sink, Take
from coloproxy.link.port import Port
from coloproxy.topology import config
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Shape

MakePort = Callable[[str, str, config.Redirector], Port]  # by name and address


class Redirector(Element):
    """What comes in goes to the socket `outdev`; what the socket `indev` brings goes on."""

    keeps = True

    def __init__(self, name: str, settings: config.Redirector, port: MakePort) -> None:
        super().__init__(name)
        if settings.indev is None and settings.outdev is None:
            raise ColoproxyError(f"element {name}: a redirector needs indev, outdev or both.")
        self.shape = Shape((IN,) if settings.outdev else (), (OUT,) if settings.indev else ())
        self._in = port(f"{name}.indev", settings.indev, settings) if settings.indev else None
        self._out = port(f"{name}.outdev", settings.outdev, settings) if settings.outdev else None
        if self._in is not None:
            self._in.take = self._arrived

    def ports(self) -> Sequence[Port]:
        return [port for port in (self._in, self._out) if port is not None]

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._out.batch} if self._out is not None else {}

    def inlet(self, channel: str) -> Sink:
        assert self._out is not None
        return self._out

    def _arrived(self, batch: Batch, now: float) -> None:
        self.outs[OUT].batch(batch, now)

    def leads_to(self, channel: str) -> Sequence[str]:
        return ()
