"""The proxy: sockets on the outside, the comparator on the inside, one thread.

    primary_in, secondary_in -> comparator -> outdev
                    notify_dev <-> requests and completions of checkpoints
"""

import math
import socket
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from coloproxy.checkpoint.notify import Notifier, NotifyError
from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import (
    CheckpointRequested,
    Event,
    FrameRefused,
    PeerConnected,
    PeerLost,
    Side,
    Summary,
    Warned,
)
from coloproxy.link.address import Address
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.framing import Batch
from coloproxy.link.inbox import BadLengthError, Inbox
from coloproxy.link.log import EventLog
from coloproxy.link.loop import READ, WRITE, Loop
from coloproxy.link.output import Outbox
from coloproxy.trace import events as trace

if TYPE_CHECKING:
    from coloproxy.link.evidence import EvidenceFolder

Role = Literal["primary_in", "secondary_in", "outdev", "notify_dev"]

FULL = 4 << 20  # bytes waiting for the output's reader at which the inputs are no longer read
EMPTY_ENOUGH = 1 << 20  # and at which they are again
LENT = 12  # receive buffers in use at which what is held is copied out of them
LAST_READS = 4  # reads of each input before a checkpoint is taken to be complete
LAST_WRITES = 0.5  # seconds that the output's reader has at the end


class Input:
    """One replica's socket and what reads it. `watched`: whether the loop says when there is something to read."""

    def __init__(self, side: Side, endpoint: Endpoint, inbox: Inbox) -> None:
        self.side = side
        self.endpoint = endpoint
        self.inbox = inbox
        self.watched = False


