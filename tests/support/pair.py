"""A real pair of guests on this machine, and clients that check every byte of what they say."""

import errno
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetNS
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from coloproxy.errors import ColoproxyError
from coloproxy.guest import client, config, here, image
from coloproxy.guest.client import Status

ECHO, COUNTER, RANDOM, DISK = 7001, 7002, 7003, 7007
BLOCK = 100
PROTECTED = {"protected", "checkpointing"}
WILLING = {"waiting", "failed"}  # states of an agent that may become a secondary


class Pair:
    """Two hosts on this machine. `number` tells pairs apart that are there at once; wide: the hosts know each other by
    IPv6; misses: signs of life, more than by default, for machines that do much else at once; timing: more of it; host:
    what else is said of each host; disk: bytes of one that is written; boots: how that begins, in place of a kernel."""

    def __init__(
        self, folder: Path, number: int = 1, lease: str | None = None, extra: str = "", misses: int = 20,
        network: str = "stream", wide: bool = False, timing: Mapping[str, int] | None = None,
        host: str = "", disk: int = 0, boots: bytes = b"",
    ) -> None:  # fmt: skip
        self.name = f"cptest{number}"
        self.address, self.address6 = f"10.177.{number}.1", f"fd00:177:{number:x}::1"
        self.folder = folder
        hosts = [f"fd00:178:{number:x}::{at}" if wide else f"10.178.{number}.{at}" for at in (1, 2)]
        made = image.build(folder, f"{self.address}/24", f"{self.address6}/64")
        images = dict.fromkeys("ab", "")
        for name in images if disk else ():
            with (folder / f"{name}.img").open("wb") as image_file:
                image_file.write(boots if name == "a" else b"")
                image_file.truncate(disk)
            images[name] = f'disk = "{folder}/{name}.img"'
        kernel = f"""
kernel = "{made.kernel}"
initrd = "{made.initrd}"
append = "console=ttyS0 quiet panic=1"
"""
        self.path = folder / "guest.toml"
        self.path.write_text(
            f"""
name = "{self.name}"
lease = "{lease or f"file:{folder}/lease"}"
folder = "{folder}"
{extra}
[guest]
{"" if boots else kernel}
memory = "160M"
mac = "52:54:00:01:77:{number:02x}"
accelerator = "tcg"
network = "{network}"
disk_writable = {"true" if disk else "false"}
[here]
address = "10.177.{number}.2/24"
[timing]
{"".join(f"{key} = {value}{chr(10)}" for key, value in {"misses": misses, **(timing or {})}.items())}
[host.a]
address = "{hosts[0]}"
tap = "guest0"
bridge = "br0"
{images["a"]}
{host}
[host.b]
address = "{hosts[1]}"
tap = "guest0"
bridge = "br0"
{images["b"]}
{host}
"""
        )
        self.file = config.load(self.path)

    def command(self, *words: str) -> str:
        """A command's output; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "coloproxy", "guest", *words, str(self.path)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"guest {' '.join(words)}: {done.stdout}{done.stderr}\n{self.story()}"
        return done.stdout

    def start(self, protect: bool = True) -> None:
        """Have the guest booted, then protected."""
        here.make(self.file)
        with IPRoute() as ours:
            index = ours.link_lookup(ifname=self.name)[0]
            ours.addr("add", index=index, address=f"{self.address6[:-1]}2", prefixlen=64, flags=IFA_F_NODAD)
        for number in range(3):
            self.member(number, True)
        for number, host in enumerate(self.file.host):
            with NetNS(here.namespace(self.file, host)) as there:  # so that the agents reach us, and etcd here
                index = there.link_lookup(ifname="br0")[0]
                there.addr("add", index=index, address=f"{self.address[:-1]}{3 + number}", prefixlen=24)
            self.agent(host)
        self.wait(lambda: len(client.statuses(self.file)) == 2)
        self.boot("a")
        if protect:
            self.command("protect")

    def boot(self, host: str) -> None:
        """Start the guest on a host that may have it, as soon as the lease allows that."""
        console = self.file.place(host) / "console.log"
        console.unlink(missing_ok=True)
        self.wait(lambda: self._started(host))
        self.wait(lambda: console.exists() and image.READY in console.read_text(), 60)

    def _started(self, host: str) -> bool:
        if self.quietly(host) in ("waiting", "failed"):
            self.ask(host, "up")
        self.wait(lambda: self.quietly(host) != "starting")
        return self.quietly(host) == "alone"

    def agent(self, host: str) -> None:
        here.start(self.file, self.path, host)

    def end(self) -> None:
        here.remove(self.file)

    def connect(self, port: int) -> socket.socket:
        return socket.create_connection((self.address, port), 20)

    # What is said and seen

    def ask(self, host: str, command: str = "status") -> Status:
        return client.ask(self.file, host, command)

    def state(self, host: str) -> str:
        return str(self.ask(host)["state"])

    def primary(self) -> str:
        """Whose guest it is, once both have decided."""
        self.wait(lambda: [each["role"] for each in client.statuses(self.file).values()].count("primary") == 1)
        return client.having(self.file, "primary")

    def wait(self, done: Any, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"it did not come to that\n{self.story()}"
            time.sleep(0.02)

    def wait_state(self, host: str, *states: str, seconds: float = 20.0) -> None:
        self.wait(lambda: self.quietly(host) in states, seconds)

    def quietly(self, host: str) -> str:
        """A state; "" if the agent does not answer."""
        found = client.statuses(self.file)
        return str(found[host]["state"]) if host in found else ""

    def events(self, host: str, kind: str | None = None) -> list[dict[str, Any]]:
        path = self.file.place(host) / "events.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [event for event in found if kind is None or event["event"] == kind]

    def story(self) -> str:
        """What happened, for the message of a failed test."""
        lines = []
        for host in self.file.host:
            log = self.file.place(host) / "agent.log"
            lines.append(f"--- {host}: {log.read_text() if log.exists() else ''}")
            told = [event for event in self.events(host) if event["event"] not in ("copy_progress",)]
            lines += [json.dumps(event)[:300] for event in told[-40:]]
        return "\n".join(lines)

    # What it is brought to

    def secured(self) -> tuple[str, str]:
        """Whatever was broken is mended, and it is protected; the primary and the secondary."""
        for host in self.file.host:
            self.wire(host, True)
            if not self.quietly(host):
                self.revive_host(host)
        primary = self.primary()
        other = self.file.other(primary)
        self.wait(lambda: self._protecting(primary) and self.quietly(other) == "standby", 60)
        return primary, other

    def _protecting(self, primary: str) -> bool:
        """Whether it is protected; a machine that does much else may need several attempts."""
        with suppress(ColoproxyError):  # what was just so may be so no longer
            if self.state(primary) == "alone" and self.ask(primary)["peer"] in WILLING:
                self.ask(primary, "protect")
        return self.quietly(primary) in PROTECTED

    def alone(self) -> tuple[str, str]:
        """It is not protected; the primary, and the host that would be the secondary's."""
        primary = self.primary()
        other = self.file.other(primary)
        if self.state(primary) in PROTECTED:
            self.ask(other, "down")
        self.wait_state(primary, "alone")
        self.wait(lambda: self.ask(primary)["peer"] in WILLING)
        return primary, other

    # Trouble

    def qemu(self, host: str) -> int:
        pid = self.ask(host)["pid"]
        assert pid is not None, f"there is no QEMU on {host}\n{self.story()}"
        return int(pid)

    def agent_pid(self, host: str) -> int:
        guest = self.ask(host)["pid"]
        return next(pid for pid in here.processes(here.namespace(self.file, host)) if pid != guest)

    def kill_host(self, host: str) -> None:
        """The power goes: nothing of it says a word any more, not even that a connection ends."""
        here.switch_off(self.file, host)

    def revive_host(self, host: str) -> None:
        """It is switched on again."""
        here.switch_on(self.file, self.path, host)

    def wire(self, host: str, up: bool) -> None:
        """The wire between the hosts."""
        here.switch(self.file, host, "wire", up)

    def member(self, number: int, up: bool) -> None:
        """The way to a member of etcd: an address of this machine that is only for it."""
        with IPRoute() as ours:
            index = ours.link_lookup(ifname=self.name)[0]
            address = f"{self.address[:-1]}2{number + 1}"
            with suppress(NetlinkError):  # it is as it should be already
                ours.addr("add" if up else "del", index=index, address=address, prefixlen=24)

    def up0(self, host: str, up: bool) -> None:
        """A host's way to the clients, and to etcd."""
        here.switch(self.file, host, "up0", up)


