"""Events: a reader who is slow keeps nobody waiting, and what is lost is counted."""

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from coloproxy.compare.events import Warned
from coloproxy.link.log import EventLog
from coloproxy.link.loop import Loop
from support.frames import tcp, udp
from support.process import COMMAND
from support.wire import PATIENCE, Peer, connect


def read(reader: int) -> bytes:
    """What is in the pipe."""
    data = b""
    while select.select([reader], [], [], 0)[0] and (piece := os.read(reader, 1 << 16)):
        data += piece
    return data


def test_what_a_reader_does_not_take_waits_up_to_a_limit_and_the_rest_is_counted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events")
    reader = os.open(tmp_path / "events", os.O_RDONLY | os.O_NONBLOCK)
    log, loop = EventLog(str(tmp_path / "events")), Loop()
    log.attach(loop)
    for number in range(20000):
        log.write(Warned(time=float(number), text="x" * 100))
    data = b""
    while piece := read(reader):
        data += piece
        loop.turn(0)
    log.write(Warned(time=1e6, text="at last"))
    log.close()
    loop.close()
    lines = [json.loads(line) for line in (data + read(reader)).splitlines()]
    os.close(reader)
    lost = int(lines[-2]["text"].split()[0])
    assert (lines[-2]["text"], lines[-1]["text"]) == (f"{lost} events were lost: their reader took none", "at last")
    assert [line["time"] for line in lines[:-2]] == list(range(20000 - lost))
    assert 0 < lost < 15000


@pytest.mark.parametrize("file", [True, False])
def test_a_reader_that_takes_nothing_stops_neither_the_frames_nor_the_end(tmp_path: Path, file: bool) -> None:
    sockets = {"primary-in": "p", "secondary-in": "s", "outdev": "o"}
    options = [f"--{role}=unix:{tmp_path / name},server" for role, name in sockets.items()]
    target, reader = "-", None
    if file:
        os.mkfifo(tmp_path / "e")
        target, reader = str(tmp_path / "e"), os.open(tmp_path / "e", os.O_RDONLY | os.O_NONBLOCK)
    running = subprocess.Popen(
        [*COMMAND, "compare", *options, "--events", target, "--on-divergence", "release"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        p, s, o = (Peer(connect(str(tmp_path / name))) for name in sockets.values())
        for port in range(1, 501):
            p.send(udp(b"ours", dport=port))
            s.send(udp(b"differs", dport=port))
        segment = tcp(b"same", seq=1, ack=1)
        p.send(segment)
        s.send(segment)
        assert segment in o.frames(501)
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0
    finally:
        running.kill()
        running.communicate()
        if reader is not None:
            os.close(reader)
