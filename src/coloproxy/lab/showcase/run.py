"""The demonstration, seen from outside: one sandbox after the other."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.lab.plan import Ports
from coloproxy.lab.result import Progress
from coloproxy.lab.run import ended_by_signals, equipped
from coloproxy.lab.sandbox import Send, sandbox
from coloproxy.lab.scratch import scratch
from coloproxy.lab.showcase import qemu
from coloproxy.lab.showcase.record import Measurement, Task

NO_QEMU = "QEMU is not installed (Debian: apt install qemu-system-x86)"


def measure(task: Task, ports: Ports, progress: Callable[[Progress], None] = lambda _: None) -> Measurement:
    """Carry out a task; nothing of it is left afterwards, however it ends.

    Raises ColoproxyError if it cannot be carried out; without QEMU, its way has no figures and says so.
    """
    equipped()
    if task.way == "qemu" and qemu.program() is None:
        return Measurement(way=task.way, size=task.size, rate=task.rate, missing=NO_QEMU)
    with (
        ended_by_signals(),
        scratch() as folder,
        sandbox(lambda send: _inside(task, ports, folder, send)) as messages,
    ):
        for line in messages:
            message = msgspec.json.decode(line, type=Progress | Measurement)
            if isinstance(message, Measurement):
                return message
            progress(message)
    raise ColoproxyError("the demonstration was killed before its end; nothing of it is left.")


def _inside(task: Task, ports: Ports, folder: Path, send: Send) -> None:
    from coloproxy.lab.showcase.stage import Stage  # which needs what only the lab needs

    send(Stage(task, ports, folder, send).run())
