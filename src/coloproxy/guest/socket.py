"""The socket of a guest's network card: a port whose other end comes and goes with QEMU."""

from coloproxy.link.endpoint import Endpoint
from coloproxy.link.framed import FramedPort


class GuestPort(FramedPort):
    """Connected when told to be, so that no time is lost on attempts while there is no QEMU."""

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
