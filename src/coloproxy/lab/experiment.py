"""A run, seen from within its sandbox: build, start, work, stop, account."""

import select
import time
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.lab.clients.order import Order
from coloproxy.lab.clients.transfer import file_name
from coloproxy.lab.content import Content
from coloproxy.lab.network import SERVER, Network
from coloproxy.lab.plan import Action, Plan, Ports
from coloproxy.lab.process import Process, python
from coloproxy.lab.proxy import Proxy
from coloproxy.lab.replica import ReplicaHost, environment
from coloproxy.lab.result import Done, Figures, Progress, Result, Said, Waiting
from coloproxy.lab.sandbox import Send, mount_tmpfs
from coloproxy.lab.wiring import topology

TURN = 0.05  # seconds between two looks at what is due
SERVED = ("ftp-get", "http")  # whose files are made


class Experiment:
    """One run. `scratch`: a folder that goes afterwards; `logs`: one that may be kept."""

    def __init__(self, plan: Plan, ports: Ports, scratch: Path, logs: Path, send: Send) -> None:
        self._plan = plan
        self._send = send
        self._logs = logs
        self._result = Result(path=plan.path, ports="direct" if plan.path == "direct" else ports)
        self._content = Content(plan.seed)
        self._files = scratch / "files"
        self._network = Network(["client", *plan.replicas], None if plan.path == "direct" else ports, plan.rate)
        self._make_files()
        self._proxy = self._start_proxy(ports, scratch) if plan.path != "direct" else None
        hosts = self._network.hosts
        self._replicas = {name: ReplicaHost(hosts[name], plan, self._files, scratch, logs) for name in plan.replicas}
        if self._proxy is not None:
            self._proxy.until_running()
        for replica in self._replicas.values():
            replica.until_ready(lambda text: send(Waiting(text)))

    def _make_files(self) -> None:
        self._files.mkdir()
        sizes = {workload.size for workload in self._plan.workloads if workload.name in SERVED}
        try:
            mount_tmpfs(self._files)
            for size in sizes:
                self._content.write(self._files / file_name(size), size)
        except OSError as error:
            raise ColoproxyError(f"no room in memory for {sum(sizes)} bytes of files: {error.strerror}.") from None

    def _start_proxy(self, ports: Ports, scratch: Path) -> Proxy:
        hosts = self._network.hosts | {"proxy": self._network.proxy}
        places = {name: host.path for name, host in hosts.items()}
        control = scratch / "control"
        file = self._logs / "topology.toml"
        captures = self._logs if self._plan.dump else None
        file.write_text(topology(self._plan, ports, places, self._logs, control, captures))
        return Proxy(file, self._logs / "events.jsonl", control, self._network.proxy, self._plan.page)

    # The work

    def run(self) -> Result:
        """Raises ColoproxyError if it cannot be brought to an end."""
        if self._proxy is not None:
            self._proxy.begin()
        work = Work(self)
        try:
            work.run()
        except ColoproxyError:
            if self._proxy is not None:
                self._proxy.end()  # so that its events and captures are whole
            raise
        cpu_seconds = self._proxy.spent() if self._proxy is not None else 0.0
        self._result.seconds = work.seconds
        self._result.workloads = work.results()
        self._result.ok = all(figures.ok for figures in self._result.workloads)
        if self._proxy is not None:
            self._result.proxy = self._proxy.stop(cpu_seconds)
        return self._result

    def clients(self) -> list[Process]:
        """Start the clients, each a process."""
        plan, host = self._plan, self._network.hosts["client"]
        if plan.client is not None:
            log = self._logs / "client.log"
            merged = f"exec 2>&1\n{plan.client}"
            return [Process("client", merged, host, log, read=True, environment=environment())]
        made = []
        for number, workload in enumerate(plan.workloads, 1):
            order = Order(workload, SERVER[workload.family], plan.seed, plan.timeout)
            command = python("coloproxy.lab.clients", msgspec.json.encode(order).decode())
            log = self._logs / f"client-{number}-{workload.name}.log"
            made.append(Process(workload.name, command, host, log, read=True))
        return made

    # What happens on the way

    def begin(self, action: Action, now: float) -> None:
        """Begin an action; `now` is seconds of the work."""
        replica = self._replicas[action.replica]
        if action.what == "pause":
            replica.stop()
        else:
            replica.kill()
        self._result.actions.append(Done(what=action.what, replica=action.replica, time=now))

    def end(self, action: Action) -> None:
        """Its time is over: a replica goes on, or the proxy is told that one is gone."""
        if action.what == "pause":
            self._replicas[action.replica].go_on()
        elif self._proxy is not None and self._plan.path == "compare":
            survivor = "secondary" if action.replica == "primary" else "primary"
            self._proxy.command(f"failover {survivor}")

    def check(self) -> None:
        """Raises ColoproxyError if something ended that should not have."""
        if self._proxy is not None:
            self._proxy.alive()
        killed = {done.replica for done in self._result.actions if done.what == "kill"}
        for name, replica in self._replicas.items():
            if name not in killed:
                replica.check()

    @property
    def plan(self) -> Plan:
        return self._plan

    def tell(self, news: Progress | Said) -> None:
        self._send(news)


