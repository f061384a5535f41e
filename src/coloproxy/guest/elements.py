"""Elements of the agent's data path: which way frames go, when they wait, and when none may leave."""

import math
import time
from collections import deque
from collections.abc import Mapping

from coloproxy.compare.comparator import Batch, Output
from coloproxy.link.flow import Sink, Take, frames_of
from coloproxy.topology.element import Element
from coloproxy.topology.wires import IN, OUT, Shape

HELD = 8192  # frames that wait at a gate; what is more is lost
IPV4, ARP, IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"
ADDRESSES = 64  # of a guest, remembered
REMEMBERED = 64  # frames that went through a door


class Junction(Element):
    """Sends on what comes in by the output `way`; None: nowhere."""

    def __init__(self, name: str, ways: tuple[str, ...]) -> None:
        super().__init__(name)
        self.shape = Shape((IN,), ways)
        self.way: str | None = None
        self._dropped = 0

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        if self.way is None:
            self._dropped += batch.count
        else:
            self.outs[self.way].batch(batch, now)

    def counters(self) -> dict[str, int]:
        return {"dropped": self._dropped}


class Gate(Element):
    """Closed, it keeps what comes in, up to a limit, and lets it go when it is opened."""

    keeps = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._open = True
        self._held: list[Output] = []
        self._dropped = 0

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        if self._open:
            self.outs[OUT].batch(batch, now)
            return
        room = HELD - len(self._held)
        came = [(batch.buf, start, end, vnet_len, batch.lease) for start, end, vnet_len in frames_of(batch)]
        self._held += came[:room]
        self._dropped += len(came[room:])

    @property
    def closed(self) -> bool:
        return not self._open

    def close_up(self) -> None:
        """Keep what comes from now on."""
        self._open = False

    def open_up(self, now: float) -> None:
        """Let go what was kept, and all that follows."""
        self._open = True
        held, self._held = self._held, []
        if held:
            self.outs[OUT].outputs(held, now)

    def forget(self) -> None:
        """Drop what was kept."""
        self._dropped += len(self._held)
        self._held.clear()

    @property
    def idle(self) -> bool:
        return not self._held

    def counters(self) -> dict[str, int]:
        return {"held": len(self._held), "dropped": self._dropped}


class Door(Gate):
    """A gate that a guest's frames go through. QEMU loses what it has read and not yet given to a guest that it stops:
    remembering, what went through last can be kept again, to be heard twice rather than never."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.remembering = False
        self._last: deque[tuple[float, bytes, int]] = deque(maxlen=REMEMBERED)

    def _take(self, batch: Batch, now: float) -> None:
        if self.remembering and self._open:
            for start, end, vnet_len in frames_of(batch):
                self._last.append((now, bytes(memoryview(batch.buf)[start:end]), vnet_len))
        super()._take(batch, now)

    def close_behind(self, since: float) -> None:
        """Keep what comes from now on, and in front of it what went through since a time."""
        self.close_up()
        again: list[Output] = [
            (frame, 0, len(frame), vnet_len, None) for when, frame, vnet_len in self._last if when >= since
        ]
        self._last.clear()
        self._held[:0] = again


class Mouth(Element):
    """The last place before the network: nothing passes after `until`, seconds of the monotonic clock. That is looked
    at for each batch, so it holds for a process that was stopped, too. patient: what may not pass then waits, up to a
    limit, for more time to be given; otherwise it is dropped."""

    keeps = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._until = -math.inf
        self.patient = False
        self._held: list[Output] = []
        self._dropped = 0

    def inlet(self, channel: str) -> Sink:
        return self

    def batch(self, batch: Batch, now: float) -> None:
        if self.speaks and not self._held:
            self.outs[OUT].batch(batch, now)
        else:
            self._keep([(batch.buf, start, end, vnet, batch.lease) for start, end, vnet in frames_of(batch)])

    def outputs(self, outputs: list[Output], now: float) -> None:
        if self.speaks and not self._held:
            self.outs[OUT].outputs(outputs, now)
        else:
            self._keep(outputs)

    def _keep(self, came: list[Output]) -> None:
        room = HELD - len(self._held) if self.patient else 0
        self._held += came[:room]
        self._dropped += len(came[room:])

    @property
    def until(self) -> float:
        return self._until

    @property
    def speaks(self) -> bool:
        """Whether something would pass now."""
        return time.monotonic() < self._until

    def give(self, until: float, now: float) -> None:
        """Let pass until then what waits, and what comes."""
        self._until = until
        if self._held and self.speaks:
            held, self._held = self._held, []
            self.outs[OUT].outputs(held, now)

    def shut(self) -> None:
        """Let nothing pass any more, nor what waits."""
        self._until = -math.inf
        self._dropped += len(self._held)
        self._held.clear()

    @property
    def idle(self) -> bool:
        return not self._held

    def counters(self) -> dict[str, int]:
        return {"held": len(self._held), "dropped": self._dropped}


class Listener(Element):
    """Learns the guest's addresses from what it says; the first frame of each batch is enough. `spoke`: when it last
    said something."""

    def __init__(self, name: str, mac: bytes) -> None:
        super().__init__(name)
        self._mac = mac
        self.addresses: set[bytes] = set()
        self.spoke = -math.inf

    def inlets(self) -> Mapping[str, Take]:
        return {IN: self._take}

    def _take(self, batch: Batch, now: float) -> None:
        self.spoke = now
        if batch.count and len(self.addresses) < ADDRESSES:
            start, end, vnet_len = batch.index[:3]
            address = source(bytes(memoryview(batch.buf)[start + vnet_len : min(end, start + vnet_len + 54)]))
            if address is not None:
                self.addresses.add(address)
        self.outs[OUT].batch(batch, now)


def source(head: bytes) -> bytes | None:
    """The sender's IP address in the beginning of a frame without tags; None if it has none of its own."""
    kind = head[12:14]
    if kind == IPV4:
        address = head[26:30]
    elif kind == ARP:
        address = head[28:32]
    elif kind == IPV6:
        address = head[22:38]
    else:
        return None
    return address if any(address) and len(address) in (4, 16) else None
