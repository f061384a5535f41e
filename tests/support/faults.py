"""Every fault of every victim in every state of a pair, one after the other on the same connections, and what must come
of it.

kill: SIGKILL; stop: SIGSTOP, and SIGCONT after the other side has gone on, or after longer than a lease lasts; pause:
the same, so short that nobody may notice; cut: nothing passes its wires. A host is all processes of its namespace, and
its wires.
"""

import ctypes
import math
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from coloproxy.errors import ColoproxyError
from coloproxy.guest import here
from coloproxy.guest.tls import make_keys
from support.etcd import MEMBERS, Cluster
from support.pair import PROTECTED, Client, Flood, Pair, Talk, running
from support.writer import MIB, Writer

TIMING = {"misses": 10, "monitor": 1000, "lease": 2000}
LONG = 2.5  # seconds: longer than a lease lasts, and than QEMU may say nothing
SHORT = 0.1  # seconds: shorter than a sign of life may be late
GAP = 8.0  # seconds: far more than a failover takes, for machines that do much else at once
COPY = 0.5  # seconds that the first copy takes, or so

IN_STEP = "idle", "loaded", "checkpointing"
STATES = *IN_STEP, "copying", "alone"
SIDES = "primary", "secondary"
PARTS = "QEMU", "agent", "host"


class Fault(NamedTuple):
    """What is done to whom, while what goes on."""

    what: str
    victim: str
    state: str

    def __str__(self) -> str:
        return f"{self.what} {self.victim} {self.state}"

    @property
    def outcomes(self) -> set[str]:
        """Where the guest may go on: it "stays" or "moves" to the other host; "gone": it was the only one."""
        side, _, part = self.victim.partition(" ")
        if self.what == "pause" or side in ("etcd", "secondary") or part in ("clients", "agents"):
            return {"stays"}
        if side == "both":  # cut off from each other
            return {"stays", "moves"} if self.state in IN_STEP else {"stays"}
        if self.state in IN_STEP:
            return {"moves"}
        if self.what == "kill" and part != "agent":
            return {"gone", "moves"}  # according to how far the copy was
        return {"stays", "moves"} if self.state == "copying" else {"stays"}


def matrix() -> list[Fault]:
    """All cells. What befalls a host that has no part in it yet is no fault."""
    cells = []
    for state in STATES:
        sides = SIDES if state != "alone" else SIDES[:1]
        for what in ("kill", "stop", "pause"):
            cells += [(what, f"{side} {part}", state) for side in sides for part in PARTS]
        cells += [("cut", f"{side} host", state) for side in sides]  # from the other, from clients, from etcd
        cells += [("cut", "primary clients", state), ("kill", "both agents", state)]
        if state in IN_STEP:
            cells += [("cut", "both QEMUs", state)]
        if state != "alone":
            cells += [("cut", "both hosts", state)]
        cells += [(what, victim, state) for what in ("kill", "stop", "cut") for victim in ("etcd member", "etcd all")]
    return [Fault(*cell) for cell in cells]


def quick() -> list[Fault]:
    """Those that the tests of every day try: all that is done to a pair, but for pauses and the secondary's whole host;
    and some of what else there is."""
    more = """
        pause primary QEMU loaded; pause primary agent loaded; pause primary agent checkpointing
        pause secondary QEMU checkpointing; kill secondary host loaded; stop secondary host checkpointing
        kill primary agent alone; stop primary agent alone; stop primary QEMU alone; cut etcd all alone
        kill primary host alone
    """
    named = {name.strip() for line in more.split("\n") for name in line.split(";")}

    def usual(fault: Fault) -> bool:
        whole = fault.victim == "secondary host" and fault.what != "cut"
        return fault.state != "alone" and fault.what != "pause" and not whole

    return [fault for fault in matrix() if usual(fault) or str(fault) in named]


