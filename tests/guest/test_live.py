"""A real pair of guests, and clients that check every byte; what becomes of faults is told by test_faults."""

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from coloproxy.errors import ColoproxyError
from support.pages import DOCS, table
from support.pair import RANDOM, Flood, Pair, running, talking

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running(tmp_path_factory.mktemp("pair"), host='http = "0"') as made:
        yield made


@pytest.fixture
def protected(pair: Pair) -> Pair:
    pair.secured()
    return pair


def hosts(pair: Pair) -> tuple[str, str]:
    primary = pair.primary()
    return primary, pair.file.other(primary)


def test_protected_traffic_is_right_and_needs_no_checkpoint(protected: Pair) -> None:
    primary, _ = hosts(protected)
    before = protected.ask(primary)
    with talking(protected) as talk:
        talk.goes_on(protected, 300)
    after = protected.ask(primary)
    assert after["verified_bytes"] - before["verified_bytes"] > 300 * 100
    assert after["checkpoints"] - before["checkpoints"] <= 1  # of a connection that begins, under load


def test_an_idle_pair_makes_no_checkpoint(protected: Pair) -> None:
    primary, _ = hosts(protected)
    before = protected.ask(primary)["checkpoints"]
    time.sleep(4)
    assert protected.ask(primary)["checkpoints"] == before


def test_random_answers_force_checkpoints_and_arrive_whole(protected: Pair) -> None:
    primary, _ = hosts(protected)
    before = protected.ask(primary)["checkpoints"]
    with talking(protected) as talk:
        for _ in range(30):  # a copy may draw the same numbers for a while
            with socket.create_connection((protected.address, RANDOM), 15) as sock:
                sock.settimeout(20)
                sock.sendall(b"go\n")
                said = b""
                while part := sock.recv(4096):
                    said += part
                assert len(said) == 1000
            if protected.ask(primary)["checkpoints"] >= before + 3:
                break
        talk.goes_on(protected, 20)
    assert protected.ask(primary)["checkpoints"] >= before + 3


def test_checkpoints_that_are_asked_for_are_made_and_told(protected: Pair) -> None:
    primary, _ = hosts(protected)
    for _ in range(5):
        assert "checkpoint after" in protected.command("checkpoint")
    last = protected.events(primary, "guest_checkpoint")[-1]
    assert last["asked"] == {"asked for": 1}
    assert 0 < last["paused"] <= last["took"] < 2


def page(pair: Pair, host: str, path: str) -> bytes:
    """What a host's page says; its agent says where it is."""
    found = re.findall(r"the page is at (\S+)", (pair.file.place(host) / "agent.log").read_text())
    with urllib.request.urlopen(found[-1] + path, timeout=20) as answer:
        return bytes(answer.read())


def test_both_hosts_have_a_page_that_tells_checkpoints_with_their_reasons(protected: Pair) -> None:
    primary, secondary = hosts(protected)
    before = protected.ask(primary)["checkpoints"]
    protected.command("checkpoint")

    def seen(host: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(page(protected, host, "api/now"))
        return told

    protected.wait(lambda: (seen(primary)["picture"]["guest"] or {})["checkpoints"] > before)
    for host, role, other in ((primary, "primary", "standby"), (secondary, "secondary", "protected")):
        protected.wait(lambda host=host: seen(host)["protection"]["state"] == "protected")
        guest = seen(host)["picture"]["guest"]
        assert (guest["host"], guest["role"], guest["title"]) == (host, role, "Protected")
        assert guest["peer"] in {other, "checkpointing", "loading"}
    marks = json.loads(page(protected, primary, "api/history"))["marks"]
    made = [mark for mark in marks if mark["event"] == "guest_checkpoint" and "asked for" in mark["asked"]]
    assert 0 < made[-1]["paused"] <= made[-1]["took"]
    assert not [mark for mark in marks if mark["event"] in ("checkpoint_completed", "checkpoint_requested")]
    served = page(protected, primary, "metrics").decode()
    described = {row[0].strip("`") for row in table(DOCS / "watch.md", "Metrics of a guest's agent")} - {"metric"}
    assert set(re.findall(r"^# HELP (coloproxy_guest_\w+)", served, re.M)) == described
    assert 'coloproxy_guest_role{role="primary"} 1.0' in served
    assert 'coloproxy_guest_checkpoints_asked_total{reason="asked for"}' in served


def test_a_failover_can_be_asked_for(protected: Pair) -> None:
    _, secondary = hosts(protected)
    with talking(protected) as talk:
        assert "the guest lives here now" in protected.command("failover")
        talk.goes_on(protected, 20)
    assert protected.state(secondary) == "alone"


def test_it_moves_and_is_protected_again_twenty_times_on_the_same_connections(protected: Pair) -> None:
    flood = Flood(protected)
    flood.start()
    with talking(protected) as talk:
        for number in range(20):
            primary, secondary = protected.secured()
            talk.goes_on(protected, 10)
            if number % 2:
                os.kill(protected.qemu(primary), signal.SIGKILL)
            else:
                protected.ask(primary, "failover")
            protected.wait_state(secondary, "alone")
            talk.goes_on(protected, 10)
            flood.goes_on(protected, 1)
    flood.close(protected)


def test_what_cannot_be_is_refused_by_a_sentence(protected: Pair) -> None:
    primary, secondary = hosts(protected)
    for host, command in ((primary, "up"), (secondary, "up"), (secondary, "checkpoint"), (primary, "protect")):
        with pytest.raises(ColoproxyError):
            protected.ask(host, command)
