"""How long a replica's servers are waited for."""

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from coloproxy.lab import replica
from coloproxy.lab.plan import Plan


def test_servers_that_listen_nowhere_are_all_waited_for_at_once_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(replica, "SETTLE", 0.8)
    monkeypatch.setattr(replica, "PATIENCE", 0.4)
    monkeypatch.setattr(replica, "listening", lambda _: set())
    plan = Plan(server="exec sleep 60", client="true")
    said: list[str] = []
    hosts = [SimpleNamespace(name=name, path=None) for name in plan.replicas]
    made = []
    try:
        for host in hosts:
            made.append(replica.ReplicaHost(host, plan, tmp_path, tmp_path, tmp_path))  # type: ignore[arg-type]
            time.sleep(0.05)  # as on a busy machine
        made[0].until_ready(said.append)
        begun = time.monotonic()
        made[1].until_ready(said.append)
        assert time.monotonic() - begun < 0.4
    finally:
        for each in made:
            each._signal(signal.SIGKILL)
    assert said == ["waiting for a server of the primary to listen at a port, 1 s at most"]
