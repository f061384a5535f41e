"""Start and measure what is compared: coloproxy, QEMU's colo-compare and the relay, each on three unix sockets."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUEUE = 1_000_000  # frames a connection, far more than the generator's window: nothing may overflow
TIMEOUT = 600_000  # ms: nothing may grow too old while it waits in a socket
PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Sockets:
    """Where a proxy listens."""

    primary: Path
    secondary: Path
    output: Path

    @classmethod
    def under(cls, folder: Path) -> "Sockets":
        """Three names in a folder."""
        return cls(folder / "p.sock", folder / "s.sock", folder / "o.sock")

    def all(self) -> tuple[Path, Path, Path]:
        """The three, in the order the programs take them."""
        return self.primary, self.secondary, self.output


@dataclass(frozen=True)
class Usage:
    """What a process has used so far: CPU seconds (user and system, all threads) and peak resident bytes."""

    cpu: float
    peak: int


def usage(pid: int) -> Usage:
    """Read a live process's usage from procfs, in nanoseconds where the kernel keeps them (schedstat)."""
    cpu = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            cpu += int((task / "schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return Usage(cpu, int(peak.split()[1]) * 1024)


def qemu_program() -> str | None:
    """The QEMU to compare with, if there is one."""
    return os.environ.get("QEMU") or shutil.which("qemu-system-x86_64")


def coloproxy_command(sockets: Sockets, vnet: bool) -> list[str]:
    """The process measured, with limits that the generator's window cannot reach."""
    inputs = (("--primary-in", sockets.primary), ("--secondary-in", sockets.secondary), ("--outdev", sockets.output))
    command = [sys.executable, "-c", "from coloproxy.cli import main; main()", "compare"]
    for option, path in inputs:
        command += [option, f"unix:{path},server"]
    command += ["--max-queue-size", str(QUEUE), "--compare-timeout", str(TIMEOUT)]
    return [*command, *(["--vnet-hdr"] if vnet else [])]


def qemu_command(sockets: Sockets, vnet: bool, notify: Path | None = None, extra: str = "") -> list[str]:
    """QEMU with nothing in it but colo-compare in a thread of its own: no machine, no guest."""
    program = qemu_program()
    if program is None:
        raise FileNotFoundError("qemu-system-x86_64 was not found; install qemu-system-x86 or set QEMU to its path")
    command = [program, "-machine", "none", "-display", "none", "-nodefaults", "-serial", "none", "-monitor", "none"]
    devices = dict(zip(("pri", "sec", "out"), sockets.all(), strict=True))
    if notify is not None:
        devices["notify"] = notify
    for name, path in devices.items():
        command += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
    compare = (
        "colo-compare,id=comp,primary_in=pri,secondary_in=sec,outdev=out,iothread=io"
        f",vnet_hdr_support={'on' if vnet else 'off'}"
    )
    if notify is not None:
        compare += ",notify_dev=notify"
    limits = extra or f",max_queue_size={QUEUE},compare_timeout={TIMEOUT}"
    return [*command, "-object", "iothread,id=io", "-object", compare + limits]


def relay_command(sockets: Sockets, _vnet: bool, build: Path) -> list[str]:
    """The program that compares nothing."""
    return [str(build / "relay"), *map(str, sockets.all())]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with everything it started when the block is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process started by `running`: asked first, then not asked."""
    for sign, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            break
        process.send_signal(sign)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_until_listening(process: subprocess.Popen[bytes], paths: tuple[Path, ...], log: Path) -> None:
    """Return when all the sockets are there; RuntimeError with the process's own words when it ended before."""
    limit = time.monotonic() + PATIENCE
    while not all(path.is_socket() for path in paths):
        if process.poll() is not None:
            words = log.read_text(errors="replace").strip()
            raise RuntimeError(f"{process.args[0]!r} ended with status {process.returncode}: {words}")  # type: ignore[index]
        if time.monotonic() > limit:
            raise RuntimeError(f"{process.args[0]!r} did not listen within {PATIENCE:.0f} s")  # type: ignore[index]
        time.sleep(0.01)


def settle(pid: int) -> Usage:
    """Usage of a process once it has come to rest after its start."""
    before = usage(pid)
    for _ in range(100):
        time.sleep(0.1)
        after = usage(pid)
        if after.cpu - before.cpu < 0.002:
            return after
        before = after
    return before