class Range:
    """A pair on which faults are tried, with clients that must not notice more than a pause. `chance`: when exactly;
    disk: mebibytes of one that is written."""

    def __init__(self, pair: Pair, cluster: Cluster, seed: int, disk: int = 0) -> None:
        self.pair, self.cluster = pair, cluster
        self.chance = random.Random(seed)
        self._disk = disk
        self.writer: Writer | None = None
        self._meet()

    def _meet(self) -> None:
        self.talk, self.flood = Talk(self.pair), Flood(self.pair)
        self.clients: list[Client] = [self.talk, self.flood]
        if self._disk:
            self.writer = Writer(self.pair, self._disk, self.writer)
            self.writer.look_at_all()
            self.clients.append(self.writer)
        for client in self.clients:
            client.start()
            client.goes_on(self.pair)
        self.flood.awake(False)

    def close(self) -> None:
        for client in self.clients:
            client.close(self.pair)

    # Before

    @contextmanager
    def going_on(self, state: str) -> Iterator[tuple[str, str]]:
        """The pair in a state; the primary and the other."""
        with ExitStack() as stack:
            primary, other = self.pair.alone() if state in ("copying", "alone") else self.pair.secured()
            self.talk.goes_on(self.pair, 20, 30)
            self.talk.fresh()
            if state == "idle":
                self.talk.awake(False)
                stack.callback(self.talk.awake, True)
                time.sleep(0.1)
            elif state in ("loaded", "checkpointing"):
                self.flood.awake(True)
                stack.callback(self.flood.awake, False)
                self.flood.goes_on(self.pair, 2)
            if state == "checkpointing":
                stack.enter_context(self._checkpoints(primary))
            elif state == "copying":
                self.pair.ask(primary, "protect")
                self.pair.wait(lambda: self.pair.quietly(other) == "receiving" and self.pair.ask(other)["pid"])
            copy = COPY * (2 if self._disk else 1)
            time.sleep(self.chance.random() * (copy if state == "copying" else 0.05))
            yield primary, other

    @contextmanager
    def _checkpoints(self, primary: str) -> Iterator[None]:
        """One after the other."""
        end = threading.Event()

        def ask() -> None:
            while not end.wait(0.005):
                with suppress(ColoproxyError):
                    self.pair.ask(primary, "checkpoint")

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            end.set()
            asking.join()

    # The fault

    def suffer(self, fault: Fault) -> str:
        """Have it happen, and be mended; what came of it. Raises AssertionError if that may not be."""
        pair = self.pair
        with self.going_on(fault.state) as (primary, other):
            was = pair.ask(primary)["pid"]
            before = {host: len(pair.events(host, "taken_over")) for host in pair.file.host}
            with self._done(fault, primary, other):
                if fault.what == "pause" or fault.victim == "primary clients":
                    time.sleep(SHORT)
                elif fault.victim.startswith("etcd all") or (fault.what == "stop" and fault.state not in IN_STEP):
                    time.sleep(LONG)
                elif fault.victim != "both agents" and not fault.victim.startswith("etcd"):
                    pair.wait(lambda: self._settled(fault, primary, other, before))
            self._mended()
            outcome = self._outcome(primary, other)
            assert outcome in fault.outcomes, f"{fault}: {outcome}\n{pair.story()}"
            if fault.what == "pause":
                taken = {host: len(pair.events(host, "taken_over")) for host in pair.file.host}
                assert taken == before, f"{fault}: it was noticed\n{pair.story()}"
            if outcome == "stays":
                assert pair.ask(primary)["pid"] == was, f"{fault}: it is another guest\n{pair.story()}"
        if outcome == "gone":
            self._anew(primary, other)
            return outcome
        self.talk.goes_on(pair, 20, 30)
        if self.writer is not None:
            self.writer.goes_on(pair, 1, 30)
        if fault.state in ("loaded", "checkpointing"):
            self.flood.goes_on(pair, 0, 30)
        assert self.talk.gap < GAP, f"{fault}: nothing for {self.talk.gap:.1f} s\n{pair.story()}"
        return outcome

    def _settled(self, fault: Fault, primary: str, other: str, before: dict[str, int]) -> bool:
        """One has gone on alone; or neither can."""
        pair = self.pair
        if any(len(pair.events(host, "taken_over")) > count for host, count in before.items()):
            return True
        if fault.state in IN_STEP:
            return False
        if "gone" in fault.outcomes:
            return pair.quietly(primary) in ("", "failed", "waiting") and pair.quietly(other) == "waiting"
        return pair.quietly(primary) in ("", "alone", "silenced", *PROTECTED)

    def _mended(self) -> None:
        """Both agents are there, and have decided; what has no guest has no QEMU."""
        pair = self.pair
        for host in pair.file.host:
            if not pair.quietly(host):
                pair.revive_host(host)
        undecided = {
            "", "deciding", "taking over", "failing over", "starting", "silenced", "receiving", "copying", "pairing"
        }  # fmt: skip
        pair.wait(lambda: not undecided & {pair.quietly(host) for host in pair.file.host}, 30)

    def _outcome(self, primary: str, other: str) -> str:
        """Where the guest is."""
        states = {host: self.pair.ask(host) for host in (primary, other)}
        having = [host for host, status in states.items() if status["role"] == "primary"]
        assert len(having) <= 1, f"two have it\n{self.pair.story()}"
        if not having:
            return "gone"
        loser = states[self.pair.file.other(having[0])]
        useful = loser["state"] in ("standby", "loading")
        assert useful or loser["pid"] is None, f"a useless QEMU is left\n{self.pair.story()}"
        return "stays" if having == [primary] else "moves"

    def _anew(self, primary: str, other: str) -> None:
        """Start the guest again, with new clients: the connections are gone with it, and what it has not written."""
        for client in self.clients:
            client.give_up()
        self.pair.boot(primary if self._disk else self.chance.choice([primary, other]))
        self._meet()

    @contextmanager
    def _done(self, fault: Fault, primary: str, other: str) -> Iterator[None]:
        """The fault, as long as this context is open."""
        side, _, part = fault.victim.partition(" ")
        if side == "etcd":
            with self._etcd(fault.what, [self.chance.randrange(MEMBERS)] if part == "member" else range(MEMBERS)):
                yield
            return
        hosts = [primary, other] if side == "both" else [primary if side == "primary" else other]
        if fault.what == "cut":
            with self._cut(part, hosts):
                yield
            return
        pids = [pid for host in hosts for pid in self._processes(host, part.removesuffix("s"))]
        if fault.what == "kill":
            if part == "host":
                self.pair.kill_host(hosts[0])
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if part.startswith("agent"):
                self.pair.wait(lambda: not any(map(self.pair.quietly, hosts)))
                for host in hosts:
                    self.pair.agent(host)
            yield
            return
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _processes(self, host: str, part: str) -> list[int]:
        if part == "host":
            return here.processes(here.namespace(self.pair.file, host))
        return [self.pair.qemu(host) if part == "QEMU" else self.pair.agent_pid(host)]

    @contextmanager
    def _etcd(self, what: str, numbers: "list[int] | range") -> Iterator[None]:
        if what != "cut":
            with (self.cluster.killed if what == "kill" else self.cluster.without)(*numbers):
                yield
            return
        for number in numbers:
            self.pair.member(number, False)
        try:
            yield
        finally:
            for number in numbers:
                self.pair.member(number, True)

    @contextmanager
    def _cut(self, part: str, hosts: list[str]) -> Iterator[None]:
        pair = self.pair
        if part == "QEMUs":
            shut_down(pair.qemu(hosts[0]), pair.file.host[next(iter(pair.file.host))].port + 1)
            yield
            return
        switches = [
            *([pair.wire] if part in ("host", "hosts") else []), *([pair.up0] if part in ("host", "clients") else []),
        ]  # fmt: skip
        for switch in switches:
            switch(hosts[0], False)
        try:
            yield
        finally:
            for switch in switches:
                switch(hosts[0], True)


