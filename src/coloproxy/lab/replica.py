"""The servers of a run: one process for each kind of work, in each replica."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.lab.network import CLIENT, SERVER, Host
from coloproxy.lab.plan import Plan
from coloproxy.lab.process import Process, python
from coloproxy.lab.servers.order import Order
from coloproxy.link.netns import inside

START = 30.0  # seconds in which a server must listen
SETTLE = 5.0  # seconds given to a server that takes neither connections nor datagrams
PATIENCE = 2.0  # seconds of waiting before it is said what for
WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}  # states of /proc/net: TCP_LISTEN, TCP_CLOSE
KINDS = {"ftp-get": "ftp", "ftp-put": "ftp", "http": "http", "many": "echo", "rr": "echo", "udp": "echo"}
PORTS = {"ftp": 21, "http": 80, "echo": 7}

VSFTPD = """\
listen={ipv4}
listen_ipv6={ipv6}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={files}
ftp_username=daemon
secure_chroot_dir={empty}
seccomp_sandbox=NO
one_process_model=YES
use_localtime=NO
xferlog_enable=NO
pasv_min_port=2121
pasv_max_port=2121
pasv_promiscuous=YES
"""
NGINX = """\
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/pid;
user root;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  etag off;
  server_tokens off;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ {listens} root {files}; }}
}}
"""


def environment() -> dict[str, str]:
    """What a command of the user's is told."""
    return {"SERVER": SERVER[4], "SERVER6": SERVER[6], "CLIENT": CLIENT[4], "CLIENT6": CLIENT[6]}


def kinds(plan: Plan) -> list[str]:
    """The kinds of servers that a plan's workloads need."""
    return sorted({KINDS[workload.name] for workload in plan.workloads if workload.name in KINDS})


class ReplicaHost:
    """One replica: its network and the processes in it. It makes its own folder within `scratch`."""

    def __init__(self, host: Host, plan: Plan, files: Path, scratch: Path, logs: Path) -> None:
        self.host = host
        self.folder = scratch / host.name
        self.folder.mkdir()
        self._logs = logs
        self._processes: list[Process] = []
        self._ports: list[int] = []
        self._begun = time.monotonic()
        for kind in kinds(plan):
            self._start(kind, self._command(kind, plan, files))
            self._ports.append(PORTS[kind])
        if plan.server is not None:
            self._start("server", plan.server)

    def _start(self, kind: str, command: Sequence[str] | str) -> None:
        log = self._logs / f"{self.host.name}-{kind}.log"
        process = Process(kind, command, self.host, log, cwd=self.folder, environment=environment())
        self._processes.append(process)

    def _command(self, kind: str, plan: Plan, files: Path) -> list[str]:
        families = {workload.family for workload in plan.workloads}
        if kind == "ftp" and plan.ftp == "vsftpd":
            if Path("/proc/self/setgroups").read_text().strip() == "deny":  # user_namespaces(7)
                raise ColoproxyError("vsftpd becomes another user, which takes root: use --ftp pyftpdlib.")
            empty = self.folder / "empty"
            empty.mkdir()
            yes_no = {True: "YES", False: "NO"}
            both = {"ipv4": yes_no[families == {4}], "ipv6": yes_no[6 in families]}
            return [program("vsftpd"), self._file("vsftpd.conf", VSFTPD.format(files=files, empty=empty, **both))]
        if kind == "http" and plan.web == "nginx":
            listens = " ".join(f"listen {f'[{SERVER[6]}]' if family == 6 else SERVER[4]}:80;" for family in families)
            text = NGINX.format(folder=self.folder, files=files, listens=listens)
            return [program("nginx"), "-p", str(self.folder), "-c", self._file("nginx.conf", text)]
        order = Order(addresses=list(SERVER.values()), files=str(files), seed=plan.seed)
        return python(f"coloproxy.lab.servers.{kind}", msgspec.json.encode(order).decode())

    def _file(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text)
        return str(file)

    def until_ready(self, waits: Callable[[str], None] = lambda _: None) -> None:
        """Wait until all servers listen; `waits` is told if that takes long. Raises ColoproxyError if one does not."""
        called, said = time.monotonic(), False
        while not self._ready(waited := time.monotonic() - self._begun):
            self.check()
            if time.monotonic() - called > PATIENCE and not said:
                said = True
                limit = START if self._ports else SETTLE
                waits(f"waiting for a server of the {self.host.name} to listen at a port, {limit:.0f} s at most")
            if waited > START:
                raise ColoproxyError(f"the servers of the {self.host.name} did not listen after {START:.0f} s.")
            time.sleep(0.01)

    def _ready(self, waited: float) -> bool:
        if not self._processes:
            return True
        ports = listening(self.host)
        return ports.issuperset(self._ports) if self._ports else bool(ports) or waited > SETTLE

    def check(self) -> None:
        """Raises ColoproxyError if a server has ended."""
        for process in self._processes:
            if process.status not in (None, 0):
                raise ColoproxyError(f"a server of the {self.host.name} ended: {process.last_words()}")

    def stop(self) -> None:
        """Let all its processes stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone at once, as a machine that loses its power: nothing of it is heard any more."""
        self.host.cut()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.signal(number)


def program(name: str) -> str:
    """Where a program is. Raises ColoproxyError if it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ColoproxyError(f"{name} is not installed: install it (Debian: apt install {name}), or use ours.")
    return found


def listening(host: Host) -> set[int]:
    """The ports at which somebody waits for connections or datagrams in a network (proc_net_tcp(5))."""
    ports = set()
    with inside(host.path):
        tables = {name: Path(f"/proc/thread-self/net/{name}").read_text() for name in WAITING}
    for name, table in tables.items():
        for line in table.splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == WAITING[name]:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports
