"""A topology has its page too: its ports, its comparator, its failover, a rule added to it."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import frames
from support.topology import Topology

TEXT = """
name = "three sockets"
control = "unix:DIR/control"
wires = ["primary -> compare.primary", "secondary -> compare.secondary", "compare -> client"]

[port.primary]
socket = "unix:DIR/primary,server"

[port.secondary]
socket = "unix:DIR/secondary,server"

[port.client]
socket = "unix:DIR/client,server"

[element.compare]
type = "comparator"
on_divergence = "alarm"
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Topology]:
    """A topology of three sockets, with a page and control."""
    started = Topology(tmp_path, TEXT, "--http", "0", "--control", str(tmp_path / "token"))
    yield started.running()
    started.kill()


def ask(running: Topology, path: str, post: bool = False) -> bytes:
    """An answer of the page; with the token, if it is to change something."""
    address = re.search(r"http://\S+/", running.errors())
    assert address is not None
    token = {"Authorization": f"Bearer {(running.folder / 'token').read_text().strip()}"}
    request = urllib.request.Request(address[0] + path, b"" if post else None, token if post else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()  # type: ignore[no-any-return]


def state(running: Topology) -> str:
    told: dict[str, Any] = json.loads(ask(running, "api/now"))
    return str(told["protection"]["state"])


def test_a_topology_is_watched_like_a_proxy(running: Topology) -> None:
    running.until(lambda: state(running) == "open")
    p, s, client = (running.peer(name) for name in ("primary", "secondary", "client"))
    running.until(lambda: state(running) == "protected")
    p.send(frames.tcp(b"this", seq=1, ack=1))
    s.send(frames.tcp(b"that", seq=1, ack=1))
    client.frames(1)
    running.until(lambda: len(json.loads(ask(running, "api/divergences"))) == 1)
    running.until(lambda: "pass uncompared" in json.loads(ask(running, "api/now"))["protection"]["why"])
    served = ask(running, "metrics").decode()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(served)
        for sample in family.samples
    }
    assert values["coloproxy_port_frames_total", "client", "sent"] == 1
    assert values["coloproxy_connections_unprotected", "compare"] == 1
    rule = json.loads(ask(running, "api/divergences/1/ignore", post=True))["rule"]
    assert json.loads(ask(running, "api/rules"))["compare"][0] == rule
    assert running.commands().ask("failover primary")["ok"]
    running.until(lambda: state(running) == "alone")
    running.stop()
