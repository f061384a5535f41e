"""A guest's network card as a port: its rings are read and written here, as another port's socket or device is."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event, GuestRingBroken
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import Address
from coloproxy.link.arena import Arena, Pool
from coloproxy.link.burst import Burst
from coloproxy.link.device import STUCK, VNET_LEN, WAITING
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.flow import resized
from coloproxy.link.loop import READ, Loop
from coloproxy.link.peers import Peers, why
from coloproxy.link.port import Port
from coloproxy.link.vhost import messages
from coloproxy.link.vhost.channel import BadMessage, Channel
from coloproxy.link.vhost.device import RECEIVE, TRANSMIT, Device, Queue
from coloproxy.link.vhost.ring import AGAIN, FRAMING, Ring, RingError
from coloproxy.packet.offload import finished
from coloproxy.trace import events as trace

SELDOM = 1.0  # seconds between two warnings
SOON = 0.2  # seconds between two front ends, at the least
LOG_LATE = 1.0  # seconds; QEMU gives the log within milliseconds
OPENED, CLOSED = 1, 4  # as QEMU numbers what happens to a character device

T = TypeVar("T")


class VhostPort(Port):
    """A port that is the back end of a guest's virtio-net card.

    What the guest has no buffers for is copied, and waits here: while its ring is stopped, too, for a checkpoint takes
    less time than a sender needs to notice. offload: take and give frames of up to 64 KiB, and frames whose checksum is
    yet to be made, if the guest's driver does so as well.
    """

    def __init__(
        self, name: str, address: Address, loop: Loop, clock: Callable[[], float], report: Callable[[Event], None],
        pool: Pool, *, offload: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, loop, clock, report, vnet_hdr=True)
        self.plain = not offload
        features = messages.FEATURES | (messages.OFFLOADS if offload else 0)
        self._device = Device(features, self._begins, self._ends, self._broke)
        self._endpoint = Endpoint(name, address, loop, self._connected)
        self._peers = Peers(report, clock)
        self._channel: Channel | None = None
        self._arena = Arena(pool)
        self._burst = Burst()
        self._burst.headroom = FRAMING
        self._wanted = False
        self._uncalled: set[int] = set()  # rings whose guest is to be told of used buffers at the end of the turn
        self._watched: dict[int, int] = {}  # rings, and by which descriptor the guest speaks of them
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._give_up_at = 0.0
        self._stuck = False
        self._began_at = -SOON
        self._log_missed: object = None  # one object for as long as a log is missing
        self._warned_at = -SELDOM
        self._unsaid = 0

    def open(self) -> None:
        try:
            self._endpoint.start()
        except ColoproxyError as error:
            raise ColoproxyError(f"port {self.name}: {error}") from None

    def close(self) -> None:
        self._device.close()
        if self._channel is not None:
            self._channel.close()
        self._endpoint.close()

    @property
    def pending(self) -> int:
        return self._waiting_bytes

    @property
    def connected(self) -> bool:
        return self._endpoint.sock is not None

    # The conversation

    def _connected(self, endpoint: Endpoint) -> None:
        assert endpoint.sock is not None
        self._channel = Channel(endpoint.sock)
        self._peers.connected(endpoint)
        if trace.vhost_user_event.enabled:
            trace.vhost_user_event(self.name, OPENED)
        channel, now = self._channel, time.monotonic()
        wait = max(0.0, self._began_at + SOON - now)  # QEMU that dislikes what it hears comes again at once, for ever
        self._began_at = now + wait
        if wait:
            self._loop.after(wait, lambda: self._begin(channel))
        else:
            self._begin(channel)

    def _begin(self, channel: Channel) -> None:
        if self._channel is channel and self._endpoint.sock is not None:
            self._loop.watch(self._endpoint.sock.fileno(), READ, self._converse)

    def _converse(self, _events: int) -> None:
        channel = self._channel
        assert channel is not None
        try:
            while (came := channel.read()) is not None:
                request, flags, payload, fds = came
                answer = self._device.handle(request, flags, payload, fds)
                if self._device.refusal is not None:
                    self._warn_seldom(self._device.refusal)
                if answer is not None:
                    channel.send(request, answer)
        except BadMessage as error:
            self._warn_seldom(f"the front end is hung up on: {error}")
            self._lost(str(error))
        except (EOFError, OSError) as error:
            self._lost(why(error))
        self._look_for_log()

    def _look_for_log(self) -> None:
        """Rings stand still while the log is missing, for it comes last; a front end that never gives it is told of."""
        if not self._device.lacks_log:
            self._log_missed = None
        elif self._log_missed is None:
            missed = self._log_missed = object()
            self._loop.after(LOG_LATE, lambda: self._log_late(missed))

    def _log_late(self, missed: object) -> None:
        if self._log_missed is missed and self._device.lacks_log:
            self._warn("the front end wants written pages marked (LOG_ALL) and gives no log: rings stand still")

    def _lost(self, reason: str) -> None:
        self._device.close()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if trace.vhost_user_event.enabled:
            trace.vhost_user_event(self.name, CLOSED)
        self._peers.lost(self._endpoint, reason)

    def _warn_seldom(self, what: str) -> None:
        """A guest that goes on doing wrong must not fill the log."""
        now = time.monotonic()
        if now - self._warned_at < SELDOM:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more warnings were not given)" if self._unsaid else ""
        self._warned_at, self._unsaid = now, 0
        self._warn(what + more)

    # Rings

    def _begins(self, queue: Queue) -> None:
        assert queue.ring is not None
        if trace.vhost_ring_start.enabled:
            trace.vhost_ring_start(self.name, queue.number, queue.size, queue.ring.at)
        if queue.number == TRANSMIT:
            if self._wanted:
                self._listen(queue)
        else:
            self._stuck = False
            self._guarded(RECEIVE, self._send_waiting, False)

    def _ends(self, queue: Queue) -> None:
        if trace.vhost_ring_stop.enabled:
            trace.vhost_ring_stop(self.name, queue.number, queue.ring.at if queue.ring is not None else queue.base)
        self._unlisten(queue.number)
        if queue.number in self._uncalled and queue.ring is not None:
            self._call(queue.number, queue.ring)

    def _broke(self, queue: Queue) -> None:
        assert queue.broken is not None
        if trace.vhost_ring_error.enabled:
            trace.vhost_ring_error(self.name, queue.number, queue.broken)
        now = time.monotonic()
        if now - self._warned_at < SELDOM:
            self._unsaid += 1
            return
        self._warned_at = now
        self._report(
            GuestRingBroken(time=self._clock(), port=self.name, ring=queue.name, text=queue.broken, unsaid=self._unsaid)
        )
        self._unsaid = 0

    def _listen(self, queue: Queue) -> None:
        """Look at a ring now, and whenever its guest says that something is there."""
        self._watched[queue.number] = queue.kick
        self._loop.watch(queue.kick, READ, self._take if queue.number == TRANSMIT else self._have_buffers)
        with contextlib.suppress(OSError):
            os.eventfd_write(queue.kick, 1)

    def _unlisten(self, number: int) -> None:
        if (fd := self._watched.pop(number, None)) is not None:
            self._loop.watch(fd, 0, self._take)

    def _guarded(self, number: int, do: Callable[[Ring], T], otherwise: T) -> T:
        """Do something with a ring, if it may be looked at; one that turns out to be broken is stopped."""
        ring = self._device.usable(number)
        if ring is None:
            return otherwise
        try:
            return do(ring)
        except RingError as error:
            self._device.fail(self._device.queues[number], str(error))
            return otherwise

    def _call(self, number: int, ring: Ring) -> None:
        """Tell the guest that buffers were used, if it wants to know."""
        self._uncalled.discard(number)
        fd = self._device.queues[number].call
        if fd >= 0 and ring.wants_call():
            with contextlib.suppress(OSError):
                os.eventfd_write(fd, 1)

    def finish(self) -> None:
        """Tell the guest now what happened to both rings: it begins at once, and this may be the only processor."""
        for number in (*self._uncalled,):
            if (ring := self._device.usable(number)) is not None:
                self._call(number, ring)

    # The way in

    def read_on(self, wanted: bool) -> None:
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if not wanted:
            self._unlisten(TRANSMIT)
        elif self._device.usable(TRANSMIT) is not None:
            self._listen(self._device.queues[TRANSMIT])

    def _take(self, _events: int) -> None:
        self.read()

    def read(self) -> bool:
        return self._guarded(TRANSMIT, self._read, False)

    def _read(self, ring: Ring) -> bool:
        """Take what is there. What says that something is there is left standing until nothing is any more."""
        arena, burst = self._arena, self._burst
        space = arena.space()
        burst.buf, burst.lease = arena.buf, arena.lease
        ring.hush()
        arena.at = arena.tail = ring.take(burst, arena.tail, arena.tail + len(space))
        if ring.refused:
            self.dropped.add(ring.refused, 0)
        came = bool(burst.count or ring.refused)
        if came:
            self._uncalled.add(TRANSMIT)
        if burst.count:
            self.received.add(burst.count, burst.size)
            self.hand_on(burst, burst.size, self._clock())
        burst.buf = burst.lease = None
        if not ring.waiting():
            self._rest(ring)
        return came

    def _rest(self, ring: Ring) -> None:
        """Until the guest says that there is more; what it did not say because it was not to, is looked for."""
        kick = self._device.queues[TRANSMIT].kick
        with contextlib.suppress(OSError):
            os.eventfd_read(kick)
        if ring.listen():
            with contextlib.suppress(OSError):
                os.eventfd_write(kick, 1)

    # The way out

    def batch(self, batch: Batch, now: float) -> None:
        at, count, index = 0, batch.count, batch.index
        while at < count:
            at = self._put(at, lambda ring, at=at: ring.put_batch(batch.buf, index, at, count))  # type: ignore[misc]
            if at < count:
                start, end, vnet_len = index[3 * at : 3 * at + 3]
                self._send(memoryview(batch.buf)[start:end], vnet_len)
                at += 1

    def outputs(self, outputs: list[Output], now: float) -> None:
        at, count = 0, len(outputs)
        while at < count:
            at = self._put(at, lambda ring, at=at: ring.put_outputs(outputs, at))  # type: ignore[misc]
            if at < count:
                buf, start, end, vnet_len, _ = outputs[at]
                self._send(memoryview(buf)[start:end], vnet_len)
                at += 1

    def _put(self, at: int, put: Callable[[Ring], tuple[int, int, int]]) -> int:
        """Have the guest take frames from number `at` on; where that ended."""

        def some(ring: Ring) -> int:
            done, size, _ = put(ring)
            self._taken(ring, done - at, size)
            return done

        return at if self._waiting else self._guarded(RECEIVE, some, at)

    def _taken(self, ring: Ring, count: int, size: int) -> None:
        """The guest has been given frames, but for those that its buffers were too small for."""
        if count:
            self.sent.add(count - ring.refused, size)
            self.dropped.add(ring.refused, 0)
            self._stuck = False
            self._uncalled.add(RECEIVE)

    def _send(self, frame: memoryview, vnet_len: int) -> None:
        """Send a frame that is not taken as it is, or not now."""
        if self._waiting_bytes + len(frame) > WAITING:
            self.dropped.add(1, len(frame))
            return
        alone = not self._waiting
        self._waiting.append(bytes(frame) if vnet_len == VNET_LEN else resized(frame, vnet_len, VNET_LEN))
        self._waiting_bytes += len(self._waiting[-1])
        if alone:
            self._guarded(RECEIVE, self._send_waiting, False)
            if self._waiting and self._stuck:
                self._drop_waiting()
            elif self._waiting:
                self._give_up_at = time.monotonic() + STUCK
                self._loop.after(STUCK, self._give_up)

    def _send_waiting(self, ring: Ring) -> bool:
        """Give the guest what waits, as far as it has buffers; what it does not take as it is, is finished here."""
        waiting, why = self._waiting, 0
        while waiting and why != AGAIN:
            frame = waiting.popleft()
            self._waiting_bytes -= len(frame)
            done, size, why = ring.put_outputs([(frame, 0, len(frame), VNET_LEN, None)], 0)
            if done:
                self._taken(ring, 1, size)
                self._give_up_at = time.monotonic() + STUCK
                continue
            left = [frame] if why == AGAIN else finished(frame, VNET_LEN)
            if not left:
                self.dropped.add(1, len(frame))
            waiting.extendleft(reversed(left))
            self._waiting_bytes += sum(map(len, left))
        if not waiting:
            self._unlisten(RECEIVE)
            ring.hush()
        elif RECEIVE not in self._watched:
            self._listen(self._device.queues[RECEIVE])
        return not waiting

    def _have_buffers(self, _events: int) -> None:
        """The guest has made buffers available, or may have before it was to say so."""
        with contextlib.suppress(OSError):
            os.eventfd_read(self._device.queues[RECEIVE].kick)

        def look(ring: Ring) -> bool:
            ring.listen()
            return self._send_waiting(ring)

        self._guarded(RECEIVE, look, False)

    def _give_up(self) -> None:
        """What has waited for too long is dropped, and what follows does not wait before the guest takes something."""
        left = self._give_up_at - time.monotonic()
        if self._waiting and left > 0:
            self._loop.after(left, self._give_up)
        elif self._waiting:
            self._stuck = True
            self._drop_waiting()

    def _drop_waiting(self) -> None:
        self.dropped.add(len(self._waiting), self._waiting_bytes)
        self._waiting.clear()
        self._waiting_bytes = 0
