"""A guest's network card as a port: its other end comes and goes with QEMU."""

from collections.abc import Callable
from typing import Any

from coloproxy.link.endpoint import Endpoint
from coloproxy.link.framed import FramedPort
from coloproxy.link.loop import Loop
from coloproxy.link.vhost.port import VhostPort


class OnDemand:
    """A port that is connected when told to be, so that no time is lost on attempts while there is no QEMU. `early`:
    before QEMU answers on its monitor, for it waits for us."""

    early = False
    name: str
    connected: Any
    _endpoint: Endpoint
    _loop: Loop
    _connected: Callable[[Endpoint], None]
    _lost: Callable[[str], None]

    def open(self) -> None:
        """Wait to be told."""

    def connect(self) -> None:
        """QEMU is there: connect to it, and again should it hang up."""
        self.disconnect()
        self._endpoint = Endpoint(self.name, self._endpoint.address, self._loop, self._connected)
        self._endpoint.start()

    def disconnect(self) -> None:
        """QEMU is no longer there: what waits for it is dropped."""
        if self.connected:
            self._lost("its QEMU is ended")
        self._endpoint.close()


class GuestPort(OnDemand, FramedPort):
    """Over QEMU's framing."""


class GuestCard(OnDemand, VhostPort):
    """Through shared memory."""

    early = True
