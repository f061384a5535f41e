"""What comparing costs: a quick run of the benchmark, for the proxies that this machine has."""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

import proxies
import run
from figures import PROXIES, Result

WORKLOADS = ("W1", "W2", "W3", "W4")


def missing() -> list[str]:
    """What is not here, and what is left out for that: a sentence each."""
    if not shutil.which(os.environ.get("CC", "gcc")):
        return ["no C compiler (Debian: gcc) to build the load with: left out"]
    if proxies.qemu_program() is None:
        return ["no QEMU (Debian: qemu-system-x86): measured without it"]
    return []


def measure(runs: int, console: Console) -> Result | None:
    """So many runs of each workload through each proxy; None when the generator cannot be built."""
    if not shutil.which(os.environ.get("CC", "gcc")):
        return None
    present = [name for name in PROXIES if name != "qemu" or proxies.qemu_program()]
    args = argparse.Namespace(quick=True, runs=runs, workload=list(WORKLOADS), proxy=present)
    with tempfile.TemporaryDirectory() as name:
        programs = Path(name)
        run.build(programs)
        return run.play_all(args, programs, console)
