"""An endpoint goes on looking for its peer, whatever it lacks for a while."""

import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

from support.frames import tcp
from support.process import Running
from support.wire import Peer


def test_a_process_without_descriptors_left_goes_on_when_it_has_some(
    proxy: Callable[..., Running], tmp_path: Path
) -> None:
    running = proxy(addresses={"primary_in": f"unix:{tmp_path / 'later'}"})
    s, o = running.peer("secondary_in"), running.peer("outdev")
    used = len(os.listdir(f"/proc/{running.process.pid}/fd"))
    before = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    o.close()
    running.wait("peer_lost", role="outdev")
    other = running.peer("outdev")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "later"))
        listener.listen()
        listener.settimeout(1.5)
        try:
            listener.accept()
        except TimeoutError:
            pass
        else:
            raise AssertionError("it should have had no descriptor for this")
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, before)
        listener.settimeout(30)
        p = Peer(listener.accept()[0])
    segment = tcp(b"hello", seq=1, ack=1)
    p.send(segment)
    s.send(segment)
    assert other.frames(1) == [segment]
    running.stop()
