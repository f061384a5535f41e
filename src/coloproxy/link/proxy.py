"""The proxy: sockets on the outside, the comparator on the inside, one thread.

    primary_in, secondary_in -> comparator -> outdev
                    notify_dev <-> requests and completions of checkpoints
"""

import math
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import (
    CheckpointRequested,
    Event,
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
from coloproxy.link.notify import NotifySocket
from coloproxy.link.output import Outbox
from coloproxy.link.peers import Peers, why

if TYPE_CHECKING:
    from coloproxy.link.evidence import Witness

Role = Literal["primary_in", "secondary_in", "outdev", "notify_dev"]

FULL = 4 << 20  # bytes waiting for the output's reader at which the inputs are no longer read
EMPTY_ENOUGH = 1 << 20  # and at which they are again
LENT = 48  # receive buffers in use at which what is held is copied out of them
LAST_READS = 64  # reads of each input, at most, before a checkpoint is taken to be complete
OVERFULL = 16 << 20  # bytes waiting for the output's reader at which not even a checkpoint has the inputs read
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
        evidence: "Sequence[Witness]" = (),
        loop: Loop | None = None,
    ) -> None:
        """addresses: of primary_in, secondary_in and outdev, and of notify_dev if there is one."""
        self.loop = loop or Loop()
        self.comparator = self._comparator = comparator
        self.clock = self._clock = clock
        self._log = log
        self.witnesses = list(evidence)
        log.attach(self.loop)
        self._peers = Peers(log.write, clock.now)
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
        self.endpoints = [*(each.endpoint for each in self._inputs), self._outdev]
        self._notify: NotifySocket | None = None
        if "notify_dev" in addresses:
            self._notify = NotifySocket(
                addresses["notify_dev"], self.loop, clock.now, log.write, self._checkpoint_completed, vnet_hdr=vnet_hdr
            )
            self.endpoints.append(self._notify.endpoint)

    def _input(self, address: Address, role: Role, side: Side, vnet_hdr: bool) -> Input:
        def take(batch: Batch) -> None:
            self._comparator.receive_batch(side, batch, self._clock.now())

        def connected(endpoint: Endpoint) -> None:
            self._peers.connected(endpoint)
            found.watched = False
            self._gate()

        found = Input(side, Endpoint(role, address, self.loop, connected), Inbox(vnet_hdr, self._pool, take))
        return found

    # The life of the process

    def run(self) -> None:
        """Work until stopped; then say what was done. Raises ColoproxyError if it cannot listen where it should."""
        try:
            for endpoint in self.endpoints:
                endpoint.start()
            while not self._stopping:
                self._turn()
            self._finish()
        finally:
            for endpoint in self.endpoints:
                endpoint.close()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._stopping = True

    def report_state(self) -> None:
        """Say what the comparator holds."""
        self._log.write(self._comparator.state(self._clock.now()))

    @property
    def pending(self) -> int:
        """Bytes released that the output's reader has not taken yet."""
        return self._outbox.pending

    def warn(self, text: str) -> None:
        self._log.write(Warned(time=self._clock.now(), text=text))

    def _turn(self) -> None:
        comparator = self._comparator
        deadline = comparator.next_deadline()
        due = math.inf if deadline is None else deadline
        self.loop.turn(self._clock.monotonic(due), lambda: self._clock.woke(due))
        if not self._full and self._clock.now() >= due:
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
        if self.witnesses:
            for evidence in self._comparator.take_evidence():
                for witness in self.witnesses:
                    if problem := witness.write(evidence):
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
            self.loop.watch(each.endpoint.sock.fileno(), READ if wanted else 0, lambda _events: self._read(each))

    def _read(self, each: Input) -> bool:
        """Read once; whether there may be more to read."""
        endpoint = each.endpoint
        if endpoint.sock is None:
            return False
        try:
            return each.inbox.read(endpoint.sock)
        except BadLengthError as error:
            self._refuse(each.side, endpoint.role, error)
            self._peers.lost(endpoint, str(error), each.inbox.forget())
        except (EOFError, OSError) as error:
            self._peers.lost(endpoint, why(error), each.inbox.forget())
        return False

    def _refuse(self, side: Side, role: str, error: BadLengthError) -> None:
        self._refused_lengths[role] += 1
        self._peers.refused(side.label, error)

    # The way out

    def _output_connected(self, endpoint: Endpoint) -> None:
        self._peers.connected(endpoint)
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
        self._peers.lost(self._outdev, reason)

    def _compact(self) -> None:
        """Copy what waits out of the buffers it came in: a few frames that are stuck must not keep them all."""
        self._outbox.compact()
        self._comparator.compact()
        self._compact_at = max(LENT, 2 * self._pool.lent)

    # Checkpoints

    def _checkpoint_completed(self) -> None:
        """Both replicas are equal, and stand still: what they said before is in our sockets at the latest.

        All of it is read, and the primary's released, though the reader of the output be slow. One that takes nothing
        through many checkpoints must not fill the memory: what is not read then is compared afterwards, and a reason
        for the next checkpoint if it is not equal.
        """
        for each in self._inputs:
            for _ in range(LAST_READS):
                if self._outbox.pending > OVERFULL or not self._read(each):
                    break
        self._comparator.checkpoint_completed(self._clock.now())
        self._outbox.add(self._comparator.take_output())

    # What is reported

    def _report(self, event: Event) -> None:
        self._log.write(event)
        if isinstance(event, CheckpointRequested) and self._notify is not None:
            self._notify.request()  # without anyone to ask, the event alone must do
