"""The generator judges what comes out: right through a relay, wrong when a byte is changed or a frame is kept."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from figures import WORKLOADS
from proxies import Sockets, relay_command, running, wait_until_listening


def play(programs: Path, workload: str, sockets: Sockets, frames: int) -> tuple[int, dict[str, object]]:
    """Play a workload through what listens there: exit status and what the generator says."""
    command = [str(programs / "generator"), workload, *map(str, sockets.all()), "--frames", str(frames)]
    done = subprocess.run([*command, "--patience", "1"], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_relay_is_right(programs: Path, tmp_path: Path, workload: str) -> None:
    sockets, log = Sockets.under(tmp_path), tmp_path / "log"
    with running(relay_command(sockets, workload == "W5", programs), log) as process:
        wait_until_listening(process, sockets.all(), log)
        status, said = play(programs, workload, sockets, 2000)
    assert (status, said["right"], said["wrong"], said["out_of_order"]) == (0, True, 0, 0)
    assert said["frames_out"] == said["frames"]


def serve(sockets: Sockets, alter: Callable[[bytearray], bytearray]) -> threading.Thread:
    """A proxy in a thread, that passes the primary's bytes on as `alter` leaves them."""
    listeners = []
    for path in sockets.all():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        listeners.append(listener)

    def drain(sock: socket.socket) -> None:
        while sock.recv(1 << 16):
            pass

    def work() -> None:
        primary, secondary, output = (listener.accept()[0] for listener in listeners)
        other = threading.Thread(target=drain, args=(secondary,))
        other.start()
        while data := primary.recv(1 << 16):
            output.sendall(alter(bytearray(data)))
        other.join()
        for sock in (primary, secondary, output, *listeners):
            sock.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def changed_once(at: int) -> Callable[[bytearray], bytearray]:
    """Changes the one byte of all that passes that has this place."""
    passed = 0

    def alter(data: bytearray) -> bytearray:
        nonlocal passed
        if 0 <= at - passed < len(data):
            data[at - passed] ^= 1
        passed += len(data)
        return data

    return alter


@pytest.mark.parametrize("workload", ["W1", "W4"])
def test_one_changed_byte_is_noticed(programs: Path, tmp_path: Path, workload: str) -> None:
    sockets = Sockets.under(tmp_path)
    thread = serve(sockets, changed_once(100_150))
    status, said = play(programs, workload, sockets, 1000)
    thread.join()
    assert (status, said["right"], said["wrong"]) == (1, False, 1)


def test_a_frame_that_never_comes_is_noticed(programs: Path, tmp_path: Path) -> None:
    sockets = Sockets.under(tmp_path)
    size = 4 + 54 + 1460
    kept = 0

    def keep_the_last(data: bytearray) -> bytearray:
        nonlocal kept
        room = 900 * size - kept
        kept += len(data)
        return data[: max(room, 0)]

    thread = serve(sockets, keep_the_last)
    status, said = play(programs, "W1", sockets, 1000)
    thread.join()
    assert (status, said["right"], said["stalled"]) == (1, False, True)