def shut_down(pid: int, port: int) -> None:
    """End a process's TCP connection from or to this port (pidfd_getfd(2))."""
    getfd, libc = 438, ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    for fd in map(int, os.listdir(f"/proc/{pid}/fd")):
        with suppress(OSError):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            with socket.socket(fileno=libc.syscall(getfd, process, fd, 0)) as sock:
                ours = sock.family in (socket.AF_INET, socket.AF_INET6)
                if ours and port in (sock.getsockname()[1], sock.getpeername()[1]):
                    sock.shutdown(socket.SHUT_RDWR)
    os.close(process)


class Ranges:
    """One pair, until a fault has broken what it should not: then another. The lease is in etcd; the hosts know each
    other by IPv6, and by their keys. disk: mebibytes of one that is written."""

    def __init__(self, folder: Path, seed: int, disk: int = 0) -> None:
        self._folder, self._seed, self._disk = folder, seed, disk
        make_keys(folder / "keys", ["a", "b"])
        self._cluster = Cluster(folder)
        self._open = ExitStack()
        self._range: Range | None = None
        self._count = 0

    def suffer(self, fault: Fault) -> str:
        """What came of it. Raises AssertionError if that may not be."""
        try:
            if self._range is None:
                self._range = self._begin()
            return self._range.suffer(fault)
        except BaseException:
            self._range = None
            self._open.__exit__(*sys.exc_info())
            self._open = ExitStack()
            raise

    def _begin(self) -> Range:
        self._count += 1
        folder = self._folder / f"pair{self._count}"
        folder.mkdir()
        keys = f'keys = "{self._folder}/keys"'
        pair = self._open.enter_context(running(
            folder, lease=self._lease, extra=keys, wide=True, timing=TIMING, disk=self._disk * MIB))  # fmt: skip
        return Range(pair, self._cluster, self._seed, self._disk)

    def _lease(self, at: str) -> str:
        return self._cluster.at_each([f"{at}{number}" for number in range(1, MEMBERS + 1)])

    @property
    def gap(self) -> float:
        """Seconds, the longest, without an answer."""
        return self._range.talk.gap if self._range is not None else math.nan

    def close(self) -> None:
        try:
            with self._open:
                if self._range is not None:
                    self._range.close()
        finally:
            self._cluster.end()
