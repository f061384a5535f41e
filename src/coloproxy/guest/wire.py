"""The agents' connection: frames in QEMU's framing, and messages between them, in order with the frames.

The framing has a second word for the length of a virtio-net header. A message is a frame that is all header, and no
frame of a guest's is: so one connection carries both, and a message says something about what is in front of it.
"""

import socket
import ssl
import time
from collections.abc import Callable

import msgspec

from coloproxy.compare.comparator import Batch
from coloproxy.compare.events import Event
from coloproxy.guest import messages
from coloproxy.guest.tls import TlsSocket
from coloproxy.link.address import Address
from coloproxy.link.arena import Pool
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.flow import Frames, frames_of
from coloproxy.link.framed import FramedPort
from coloproxy.link.loop import READ, Loop
from coloproxy.link.peers import why

SHAKING = 2.0  # seconds for both to show who they are


class Wire(FramedPort):
    """headers: guests' frames have virtio-net headers, which they keep. `heard(message)` is told what the peer says;
    `met()` and `lost_peer()` that it came and went. `last`: when something came last, by the monotonic clock."""

    def __init__(
        self, address: Address, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None], pool: Pool,
        tls: ssl.SSLContext | None = None, *, headers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__("peer", address, loop, clock, report, pool, vnet_hdr=True, patient=False)
        self._tls = tls
        self.plain = self._bare = not headers
        self.heard: Callable[[messages.Any], None]
        self.met: Callable[[], None]
        self.lost_peer: Callable[[str], None]
        self.last = time.monotonic()
        self._shaken = False

    def say(self, message: messages.Any) -> None:
        """Send a message, if there is a peer, behind all frames that were sent before."""
        if self.connected:
            text = messages.encode(message)
            self._outbox.add([(text, 0, len(text), len(text), None)])
            self.finish()

    def hang_up(self, why: str) -> None:
        """The peer counts as gone; another may come."""
        if self.connected:
            self._lost(why)

    def read(self) -> bool:
        came = super().read()
        if came:
            self.last = time.monotonic()
        while came and isinstance(self.peer, TlsSocket) and self.peer.pending:
            came = super().read()
        return came

    def _connected(self, endpoint: Endpoint) -> None:
        if self._tls is None:
            self._meet(endpoint)
            return
        assert endpoint.sock is not None
        try:
            secret = TlsSocket(endpoint.sock, self._tls, endpoint.address.server)
        except OSError as error:
            endpoint.lost()
            self._warn(f"TLS cannot begin: {why(error)}")
            return
        endpoint.sock = secret  # type: ignore[assignment]
        self._loop.after(SHAKING, lambda: self._too_late(endpoint, secret))
        self._shake(endpoint, secret)

    def _too_late(self, endpoint: Endpoint, secret: object) -> None:
        """Whoever says nothing keeps nobody else from coming."""
        if not self._shaken and endpoint.sock is secret:
            endpoint.lost()

    def _shake(self, endpoint: Endpoint, secret: TlsSocket) -> None:
        """Both show who they are; who cannot is sent away."""
        try:
            done = secret.shake_hands()
        except OSError as error:
            endpoint.lost()
            self._warn(f"who is at the other end could not show that it is the other host: {why(error)}")
            return
        if done:
            self._meet(endpoint)
        else:
            self._loop.watch(secret.fileno(), READ, lambda _: self._shake(endpoint, secret))

    def _meet(self, endpoint: Endpoint) -> None:
        self._shaken = True
        super()._connected(endpoint)
        self.last = time.monotonic()
        self.met()

    @property
    def peer(self) -> socket.socket | None:
        return super().peer if self._shaken else None

    def _lost(self, reason: str) -> None:
        self._shaken = False
        super()._lost(reason)
        self.lost_peer(reason)

    def _take(self, batch: Batch) -> None:
        index = batch.index[: 3 * batch.count]
        if not any(index[2::3]) or not any(end - start == vnet for start, end, vnet in frames_of(batch)):
            super()._take(batch)
            return
        frames = Frames(batch.buf, batch.lease)
        for start, end, vnet_len in frames_of(batch):
            if vnet_len != end - start:
                frames.add(start, end, vnet_len)
                continue
            if frames.count:
                super()._take(frames)
                frames = Frames(batch.buf, batch.lease)
            self._hear(bytes(memoryview(batch.buf)[start:end]))
        if frames.count:
            super()._take(frames)

    def _hear(self, text: bytes) -> None:
        try:
            message = messages.decode(text)
        except msgspec.MsgspecError as error:
            self._warn(f"the other agent says what is not understood ({error}); are both of one version?")
            return
        self.heard(message)