class Proxy:
    """Joins the sockets to a comparator until `stop()` is called."""

    def __init__(
        self,
        addresses: Mapping[Role, Address],
        comparator: Comparator,
        clock: Clock,
        log: EventLog,
        *,
        vnet_hdr: bool = False,
        evidence: "EvidenceFolder | None" = None,
        loop: Loop | None = None,
    ) -> None:
        """addresses: of primary_in, secondary_in and outdev, and of notify_dev if there is one."""
        self.loop = loop or Loop()
        self._comparator = comparator
        self._clock = clock
        self._log = log
        self._evidence = evidence
        self._pool = Pool()
        self._compact_at = LENT
        self._stopping = False
        self._full = False  # inputs are not read, for too much is waiting to leave
        self._blocked = False  # the output's reader takes nothing now
        self._refused_lengths: Counter[str] = Counter()
        self._inputs = [
            self._input(addresses["primary_in"], "primary_in", Side.PRIMARY, vnet_hdr),
            self._input(addresses["secondary_in"], "secondary_in", Side.SECONDARY, vnet_hdr),
        ]
        self._outbox = Outbox(vnet_hdr, self._pool)
        self._outdev = Endpoint("outdev", addresses["outdev"], self.loop, self._output_connected)
        self._endpoints = [*(each.endpoint for each in self._inputs), self._outdev]
        self._notifier: Notifier | None = None
        if "notify_dev" in addresses:
            self._notifier = Notifier(self._checkpoint_completed, vnet_hdr)
            self._notify = Endpoint("notify_dev", addresses["notify_dev"], self.loop, self._notify_connected)
            self._endpoints.append(self._notify)

    def _input(self, address: Address, role: Role, side: Side, vnet_hdr: bool) -> Input:
        def take(batch: Batch) -> None:
            self._comparator.receive_batch(side, batch, self._clock.now())

        def connected(endpoint: Endpoint) -> None:
            self._report_connected(endpoint)
            found.watched = False
            self._gate()

        found = Input(side, Endpoint(role, address, self.loop, connected), Inbox(vnet_hdr, self._pool, take))
        return found

    # The life of the process

    def run(self) -> None:
        """Work until stopped; then say what was done. Raises ColoproxyError if it cannot listen where it should."""
        try:
            for endpoint in self._endpoints:
                endpoint.start()
            while not self._stopping:
                self._turn()
            self._finish()
        finally:
            for endpoint in self._endpoints:
                endpoint.close()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._stopping = True

    def report_state(self) -> None:
        """Say what the comparator holds."""
        self._log.write(self._comparator.state(self._clock.now()))

    def warn(self, text: str) -> None:
        self._log.write(Warned(time=self._clock.now(), text=text))

    def _turn(self) -> None:
        comparator = self._comparator
        deadline = comparator.next_deadline()
        self.loop.turn(math.inf if deadline is None else self._clock.monotonic(deadline))
        if deadline is not None and not self._full and self._clock.now() >= deadline:
            comparator.tick(self._clock.now())
        self._collect()

    def _collect(self) -> None:
        """See to what the comparator has to give, and to what it can take."""
        released = self._comparator.take_output()
        if released:
            self._outbox.add(released)
        if self._outbox.pending and not self._blocked:
            self._write()
        for event in self._comparator.take_events():
            self._report(event)
        if self._evidence is not None:
            for evidence in self._comparator.take_evidence():
                if problem := self._evidence.write(evidence):
                    self.warn(problem)
        if self._pool.lent > self._compact_at:
            self._compact()
        self._gate()

    def _finish(self) -> None:
        """Give the output's reader a last chance to take what was released, and sum up."""
        for each in self._inputs:
            self._watch(each, False)
        end = time.monotonic() + LAST_WRITES
        while self._outbox.pending and self._outdev.sock is not None and time.monotonic() < end:
            self.loop.turn(end)
        now = self._clock.now()
        self._log.write(
            Summary(
                time=now,
                accounting=self._comparator.accounting(),
                connections=self._comparator.state(now, 0).connection_count,
                epoch=self._comparator.epoch,
                refused_lengths=dict(self._refused_lengths),
                outdev_bytes=self._outbox.written,
                unsent_bytes=self._outbox.pending,
            )
        )

    # The way in

    def _gate(self) -> None:
        """Read the inputs, or let them wait: while the way out is blocked, or the comparator has come to a limit."""
        if self._stopping:
            return
        pending = self._outbox.pending
        if self._full and pending <= EMPTY_ENOUGH:
            self._full = False
            self._clock.go_on()
        elif not self._full and pending > FULL:
            self._full = True
            self._clock.stop()
        for each in self._inputs:
            wanted = not self._full and self._comparator.readable(each.side)
            if wanted != each.watched:
                self._watch(each, wanted)

    def _watch(self, each: Input, wanted: bool) -> None:
        if each.endpoint.sock is not None:
            each.watched = wanted
            self.loop.watch(each.endpoint.sock.fileno(), READ if wanted else 0, lambda _events: self._read_some(each))

    def _read_some(self, each: Input) -> None:
        self._read(each)

    def _read(self, each: Input) -> bool:
        """Read once; whether there may be more to read."""
        endpoint = each.endpoint
        if endpoint.sock is None:
            return False
        try:
            return each.inbox.read(endpoint.sock)
        except BadLengthError as error:
            self._refuse(each.side, endpoint.role, error)
            self._lost(endpoint, str(error), each.inbox.forget())
        except (EOFError, OSError) as error:
            self._lost(endpoint, why(error), each.inbox.forget())
        return False

    def _refuse(self, side: Side, role: str, error: BadLengthError) -> None:
        self._refused_lengths[role] += 1
        if trace.colo_link_frame_refused.enabled:
            trace.colo_link_frame_refused(side.label, "frame_length", error.length)
        self._log.write(
            FrameRefused(
                time=self._clock.now(), side=side.label, reason="frame_length", detail=str(error), length=error.length
            )
        )

    # The way out

    def _output_connected(self, endpoint: Endpoint) -> None:
        self._report_connected(endpoint)
        self._blocked = False
        self._watch_output(READ)
        if self._outbox.pending:
            self._write()

    def _watch_output(self, events: int) -> None:
        assert self._outdev.sock is not None
        self.loop.watch(self._outdev.sock.fileno(), events, self._output_ready)

    def _output_ready(self, events: int) -> None:
        if events & WRITE:
            self._write()
        if events & ~WRITE and self._outdev.sock is not None:
            self._listen_to(self._outdev.sock)

    def _listen_to(self, sock: socket.socket) -> None:
        """The output's reader has nothing to say, but this is how we hear that it is gone."""
        try:
            if not sock.recv(65536):
                self._output_lost("the peer closed the connection")
        except BlockingIOError:
            pass
        except OSError as error:
            self._output_lost(why(error))

    def _write(self) -> None:
        sock = self._outdev.sock
        if sock is None:
            return
        try:
            done = self._outbox.flush(sock)
        except OSError as error:
            self._output_lost(why(error))
            return
        if done == self._blocked:
            self._blocked = not done
            self._watch_output(READ if done else READ | WRITE)

    def _output_lost(self, reason: str) -> None:
        self._outbox.peer_lost()
        self._blocked = False
        self._lost(self._outdev, reason, 0)

    def _compact(self) -> None:
        """Copy what waits out of the buffers it came in: a few frames that are stuck must not keep them all."""
        self._outbox.compact()
        self._comparator.compact()
        self._compact_at = max(LENT, 2 * self._pool.lent)

    # Checkpoints

    def _notify_connected(self, endpoint: Endpoint) -> None:
        assert self._notifier is not None
        self._report_connected(endpoint)
        self._notifier.connected()
        self._write_notify()

    def _notify_ready(self, _events: int) -> None:
        sock = self._notify.sock
        if sock is None or self._notifier is None:
            return
        try:
            data = sock.recv(65536)
            if not data:
                raise EOFError
            for message in self._notifier.receive(data):
                self.warn(f"notify_dev: a message that says nothing we know was ignored: {message[:64]!r}")
        except BlockingIOError:
            pass
        except (EOFError, OSError, NotifyError) as error:
            self._lost(self._notify, why(error), self._notifier.lost())
        self._write_notify()

    def _write_notify(self) -> None:
        sock, notifier = self._notify.sock, self._notifier
        if sock is None or notifier is None:
            return
        try:
            if notifier.unsent:
                notifier.sent(sock.send(notifier.unsent))
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(self._notify, why(error), notifier.lost())
            return
        self.loop.watch(sock.fileno(), READ | WRITE if notifier.unsent else READ, self._notify_ready)

    def _request(self) -> None:
        """A checkpoint is needed; without anyone to ask, the event alone must do."""
        if self._notifier is None:
            return
        try:
            self._notifier.request()
        except NotifyError as error:
            self._lost(self._notify, str(error), self._notifier.lost())
        self._write_notify()

    def _checkpoint_completed(self) -> None:
        """Both replicas are equal, and stand still: what they said before is in our sockets at the latest."""
        for each in self._inputs:
            for _ in range(LAST_READS):
                if not self._read(each):
                    break
        self._comparator.checkpoint_completed(self._clock.now())

    # What is reported

    def _report(self, event: Event) -> None:
        self._log.write(event)
        if isinstance(event, CheckpointRequested):
            self._request()

    def _report_connected(self, endpoint: Endpoint) -> None:
        text, count = endpoint.address.text, endpoint.connections
        if trace.colo_link_peer_connected.enabled:
            trace.colo_link_peer_connected(endpoint.role, text, count)
        self._log.write(PeerConnected(time=self._clock.now(), role=endpoint.role, address=text, connections=count))

    def _lost(self, endpoint: Endpoint, reason: str, forgotten: int) -> None:
        text = endpoint.address.text
        endpoint.lost()
        if trace.colo_link_peer_lost.enabled:
            trace.colo_link_peer_lost(endpoint.role, text, reason, forgotten)
        self._log.write(
            PeerLost(
                time=self._clock.now(), role=endpoint.role, address=text, reason=reason, forgotten_bytes=forgotten
            )
        )


def why(error: Exception) -> str:
    """An exception of a socket in words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "the peer closed the connection"
