"""A network card as a front end describes it by messages: features, memory, and two rings that start and stop.

Knows no socket and no loop: `handle()` takes a message and returns the answer; the card's owner is told when a ring
begins and when it ends.
"""

import contextlib
import os
import struct
from collections.abc import Callable
from typing import Any

from coloproxy.link.vhost import messages
from coloproxy.link.vhost.channel import BadMessage, drop
from coloproxy.link.vhost.memory import Mapping, Region, Table
from coloproxy.link.vhost.messages import NEED_REPLY, NO_FD, REGION, TABLE
from coloproxy.link.vhost.ring import Ring, RingError

RECEIVE, TRANSMIT = 0, 1  # the numbers of the rings, from the guest's side
NAMES = "receive ring", "transmit ring"
LARGEST_RING = 32768  # virtio 1.2, 2.7
EVENTFD = "anon_inode:[eventfd]"
LOGGED = 1  # the flag of a ring whose used part is logged

Addresses = tuple[int, int, int, int, int]  # flags, and where descriptors, used and available are, and the log


class Queue:
    """What is known of a ring. `ring` is there while it is started; `broken` says why it is not looked at any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = NAMES[number]
        self.size = self.base = 0
        self.addresses: Addresses | None = None
        self.kick = self.call = self.error = -1
        self.enabled = False
        self.ring: Ring | None = None
        self.broken: str | None = None

    def close(self) -> None:
        drop([fd for fd in (self.kick, self.call, self.error) if fd >= 0])
        self.kick = self.call = self.error = -1


class Device:
    """A card. begins(queue), ends(queue): its ring may be looked at from now on, or no longer; broke(queue): the guest
    has done to it what `broken` says."""

    def __init__(
        self, offered: int, begins: Callable[[Queue], None], ends: Callable[[Queue], None],
        broke: Callable[[Queue], None],
    ) -> None:  # fmt: skip
        self.offered = offered
        self.queues = [Queue(number) for number in range(len(NAMES))]
        self._begins, self._ends, self._broke = begins, ends, broke
        self._begun: set[int] = set()
        self._features = 0
        self._protocol = 0
        self._table: Table | None = None
        self._log: Mapping | None = None
        self._log_at = self._log_size = 0

    # Messages

    def handle(self, request: int, flags: int, payload: bytes, fds: list[int]) -> bytes | None:
        """Do what a message says; the payload of its answer, None if it gets none. Takes the descriptors.

        Raises BadMessage for what cannot be done, unless the answer says so, with the reason in `refusal`.
        """
        self.refusal: str | None = None
        left = list(fds)
        try:
            message = TABLE.get(request)
            if message is None:
                raise BadMessage(f"message {request} is not known")
            if len(left) > message.fds:
                raise BadMessage(f"{message.name} came with {len(left)} descriptors")
            answer = getattr(self, message.handler)(*self._values(message, payload), *([left] if message.fds else []))
        except (BadMessage, RingError) as error:
            self.refusal = str(error)
            if not self._acknowledges(flags) or (message is not None and message.reply is not None):
                raise BadMessage(self.refusal) from None
            return struct.pack("<Q", 1)
        finally:
            drop(left)
        self._look()
        if message.reply is not None:
            return struct.pack(message.reply, *answer)
        return struct.pack("<Q", 0) if self._acknowledges(flags) else None

    def _acknowledges(self, flags: int) -> bool:
        return bool(flags & NEED_REPLY and self._protocol & messages.REPLY_ACK)

    @staticmethod
    def _values(message: messages.Message, payload: bytes) -> tuple[Any, ...]:
        if message.payload == "*":
            return (payload,)
        size = struct.calcsize(message.payload)
        if len(payload) < size:
            raise BadMessage(f"{message.name} has {len(payload)} bytes, and must have {size}")
        return struct.unpack_from(message.payload, payload)

    def get_features(self) -> tuple[int]:
        return (self.offered,)

    def set_features(self, features: int) -> None:
        if unknown := messages.strangers(features, self.offered):
            raise BadMessage(f"there is no support for {unknown}, and none was offered")
        self._features = features
        self._refresh()

    def get_protocol_features(self) -> tuple[int]:
        return (messages.PROTOCOL,)

    def set_protocol_features(self, features: int) -> None:
        if unknown := messages.strangers(features, messages.PROTOCOL):
            raise BadMessage(f"there is no support for protocol features {unknown}, and none was offered")
        self._protocol = features

    def get_queue_num(self) -> tuple[int]:
        return (1,)

    def set_owner(self) -> None:
        pass

    def reset_owner(self) -> None:
        self.close()

    def set_mem_table(self, payload: bytes, fds: list[int]) -> None:
        if len(payload) < 8:
            raise BadMessage("SET_MEM_TABLE is cut short")
        (count,) = struct.unpack_from("<I", payload)
        if not 0 < count <= messages.REGIONS or len(payload) < 8 + count * REGION.size or len(fds) != count:
            raise BadMessage(f"SET_MEM_TABLE has {count} regions, and {len(fds)} descriptors came along")
        rows = [REGION.unpack_from(payload, 8 + at * REGION.size) for at in range(count)]
        self._table = Table([Region(guest, size, user, offset) for guest, size, user, offset in rows], fds)
        self._refresh()

    def set_log_base(self, size: int, offset: int, fds: list[int]) -> tuple[()]:
        if not fds:
            raise BadMessage("SET_LOG_BASE came without a descriptor")
        try:
            log = Mapping(fds[0], offset + size)
        except (OSError, ValueError, OverflowError) as error:
            raise BadMessage(f"the log of {size} bytes cannot be mapped: {error}") from None
        self._log, self._log_at, self._log_size = log, log.address + offset, size
        self._refresh()
        return ()

    # Rings

    def _queue(self, number: int) -> Queue:
        if number >= len(self.queues):
            raise BadMessage(f"there is no ring {number}: several queue pairs are not supported")
        return self.queues[number]

    def set_vring_num(self, number: int, size: int) -> None:
        if not 0 < size <= LARGEST_RING or size & (size - 1):
            raise BadMessage(f"a ring of {size} entries cannot be: it must be a power of two, at most {LARGEST_RING}")
        queue = self._queue(number)
        if queue.ring is not None and size != queue.size:
            raise BadMessage(f"the size of the {queue.name} cannot change while it is started")
        queue.size = size

    def set_vring_addr(self, number: int, flags: int, descriptors: int, used: int, available: int, log: int) -> None:
        queue = self._queue(number)
        queue.addresses = flags, descriptors, used, available, log
        self._refresh()

    def set_vring_base(self, number: int, base: int) -> None:
        queue = self._queue(number)
        if base > 0xFFFF:
            raise BadMessage(f"the {queue.name} cannot begin at {base}")
        queue.base = base

    def get_vring_base(self, number: int, _: int) -> tuple[int, int]:
        """The ring is stopped: what was not taken from it is not going to be."""
        queue = self._queue(number)
        self._stop(queue)
        queue.close()
        if all(each.ring is None for each in self.queues):
            self._log = None  # a new one comes with the next start
        return number, queue.base

    def set_vring_kick(self, value: int, fds: list[int]) -> None:
        queue = self._queue(value & 0xFF)
        fd = self._eventfd(value, fds)
        if fd < 0:
            raise BadMessage(f"the {queue.name} cannot be started without a descriptor: it would have to be polled")
        self._stop(queue)
        if queue.kick >= 0:
            os.close(queue.kick)
        queue.kick, queue.broken = fd, None
        if not self._features & messages.PROTOCOL_FEATURES:
            queue.enabled = True
        self._start(queue)

    def set_vring_call(self, value: int, fds: list[int]) -> None:
        queue = self._queue(value & 0xFF)
        fd = self._eventfd(value, fds)
        if queue.call >= 0:
            os.close(queue.call)
        queue.call = fd
        if fd >= 0:  # whoever was here before may not have come to say that something was used
            os.eventfd_write(fd, 1)

    def set_vring_err(self, value: int, fds: list[int]) -> None:
        queue = self._queue(value & 0xFF)
        fd = self._eventfd(value, fds)
        if queue.error >= 0:
            os.close(queue.error)
        queue.error = fd

    def set_vring_enable(self, number: int, enabled: int) -> None:
        self._queue(number).enabled = bool(enabled)

    @staticmethod
    def _eventfd(value: int, fds: list[int]) -> int:
        """The event descriptor that came along, -1 if none was to."""
        if value & NO_FD:
            return -1
        if not fds or os.readlink(f"/proc/self/fd/{fds[0]}") != EVENTFD:
            raise BadMessage("an event descriptor is missing")
        os.set_blocking(fds[0], False)
        return fds.pop(0)

    # What follows

    def _start(self, queue: Queue) -> None:
        try:
            self._place(queue)
        except RingError as error:
            self.fail(queue, str(error))

    def _place(self, queue: Queue) -> None:
        """Make the ring, where its addresses say. Raises RingError if it cannot be there."""
        if self._table is None or queue.addresses is None or not queue.size:
            raise BadMessage(f"the {queue.name} is started, and its memory, size or addresses are not known")
        _, descriptors, used, available, _ = queue.addresses
        size = queue.size
        queue.ring = Ring(
            self._table.memory,
            size,
            self._table.here(descriptors, 16 * size, 16, "descriptor table"),
            self._table.here(available, 6 + 2 * size, 2, "available ring"),
            self._table.here(used, 6 + 8 * size, 4, "used ring"),
            queue.base,
        )
        self._tell(queue)

    def _tell(self, queue: Queue) -> None:
        """Have a ring know what was agreed on."""
        ring = queue.ring
        assert ring is not None
        assert queue.addresses is not None
        features = self._features
        ring.features = features
        ring.events = bool(features & messages.EVENT_IDX)
        ring.mergeable = bool(features & messages.MRG_RXBUF)
        ring.header_len = 12 if features & (messages.MRG_RXBUF | messages.VERSION_1) else 10
        ring.logging = bool(features & messages.LOG_ALL)
        flags, _, _, _, ring.log_at = queue.addresses
        ring.log_used = bool(flags & LOGGED)
        if self._log is not None:
            ring.memory.set_log(self._log_at, self._log_size, self._log)
        else:
            ring.memory.set_log(0, 0, None)

    def _refresh(self) -> None:
        """Something that the rings use has changed under way."""
        for queue in self.queues:
            if queue.ring is not None:
                queue.base = queue.ring.at
                self._start(queue)

    @property
    def lacks_log(self) -> bool:
        """Whether rings stand still because what is written is to be marked, and no log has come."""
        started = any(queue.ring is not None and queue.enabled for queue in self.queues)
        return started and not self._logged

    @property
    def _logged(self) -> bool:
        return self._log is not None or not self._features & messages.LOG_ALL

    def _look(self) -> None:
        """Tell of rings that may be looked at now, or no longer: with logging on, not before there is a log."""
        logged = self._logged
        for queue in self.queues:
            usable = queue.ring is not None and queue.enabled and queue.broken is None and logged
            if usable and queue.number not in self._begun:
                self._begun.add(queue.number)
                self._begins(queue)
            elif not usable:
                self._end(queue)

    def _end(self, queue: Queue) -> None:
        if queue.number in self._begun:
            self._begun.remove(queue.number)
            self._ends(queue)

    def usable(self, number: int) -> Ring | None:
        """The ring, if it may be looked at."""
        return self.queues[number].ring if number in self._begun else None

    def _stop(self, queue: Queue) -> None:
        self._end(queue)
        if queue.ring is not None:
            queue.base = queue.ring.at
            queue.ring = None

    def fail(self, queue: Queue, why: str) -> None:
        """A ring cannot go on; nothing else is touched."""
        self._end(queue)
        queue.broken = why
        if queue.error >= 0:
            with contextlib.suppress(OSError):
                os.eventfd_write(queue.error, 1)
        self._broke(queue)

    def close(self) -> None:
        """The front end is gone, or wants all of it to be as in the beginning."""
        for queue in self.queues:
            self._stop(queue)
            queue.close()
        self.queues = [Queue(number) for number in range(len(NAMES))]
        self._features = self._protocol = 0
        self._table = self._log = None
