"""A run, seen from outside."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.lab.plan import Plan, Ports, check
from coloproxy.lab.result import Progress, Result, Said, Waiting
from coloproxy.lab.sandbox import Send, privileged, sandbox
from coloproxy.lab.scratch import scratch
from coloproxy.lab.wiring import topology

TUN = "/dev/net/tun"
ENDING = (signal.SIGTERM, signal.SIGHUP)


def ports_here(wanted: Ports | None) -> Ports:
    """How the proxy gets at frames on this machine: root by TAPs, others by packet sockets.

    Raises ColoproxyError if TAPs are wanted and cannot be had.
    """
    accessible = os.access(TUN, os.R_OK | os.W_OK)
    if wanted == "tap" and not accessible:
        raise ColoproxyError(f"TAPs need {TUN}, which may not be opened here: run it as root, or use --ports packet.")
    return wanted or ("tap" if privileged() and accessible else "packet")


def run(
    plan: Plan,
    progress: Callable[[Progress], None] = lambda _: None,
    said: Callable[[str], None] = lambda _: None,
    waits: Callable[[str], None] = lambda _: None,
) -> Result:
    """Carry out a plan; nothing of it is left afterwards, however it ends.

    `progress` is told how far it is, `said` each line that a client command of the user's prints, `waits`
    what is waited for if the start takes long.
    Raises ColoproxyError if it cannot be carried out, here or at all.
    """
    check(plan)
    equipped()
    with ended_by_signals(), scratch() as folder, _logs(plan, folder) as logs:
        ports = ports_here(plan.ports)
        with sandbox(lambda send: _inside(plan, ports, folder, logs, send)) as messages:
            for line in messages:
                message = msgspec.json.decode(line, type=Progress | Said | Waiting | Result)
                if isinstance(message, Result):
                    return message
                if isinstance(message, Said):
                    said(message.text)
                elif isinstance(message, Waiting):
                    waits(message.text)
                else:
                    progress(message)
    raise ColoproxyError("the run was killed before its end; nothing of it is left.")


def equipped() -> None:
    """Raises ColoproxyError if the lab's libraries are not installed."""
    try:
        import pyftpdlib  # noqa: F401
        import pyroute2  # noqa: F401
    except ImportError as error:
        raise ColoproxyError(f"the lab needs {error.name}: pip install 'coloproxy[lab]'.") from None


def _inside(plan: Plan, ports: Ports, folder: Path, logs: Path, send: Send) -> None:
    from coloproxy.lab.experiment import Experiment  # which needs what only the lab needs

    send(Experiment(plan, ports, folder, logs, send).run())


def show(plan: Plan) -> str:
    """The topology file that a run of this plan would use; where devices are is only known when they are there."""
    check(plan)
    if plan.path == "direct":
        raise ColoproxyError("the direct path has no proxy, and no topology.")
    places = {name: f"/proc/PID/fd/{name}" for name in ("client", "proxy", *plan.replicas)}
    folder = plan.keep or Path("FOLDER")
    captures = folder if plan.dump else None
    return topology(plan, ports_here(plan.ports), places, folder, Path("FOLDER", "control"), captures)


@contextmanager
def _logs(plan: Plan, folder: Path) -> Iterator[Path]:
    """The folder for topology, events and logs. Raises ColoproxyError if it cannot be made."""
    if plan.keep is None:
        yield folder
        return
    keep = plan.keep.absolute()
    try:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "events.jsonl").unlink(missing_ok=True)  # those of an earlier run
    except OSError as error:
        raise ColoproxyError(f"folder {keep} cannot be used: {error.strerror}; name another.") from None
    yield keep


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have signals that end a program end this block first; only the main thread gets any."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
