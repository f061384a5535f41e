"""One way of the demonstration, seen from within its sandbox: build, start, download, stop, account."""

import contextlib
import hashlib
import os
import select
import time
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.lab.clients.transfer import file_name
from coloproxy.lab.content import Content
from coloproxy.lab.network import SERVER, Network
from coloproxy.lab.plan import Plan, Ports, Workload
from coloproxy.lab.process import Process, python
from coloproxy.lab.proxy import Proxy
from coloproxy.lab.replica import ReplicaHost
from coloproxy.lab.result import Progress
from coloproxy.lab.sandbox import Send, mount_tmpfs
from coloproxy.lab.showcase import qemu
from coloproxy.lab.showcase.checkpointer import Checkpointer
from coloproxy.lab.showcase.download import Order
from coloproxy.lab.showcase.record import Checked, Download, Measurement, Task
from coloproxy.lab.showcase.wiring import topology

SEED = 1
TURN = 0.05  # seconds between two looks at whether all are alive
RETRANSMISSION = 1.0  # seconds after which a segment is sent again (RFC 6298, 2.4)
PATIENCE = 30.0  # seconds that a client may take beyond its time, to start and to sum up


class Stage:
    """The network, the servers and, but for the native way, what stands between. `scratch` goes afterwards."""

    def __init__(self, task: Task, ports: Ports, scratch: Path, send: Send) -> None:
        self._task = task
        self._send = send
        self._scratch = scratch
        self._sockets = short(scratch / "sockets")
        self._native = task.way == "native"
        names = ["primary"] if self._native else ["primary", "secondary"]
        self._network = Network(["client", *names], None if self._native else ports, task.rate)
        if task.way == "packet":
            self._slow_timers(names)
        self._file = self._make_file()
        self._qemu = self._start_qemu() if task.way == "qemu" else None
        self._proxy = None if self._native else self._start_proxy(ports)
        plan = Plan(workloads=(Workload(name="ftp-get", size=task.size),), seed=SEED)
        hosts = self._network.hosts
        self._replicas = [ReplicaHost(hosts[name], plan, self._file.parent, scratch, scratch) for name in names]
        if self._proxy is not None:
            self._proxy.until_running()
        for replica in self._replicas:
            replica.until_ready()
        self._checkpointer = None if self._native else self._start_checkpointer()

    def _make_file(self) -> Path:
        folder = self._scratch / "files"
        folder.mkdir()
        file = folder / file_name(self._task.size)
        try:
            mount_tmpfs(folder)
            Content(SEED).write(file, self._task.size)
        except OSError as error:
            text = f"no room in memory for a file of {self._task.size} bytes: {error.strerror}."
            raise ColoproxyError(text) from None
        return file

    def _slow_timers(self, names: list[str]) -> None:
        """The clock of a guest stands still during a checkpoint, that of our replicas' stacks does not: they are not to
        take checkpoints, one behind the other, for lost segments. Older kernels cannot be told so."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                least = RETRANSMISSION + self._task.checkpoint_cost / 1000
                self._network.hosts[name].sysctl("ipv4/tcp_rto_min_us", round(1e6 * least))

    def _start_qemu(self) -> Process:
        started = Process("QEMU", qemu.command(self._sockets), self._network.proxy, self._scratch / "qemu.log")
        end = time.monotonic() + PATIENCE
        while not all((self._sockets / name).is_socket() for name in qemu.DEVICES):
            if started.status is not None or time.monotonic() > end:
                raise ColoproxyError(f"QEMU did not start: {started.last_words()}")
            time.sleep(0.01)
        return started

    def _start_proxy(self, ports: Ports) -> Proxy:
        hosts = self._network.hosts | {"proxy": self._network.proxy}
        places = {name: host.path for name, host in hosts.items()}
        file = self._scratch / "topology.toml"
        events = self._scratch / "events.jsonl"
        file.write_text(topology(self._task.way, ports, places, self._sockets, events))
        return Proxy(file, events, self._sockets / "control", self._network.proxy, self._task.page)

    def _start_checkpointer(self) -> Checkpointer:
        """QEMU's checkpoints are news to our elements, ours they hear of from the comparator among them."""
        proxy = self._proxy
        assert proxy is not None
        tell = (lambda: proxy.command("checkpoint completed")) if self._qemu is not None else (lambda: None)
        return Checkpointer(
            self._sockets / "notify", self._replicas, self._task.checkpoint_cost / 1000,
            long_form=self._qemu is not None, first=self._task.way != "coloproxy", made=tell,
        )  # fmt: skip

    # The work

    def run(self) -> Measurement:
        """Raises ColoproxyError if it cannot be brought to an end."""
        task = self._task
        found = Measurement(way=task.way, size=task.size, rate=task.rate)
        if self._proxy is not None:
            self._proxy.begin()
        qemus = self._qemu.cpu_seconds() if self._qemu is not None else 0.0
        came = self._downloads()
        if self._checkpointer is not None:
            self._checkpointer.end()
        if self._qemu is not None:
            found.cpu_seconds = self._qemu.cpu_seconds() - qemus
        if self._proxy is not None:
            self._account(found, self._proxy)
        found.take([self._checked(download) for download in came])
        return found

    def _account(self, found: Measurement, proxy: Proxy) -> None:
        """What the processes between did."""
        assert self._checkpointer is not None
        spent = proxy.spent()
        figures = proxy.stop(spent)
        found.checkpoints_asked = self._checkpointer.asked
        found.checkpoints_made = self._checkpointer.made
        found.stopped = self._checkpointer.stopped
        if self._qemu is not None:
            found.comparator, found.elements_cpu_seconds = "colo-compare", spent
        else:
            found.comparator, found.cpu_seconds = "coloproxy", spent
            found.divergences, found.reasons = figures.divergences, figures.reasons

    def _downloads(self) -> list[Download]:
        """Have the client work; what came."""
        task = self._task
        order = msgspec.json.encode(Order(SERVER[4], task.size, task.runs, task.budget)).decode()
        command = python("coloproxy.lab.showcase.download", order)
        client = Process("client", command, self._network.hosts["client"], self._scratch / "client.log", read=True)
        came: list[Download] = []
        end = time.monotonic() + task.budget + PATIENCE
        while True:
            if time.monotonic() > end:
                raise ColoproxyError(f"the client did not end in its time: {client.last_words()}")
            self._check()
            if not select.select([client.output], [], [], TURN)[0]:
                continue
            lines = client.lines()
            if lines is None:
                break
            for line in lines:
                message = msgspec.json.decode(line, type=Progress | Download)
                if isinstance(message, Download):
                    came.append(message)
                else:
                    self._send(message)
        if client.wait(PATIENCE) != 0 or not came:
            raise ColoproxyError(f"the client ended before its time: {client.last_words()}")
        return came

    def _check(self) -> None:
        """Raises ColoproxyError if something ended that should not have."""
        if self._proxy is not None:
            self._proxy.alive()
        if self._qemu is not None and self._qemu.status is not None:
            raise ColoproxyError(f"QEMU ended in the middle of the work: {self._qemu.last_words()}")
        if self._checkpointer is not None:
            self._checkpointer.check()
        for replica in self._replicas:
            replica.check()

    def _checked(self, download: Download) -> Checked:
        """Compare with the file that the server has."""
        digest = hashlib.md5()
        with self._file.open("rb") as file:
            left = download.bytes
            while left and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
        return Checked(
            bytes=download.bytes,
            seconds=download.seconds,
            md5=download.md5,
            whole=download.bytes == self._task.size,
            right=download.md5 == digest.hexdigest(),
        )


def short(folder: Path) -> Path:
    """Make a folder, and give it a short name while we live: the path of a socket has 107 bytes at most (unix(7))."""
    folder.mkdir()
    # As those outside our PID namespace see it: the file system /proc is theirs.
    return Path(f"/proc/{os.readlink('/proc/self')}/fd/{os.open(folder, os.O_PATH | os.O_CLOEXEC)}")