class Work:
    """The clients at work: how far they are, and the actions that are due."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.figures: dict[Process, Figures] = {}
        self.seconds = 0.0
        self._begun = 0.0
        self._waiting = list(experiment.plan.actions)
        self._going: list[tuple[float, Action]] = []
        self._progress: dict[Process, Progress] = {}

    def run(self) -> None:
        self._begun = time.monotonic()
        clients = self._experiment.clients()
        self._progress = {client: Progress(0.0) for client in clients}
        running = {client.output.fileno(): client for client in clients}
        while running:
            for fd in select.select(running, [], [], self._patience())[0]:
                if not self._read(running[fd]):
                    del running[fd]
            self._act()
            self._experiment.check()
        self.seconds = time.monotonic() - self._begun

    def results(self) -> list[Figures]:
        """Of the clients, in the order of the plan."""
        return [self.figures[client] for client in self._progress]

    @property
    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _patience(self) -> float:
        """Seconds to wait for news. Raises ColoproxyError when the work takes too long."""
        left = self._experiment.plan.timeout - self._now
        if left <= 0:
            part = sum(progress.part for progress in self._progress.values()) / len(self._progress)
            raise ColoproxyError(
                f"the work was not over after {self._experiment.plan.timeout:.0f} s ({part:.0%} of it done):"
                " give it more time with --timeout, or look into --keep DIR."
            )
        return min([TURN, left] + [max(0.0, end - self._now) for end, _ in self._going])

    def _read(self, client: Process) -> bool:
        """Take what a client tells. False: it has ended."""
        lines = client.lines()
        if lines is None:
            self._ended(client)
            return False
        if self._experiment.plan.client is not None:
            for line in lines:
                self._experiment.tell(Said(line.decode(errors="replace")))
        else:
            for line in lines:
                message = msgspec.json.decode(line, type=Progress | Figures)
                if isinstance(message, Figures):
                    self.figures[client] = message
                else:
                    self._progress[client] = message
            self._tell()
        return True

    def _tell(self) -> None:
        found = self._progress.values()
        part = sum(progress.part for progress in found) / len(found)
        self._experiment.tell(Progress(part, sum(progress.bytes for progress in found)))

    def _ended(self, client: Process) -> None:
        status = client.wait(5.0)
        self._progress[client] = Progress(1.0, self._progress[client].bytes)
        if self._experiment.plan.client is not None:
            seconds = self._now
            ok = status == 0
            errors = [] if ok else [f"client: it ended with status {status}"]
            self.figures[client] = Figures(
                name="client", ok=ok, count=int(ok), failed=int(not ok), seconds=seconds, errors=errors
            )
        elif status != 0:
            raise ColoproxyError(f"the client {client.name} ended before its time: {client.last_words()}")

    def _act(self) -> None:
        now = self._now
        part = sum(progress.part for progress in self._progress.values()) / len(self._progress)
        for action in [a for a in self._waiting if (part >= a.at if a.after is None else now >= a.after)]:
            self._waiting.remove(action)
            self._experiment.begin(action, now)
            self._going.append((now + action.seconds, action))
        for due in [due for due in self._going if due[0] <= self._now]:
            self._going.remove(due)
            self._experiment.end(due[1])
