"""A client and two replicas with a rewriter and a comparator between them, frame by frame, on one clock."""

import copy
import random

from coloproxy import Comparator, Side
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from coloproxy.rewrite.stripper import Stripper
from support.endpoint import Endpoint
from support.rewriting import Batch

STEP = 0.004
V4 = ({"src": "10.0.0.9", "dst": "10.0.0.2"}, {"src": "10.0.0.2", "dst": "10.0.0.9"})
V6 = ({"src": "fd00::9", "dst": "fd00::2"}, {"src": "fd00::2", "dst": "fd00::9"})


class Scene:
    """One connection. `one_host`: the rewriter sees the primary's frames; `replicas_open`: who sends the first SYN.

    Frames between the client and the proxy are lost and overtaken; the replicas take and give when they please.
    """

    def __init__(
        self, seed: int, *, one_host: bool, replicas_open: bool, timestamps: str, six: bool, general: bool = False
    ) -> None:  # fmt: skip
        self.rng = rng = random.Random(seed)
        self.one_host, self.now = one_host, 0.0
        self.strips = timestamps == "strip"
        self.rewriter = Rewriter(Config(timestamps=timestamps))  # type: ignore[arg-type]
        self.stripper = Stripper()
        if general:
            self.rewriter.use_general_path()
        self.comparator = Comparator(now=0.0)
        there, here = V6 if six else V4
        near = {**there, "sport": 40000, "dport": 80}
        far = {**here, "sport": 80, "dport": 40000}
        sizes = rng.choice((0, 1, 900, 6000)), rng.choice((1, 3000, 9000))
        up, down = rng.randbytes(sizes[0]), rng.randbytes(sizes[1])
        number = rng.getrandbits
        self.client = Endpoint(rng, number(32), number(32), up, near, opens=not replicas_open, mss=1400)
        self.primary, self.secondary = (
            Endpoint(rng, isn, number(32), down, far, opens=replicas_open, mss=rng.choice((30, 500, 1400, 5000)))
            for isn in (rng.choice((0xFFFFFF00, number(32))), rng.choice((0xFFFFFFFE, number(32))))
        )
        self.to_proxy: list[bytes] = []
        self.to_client: list[bytes] = []
        self.to_primary: list[bytes] = []
        self.to_secondary: list[bytes] = []
        self.primary_lives = True

    def play(self, seconds: float) -> "Scene":
        until = self.now + seconds
        while self.now < until and not self.over:
            self.now += STEP
            self._client_side()
            self._replicas()
            self._timers()
        return self

    @property
    def over(self) -> bool:
        return self.client.done and self.secondary.done and (self.primary.done or not self.primary_lives)

    def checkpoint(self) -> None:
        """The secondary becomes a copy of the primary, with what is on its way to it."""
        self.secondary = copy.deepcopy(self.primary)
        self.secondary.rng = self.rng
        self.to_secondary = list(self.to_primary)
        self.rewriter.checkpoint_completed(self.now)
        self.comparator.checkpoint_completed(self.now)
        self._deliver_released()
        self._release()

    def failover(self) -> None:
        """The primary dies."""
        self.primary_lives = False
        self.rewriter.failover_to_secondary(self.now)
        self.comparator.failover_to_secondary(self.now)
        self._release()

    def _client_side(self) -> None:
        self.to_proxy += self.client.output(self.now)
        for frame in self._over_the_wire(self.to_proxy):
            self._from_client(frame)
        for frame in self._over_the_wire(self.to_client):
            self.client.input(frame, self.now)

    def _over_the_wire(self, queue: list[bytes]) -> list[bytes]:
        """Some of the queue, some of it lost, some of it twice, some in another order."""
        rng = self.rng
        moved, queue[:] = queue[:], []
        if rng.random() < 0.2:
            rng.shuffle(moved)
        return [frame for frame in moved for _ in range(rng.choices((1, 0, 2), (90, 6, 4))[0])]

    def _from_client(self, frame: bytes) -> None:
        batch = Batch([frame])
        if self.one_host:
            self.rewriter.prepare(batch)
        elif self.strips and self.primary_lives:
            self.stripper.strip(batch)
        if self.primary_lives:
            self.to_primary += batch.frames()
        self.rewriter.translate(Source.CLIENT, batch, self.now)
        self.to_secondary += batch.frames()
        self._deliver_released()

    def _replicas(self) -> None:
        if self.primary_lives and self.rng.random() < 0.7:
            self._serve(self.primary, self.to_primary, Source.PRIMARY)
        if self.rng.random() < 0.7:
            self._serve(self.secondary, self.to_secondary, Source.SECONDARY)

    def _serve(self, replica: Endpoint, queue: list[bytes], source: Source) -> None:
        taken, queue[:] = queue[:], []
        for frame in taken:
            replica.input(frame, self.now)
        for frame in replica.output(self.now):
            batch = Batch([frame])
            if source is Source.SECONDARY or self.one_host:
                self.rewriter.translate(source, batch, self.now)
            elif self.strips:
                self.stripper.strip(batch)
            self.comparator.receive_batch(Side(source), batch, self.now)
            self._deliver_released()
            self._release()

    def _deliver_released(self) -> None:
        self.to_secondary += [frame for frame, _ in self.rewriter.take_released(Source.CLIENT)]
        for frame, _ in self.rewriter.take_released(Source.SECONDARY):
            self.comparator.receive(Side.SECONDARY, frame, self.now)

    def _release(self) -> None:
        for buf, start, end, vnet_len, _ in self.comparator.take_output():
            if vnet_len >= 0:
                self.to_client.append(bytes(buf[start:end]))
            else:  # one frame behind four bytes of framing, for batches are of one
                self.to_client.append(bytes(buf[start + 4 : end]))

    def _timers(self) -> None:
        for timed in (self.comparator, self.rewriter):
            due = timed.next_deadline()  # type: ignore[attr-defined]
            if due is not None and due <= self.now:
                timed.tick(self.now)  # type: ignore[attr-defined]
        self._deliver_released()
        self._release()