@contextmanager
def numbered() -> Iterator[int]:
    """A number that no other run on this machine has now, whoever runs it: names and addresses are made of it."""
    for number in range(1, 250):
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.bind(f"\0coloproxy-test-pair-{number}")  # gone with this process, however it ends
            except OSError:
                continue
            yield number
            return
    raise AssertionError("all numbers are taken")


@contextmanager
def running(
    folder: Path, protect: bool = True, lease: Callable[[str], str] | None = None, **more: Any
) -> Iterator[Pair]:  # fmt: skip
    """A pair at work. lease: where it is, said the address under which its hosts know this machine."""
    with numbered() as number:
        pair = Pair(folder, number, lease(f"10.177.{number}.2") if lease is not None else None, **more)
        pair.end()  # what a run that was killed has left
        try:
            pair.start(protect)
            yield pair
        finally:
            pair.end()


class Client(threading.Thread):
    """Says something on connections that stay open, and looks at all that comes back. It can rest, with them open."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._end = threading.Event()
        self._awake = threading.Event()
        self._awake.set()
        self.error: str | None = None
        self.count = 0

    def run(self) -> None:
        try:
            while not self._end.is_set():
                self._awake.wait()
                self.exchange()
                self.count += 1
        except (AssertionError, OSError) as error:
            self.error = f"after {self.count}: {error or type(error).__name__}"

    def exchange(self) -> None:
        """Say something, and hear the answer."""
        raise NotImplementedError

    def awake(self, awake: bool) -> None:
        """Go on, or say nothing."""
        (self._awake.set if awake else self._awake.clear)()

    def goes_on(self, pair: Pair, rounds: int = 5, seconds: float = 15.0) -> None:
        """Some more exchanges are made, all right."""
        wanted = self.count + rounds
        end = time.monotonic() + seconds
        while self.count < wanted:
            assert self.error is None, f"{self.error}\n{pair.story()}"
            assert time.monotonic() < end, f"no answers come any more\n{pair.story()}"
            time.sleep(0.01)

    def give_up(self) -> None:
        """Say no more, whatever may be wrong."""
        self._end.set()
        self._awake.set()

    def close(self, pair: Pair) -> None:
        self.give_up()
        self.join(30)
        assert self.error is None, f"{self.error}\n{pair.story()}"
        assert self.count


def connected(address: str, port: int) -> socket.socket:
    """A connection, at the second attempt if what is left of an earlier pair's has just looked for this neighbour in
    vain, before the guest was there: the kernel then says at once that there is none (RFC 4861, 7.2.2)."""
    try:
        sock = socket.create_connection((address, port), 15)
    except OSError as error:
        if error.errno != errno.EHOSTUNREACH:
            raise
        sock = socket.create_connection((address, port), 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(30)
    return sock


class Talk(Client):
    """Echoes and counts, on one connection each, over IPv4 and IPv6; `gap` is the longest time without an answer."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._echo = connected(pair.address, ECHO)
        self._counter = connected(pair.address6, COUNTER)
        self._lines = self._counter.makefile("rb")
        self._last: float | None = None
        self.gap = 0.0
        self.times: list[float] = []

    def exchange(self) -> None:
        block, begin = os.urandom(BLOCK), time.monotonic()
        self._echo.sendall(block)
        back = b""
        while len(back) < BLOCK:
            part = self._echo.recv(BLOCK - len(back))
            assert part, "the connection was closed"
            back += part
        assert back == block, f"wrong bytes: {back!r}, not {block!r}"
        self.times.append(time.monotonic() - begin)
        self._counter.sendall(b"next\n")
        line = self._lines.readline()
        assert line == b"%d\n" % (self.count + 1), f"the counter says {line!r}, not {self.count + 1}"
        now = time.monotonic()
        self.gap, self._last = max(self.gap, now - (self._last or begin)), now
        time.sleep(0.002)

    def awake(self, awake: bool) -> None:
        self._last = None  # how long it was silent is not counted
        super().awake(awake)

    def fresh(self) -> None:
        """Count gaps from now on."""
        self.gap = 0.0

    def close(self, pair: Pair) -> None:
        super().close(pair)
        for sock in (self._echo, self._counter):
            sock.close()


