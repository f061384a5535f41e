"""QEMU's packet sockets as ports: frames behind their length, over unix or TCP."""

import socket
from collections.abc import Callable

from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import Address
from coloproxy.link.arena import Pool
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.flow import frames_of, resized
from coloproxy.link.framing import MAX_FRAME
from coloproxy.link.inbox import BadLengthError, Inbox
from coloproxy.link.loop import READ, WRITE, Loop
from coloproxy.link.output import Outbox
from coloproxy.link.peers import Peers, why
from coloproxy.link.port import FULL, Port

COMPACT_AT = 8  # buffers of others' that what waits here may keep


class FramedPort(Port):
    """A port on a socket that speaks QEMU's framing; it connects, or listens, again and again.

    vnet_hdr: frames have virtio-net headers, sent on as they are or, if it is a length, with that length: QEMU takes
    them for as long as those of its guest, whatever the framing says. patient: what is to be sent waits for a peer that
    takes it, until so much does that nothing more is read for it; otherwise it is dropped then, and without a peer at
    once, so that nobody else waits.
    """

    keeps = True

    def __init__(
        self, name: str, address: Address, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None],
        pool: Pool, *, vnet_hdr: bool | int, patient: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, loop, clock, report, vnet_hdr=bool(vnet_hdr))
        self._vnet_len = None if isinstance(vnet_hdr, bool) else vnet_hdr
        self._patient = patient
        self._peers = Peers(report, clock)
        self._pool = pool
        self._endpoint = Endpoint(name, address, loop, self._connected)
        self._inbox = Inbox(self.vnet_hdr, pool, self._take)
        self._outbox = Outbox(self.vnet_hdr, pool)
        self._headroom = 8 if vnet_hdr else 4
        self._bare = not vnet_hdr  # whether frames are sent without their virtio-net headers
        self._wanted = False
        self._blocked = False

    def open(self) -> None:
        try:
            self._endpoint.start()
        except ColoproxyError as error:
            raise ColoproxyError(f"port {self.name}: {error}") from None

    def close(self) -> None:
        self._endpoint.close()

    @property
    def pending(self) -> int:
        return self._outbox.pending

    @property
    def connected(self) -> bool:
        return self.peer is not None

    @property
    def peer(self) -> socket.socket | None:
        return self._endpoint.sock

    def read_on(self, wanted: bool) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self._watch()

    def _watch(self) -> None:
        if self.peer is not None:
            events = (READ if self._wanted else 0) | (WRITE if self._blocked else 0)
            self._loop.watch(self.peer.fileno(), events, self._ready)

    def _connected(self, endpoint: Endpoint) -> None:
        self._peers.connected(endpoint)
        self._blocked = False
        self._watch()
        self.finish()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._write()
        if events & ~WRITE:
            self.read()

    # The way in

    def read(self) -> bool:
        if self.peer is None:
            return False
        try:
            return self._inbox.read(self.peer)
        except BadLengthError as error:
            self._peers.refused(self.name, error)
            self._lost(str(error))
        except (EOFError, OSError) as error:
            self._lost(why(error))
        return False

    def _take(self, batch: Batch) -> None:
        self.deliver(batch, self._clock())

    def _lost(self, reason: str) -> None:
        self._outbox.peer_lost()
        if not self._patient:
            frames, size = self._outbox.forget()
            self.sent.add(-frames, -size)
            self.dropped.add(frames, size)
        self._blocked = False
        self._peers.lost(self._endpoint, reason, self._inbox.forget())

    # The way out

    def batch(self, batch: Batch, now: float) -> None:
        buf, lease, headroom = batch.buf, batch.lease, batch.headroom
        if self._vnet_len is not None or not self._taking:
            self.outputs([(buf, start, end, vnet_len, lease) for start, end, vnet_len in frames_of(batch)], now)
        elif headroom == self._headroom and not self._bare:  # as it came, framing and all
            start, end = batch.index[0] - headroom, batch.index[3 * batch.count - 2]
            self.sent.add(batch.count, end - start - headroom * batch.count)
            self._outbox.add([(buf, start, end, -1, lease)])
        else:
            self.sent.add(batch.count, self._outbox.add_batch(batch, self._bare))

    def outputs(self, outputs: list[Output], now: float) -> None:
        if self._bare:
            outputs = [(buf, start + vnet_len, end, 0, lease) for buf, start, end, vnet_len, lease in outputs]
        elif self._vnet_len is not None:
            outputs = self._fitted(outputs, self._vnet_len)
        tally = self.sent if self._taking else self.dropped
        tally.add(len(outputs), sum(output[2] - output[1] for output in outputs))
        if self._taking:
            self._outbox.add(outputs)

    @property
    def full(self) -> bool:
        return self._patient and super().full

    @property
    def _taking(self) -> bool:
        """Whether what is sent is not dropped."""
        return self._patient or (self.connected and self.pending <= FULL)

    def _fitted(self, outputs: list[Output], wanted: int) -> list[Output]:
        """The same frames with virtio-net headers of another length; a frame that is too long then is dropped."""
        fitted: list[Output] = []
        for buf, start, end, vnet_len, lease in outputs:
            if vnet_len == wanted:
                fitted.append((buf, start, end, vnet_len, lease))
                continue
            frame = resized(memoryview(buf)[start:end], vnet_len, wanted)
            if len(frame) > MAX_FRAME:
                self.dropped.add(1, len(frame))
            else:
                fitted.append((frame, 0, len(frame), wanted, None))
        return fitted

    def finish(self) -> None:
        if self._outbox.pending and not self._blocked:
            self._write()
        if self._outbox.pending and self._pool.lent > COMPACT_AT:
            self._outbox.compact()

    def _write(self) -> None:
        sock = self.peer
        if sock is None:
            return
        try:
            done = self._outbox.flush(sock)
        except OSError as error:
            self._lost(why(error))
            return
        if done == self._blocked:
            self._blocked = not done
            self._watch()
