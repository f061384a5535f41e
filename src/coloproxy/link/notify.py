"""The notify socket: QEMU's way of asking for checkpoints, and hearing that they were made."""

from collections.abc import Callable

from coloproxy.checkpoint.notify import Notifier, NotifyError
from coloproxy.compare.events import Event, Warned
from coloproxy.link.address import Address
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.loop import READ, WRITE, Loop
from coloproxy.link.peers import Peers, why


class NotifySocket:
    """Joins a `Notifier` to its socket. `completed()` is called when a checkpoint has been made; `report(event)` is
    told of peers and of messages that say nothing we know."""

    def __init__(
        self, address: Address, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None],
        completed: Callable[[], None], *, vnet_hdr: bool,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._clock = clock
        self._report = report
        self._peers = Peers(report, clock)
        self._notifier = Notifier(completed, vnet_hdr)
        self.endpoint = Endpoint("notify_dev", address, loop, self._connected)

    def request(self) -> None:
        """Ask for a checkpoint, as soon as there is somebody to ask."""
        try:
            self._notifier.request()
        except NotifyError as error:
            self._lost(str(error))
        self._write()

    def _connected(self, endpoint: Endpoint) -> None:
        self._peers.connected(endpoint)
        self._notifier.connected()
        self._write()

    def _ready(self, _events: int) -> None:
        sock = self.endpoint.sock
        if sock is None:
            return
        try:
            data = sock.recv(65536)
            if not data:
                raise EOFError
            for message in self._notifier.receive(data):
                text = f"notify_dev: a message that says nothing we know was ignored: {message[:64]!r}"
                self._report(Warned(time=self._clock(), text=text))
        except BlockingIOError:
            pass
        except (EOFError, OSError, NotifyError) as error:
            self._lost(why(error))
        self._write()

    def _write(self) -> None:
        sock, notifier = self.endpoint.sock, self._notifier
        if sock is None:
            return
        try:
            if notifier.unsent:
                notifier.sent(sock.send(notifier.unsent))
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(why(error))
            return
        self._loop.watch(sock.fileno(), READ | WRITE if notifier.unsent else READ, self._ready)

    def _lost(self, reason: str) -> None:
        self._peers.lost(self.endpoint, reason, self._notifier.lost())