class Flood(Client):
    """Has a stream of bytes echoed, as many on the way as there is room for."""

    AT_ONCE = 1 << 16

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._sock = connected(pair.address, ECHO)
        self._block = 2 * image.block()
        self._said = self._heard = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def exchange(self) -> None:
        """One mebibyte more, or what there is room for."""
        end = self._heard + self.AT_ONCE
        while self._heard < end:
            ((_, events),) = self._selector.select(30) or [(None, 0)]
            assert events, "nothing comes for 30 s"
            if events & selectors.EVENT_WRITE:
                self._said += self._sock.send(self._part(self._said))
            if events & selectors.EVENT_READ:
                came = self._sock.recv(self.AT_ONCE)
                assert came, "the connection was closed"
                assert came == self._part(self._heard, len(came)), f"wrong bytes behind {self._heard}"
                self._heard += len(came)

    def _part(self, at: int, size: int = AT_ONCE) -> bytes:
        return self._block[(at := at % (len(self._block) // 2)) : at + size]

    def close(self, pair: Pair) -> None:
        super().close(pair)
        self._sock.close()


@contextmanager
def talking(pair: Pair) -> Iterator[Talk]:
    talk = Talk(pair)
    talk.start()
    talk.goes_on(pair)
    yield talk
    talk.close(pair)
