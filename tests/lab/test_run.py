"""What a run does, with the real proxy, real servers and real kernels."""

import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from coloproxy.capture import Capture

pytestmark = pytest.mark.root

LISTENING = "exec python3 -c 'import socket, time; s = socket.create_server((\"\", 9)); time.sleep(99)'"
ALL = ("ftp-get", "ftp-put", "http", "many", "rr", "udp", "ping")
SMALL = ("--size", "10k", "--count", "20")


def workloads(result: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(each["name"], each["family"]): each for each in result["workloads"]}


def check_all(result: dict[str, Any], count: int) -> None:
    found = workloads(result)
    assert set(found) == {(name, family) for name in ALL for family in (4, 6)}
    for (name, _), figures in found.items():
        assert figures["ok"], figures
        assert figures["count"] == count
        assert figures["failed"] == 0
        assert figures["errors"] == []
        each = 1 if name in ("many", "rr") else 10 << 10
        assert figures["bytes"] == each * count
        assert (figures["latency"] is None) == (name in ("ftp-get", "ftp-put", "http"))


@pytest.mark.parametrize("path", [("direct",), ("forward",), ("forward", "--ports", "packet")], ids=" ".join)
def test_all_work_is_done_and_right_on_the_simple_paths(lab, path) -> None:
    result = lab.run(*ALL, "-4", "-6", *SMALL, "--path", *path)
    check_all(result, 20)
    assert (result["proxy"] is None) == (path == ("direct",))


@pytest.mark.parametrize("ports", ["tap", "packet"])
def test_all_work_is_done_and_right_with_two_replicas(lab, ports) -> None:
    result = lab.run(*ALL, "-4", "-6", *SMALL, "--ports", ports, "--skew")
    check_all(result, 20)
    assert result["ports"] == ports
    proxy = result["proxy"]
    assert proxy["divergences"] == 0
    assert proxy["checkpoints_requested"] == 0
    assert proxy["cpu_seconds"] > 0
    accounting = next(event["accounting"] for event in proxy["summaries"] if event["event"] == "summary")
    for side in ("primary", "secondary"):
        parts = [accounting[side][part]["frames"] for part in ("released", "passed", "held", "dropped", "refused")]
        assert accounting[side]["received"]["frames"] == sum(parts) > 0


def test_many_transfers_at_a_time_find_data_connections_of_their_own(lab) -> None:
    result = lab.run("ftp-get", "ftp-put", "--count", "100", "--parallel", "50", "--size", "5k", "--path", "direct")
    assert [each["count"] for each in result["workloads"]] == [100, 100]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("vsftpd", ("ftp-get", "--ftp", "vsftpd", "--count", "3")), ("nginx", ("http", "--web", "nginx", "-4", "-6"))],
)
def test_other_servers_may_be_the_replicas(lab, program, arguments) -> None:
    if not (os.environ.get("COLOPROXY_CI") or shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")):
        pytest.skip(f"{program} is not installed")
    result = lab.run(*arguments, "--size", "1M", "--skew")
    assert result["ok"]
    assert result["proxy"]["divergences"] == 0


def test_two_hundred_transfers_at_a_time_are_right(lab) -> None:
    work = ("ftp-get:200k", "http:200k", "-4", "-6", "--count", "50", "--parallel", "50", "--skew")
    result = lab.run(*work, "--compare", "compare_timeout=20000")
    assert result["ok"]
    assert [(each["count"], each["bytes"]) for each in result["workloads"]] == [(50, 50 * 200 << 10)] * 4
    assert result["proxy"]["divergences"] == 0


def test_the_rate_of_the_network_is_kept(lab) -> None:
    found = lab.run("ftp-get", "--size", "10M", "--rate", "100M", "--path", "direct")["workloads"][0]
    assert 0.6e8 < found["bits_per_second"] < 1.0e8 + 8 * (256 << 10) / found["seconds"]


def test_bad_legs_make_no_wrong_bytes(lab) -> None:
    """Nor divergences, as long as nobody gives up on a replica that waits for its retransmission time-out, doubled."""
    bad = ("--impair", "loss=1%,duplicate=1%,reorder=1%,delay=0.2,jitter=0.1", "--compare", "compare_timeout=20000")
    result = lab.run("ftp-get", "http", "ftp-put", "-4", "-6", "--size", "2M", "--skew", *bad, "--seed", "7")
    assert result["ok"]
    assert result["proxy"]["divergences"] == 0
    elements = next(e["elements"] for e in result["proxy"]["summaries"] if e["event"] == "topology_summary")
    assert elements["impair-from-client"]["lost"] + elements["impair-to-client"]["lost"] > 0
    assert elements["impair-to-secondary"]["duplicated"] > 0


def test_timestamps_that_are_kept_are_translated(lab) -> None:
    result = lab.run("ftp-get", "many", "--count", "3", "--size", "1M", "--skew", "--timestamps", "translate")
    assert result["ok"]
    assert result["proxy"]["divergences"] == 0


def test_the_client_notices_a_single_wrong_byte(lab) -> None:
    result = lab.run("http", "--size", "1M", "--path", "forward", "--alter", "primary:500000", status=1)
    (figures,) = result["workloads"]
    assert not figures["ok"]
    assert "byte 499" in figures["errors"][0]  # the header of the answer comes before


def test_the_server_notices_a_single_wrong_byte(lab, tmp_path: Path) -> None:
    """What the server says of an upload is what it got: here, not what it should have."""
    text = (
        "import ftplib, io, os\n"
        "ftp = ftplib.FTP(os.environ['SERVER']); ftp.login(); ftp.storbinary('STOR x', io.BytesIO(bytes(1000)))\n"
        "print(ftp.sendcmd('SITE VERIFY x'))\n"
    )
    client = tmp_path / "client.py"
    client.write_text(text)
    order = json.dumps({"addresses": ["10.77.0.1"], "files": "/", "seed": 1})
    server = f"exec {sys.executable} -m coloproxy.lab.servers.ftp '{order}'"
    out, _ = lab.command("run", "--path", "direct", "--server", server, "--client", f"{sys.executable} {client}")
    assert out.startswith("213 1000 byte 0 is 0x00, not 0x")


def test_replicas_that_differ_are_noticed_and_the_client_is_served(lab) -> None:
    result = lab.run("http", "--size", "1M", "--alter", "secondary:500000")
    assert result["proxy"]["reasons"]["tcp_payload"] == 1


def test_a_connection_on_which_they_differ_is_cut_if_so_wished(lab) -> None:
    result = lab.run("http", "--size", "1M", "--alter", "secondary:500000", "--on-divergence", "cut", status=1)
    assert "reset" in result["workloads"][0]["errors"][0]
    assert result["proxy"]["reasons"]["tcp_payload"] >= 1


def test_a_paused_secondary_is_waited_for(lab) -> None:
    result = lab.run("ftp-get", "--size", "50M", "--pause", "secondary:1.5@20%")
    (action,) = result["actions"]
    assert (action["what"], action["replica"]) == ("pause", "secondary")
    assert result["ok"]
    assert result["proxy"]["divergences"] == 0
    assert result["workloads"][0]["longest_gap"] > 1.0


@pytest.mark.parametrize(
    ("replica", "work"), [("primary", "ftp-get"), ("primary", "ftp-put"), ("secondary", "ftp-get")]
)
def test_the_other_replica_goes_on_when_one_is_killed(lab, replica, work) -> None:
    result = lab.run(work, "--size", "100M", "--kill", f"{replica}:0.05@30%")
    assert result["ok"]
    assert result["workloads"][0]["bytes"] == 100 << 20
    assert result["workloads"][0]["longest_gap"] < 1.0
    assert [action["what"] for action in result["actions"]] == ["kill"]


def test_an_action_may_have_its_time_in_seconds(lab) -> None:
    result = lab.run("rr", "--seconds", "1", "--pause", "secondary:0.1@0.4s")
    assert 0.4 <= result["actions"][0]["time"] < 0.8


def test_commands_of_the_users_take_the_place_of_a_workload(lab) -> None:
    server = (
        'exec python3 -c \'import socket; s = socket.create_server(("", 9))\nwhile True: s.accept()[0].send(b"yes")\''
    )
    client = "exec python3 -c 'import os, socket; print(socket.create_connection((os.environ[\"SERVER\"], 9)).recv(9))'"
    out, _ = lab.command("run", "--server", server, "--client", client)
    assert out.startswith("b'yes'\n")
    assert "0 divergences" in out


def test_the_clients_failure_is_the_runs(lab) -> None:
    command = ("--path", "direct", "--server", LISTENING, "--client", "echo a; exit 3")
    assert "client: it ended with status 3" in lab.command("run", *command, status=1)[0]
    (figures,) = json.loads(lab.command("run", "--json", *command, status=1)[0])["workloads"]
    assert (figures["ok"], figures["count"], figures["failed"]) == (False, 0, 1)


def test_a_server_that_ends_is_told(lab) -> None:
    said = lab.refused("--path", "direct", "--server", "echo no such disk >&2; exit 3", "--client", "sleep 9")
    assert said == "a server of the primary ended: no such disk"


def test_work_that_takes_too_long_is_given_up(lab) -> None:
    said = lab.refused("--path", "direct", "--server", LISTENING, "--client", "sleep 9", "--timeout", "1")
    assert "was not over after 1 s" in said


def test_what_the_proxy_says_against_its_file_is_told(lab) -> None:
    assert "compare_timout" in lab.refused("rr", "--compare", "compare_timout=1")


def test_topology_events_and_captures_are_kept(lab, tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    lab.run("http", "--size", "10k", "--keep", str(keep), "--dump")
    assert {"topology.toml", "events.jsonl", "proxy.log"} <= {file.name for file in keep.iterdir()}
    events = [json.loads(line) for line in (keep / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "running"
    for leg in ("from-client", "to-client", "from-primary", "to-primary", "from-secondary", "to-secondary"):
        with Capture(keep / f"{leg}.pcapng") as capture:
            assert sum(1 for _ in capture) > 0


def served(address: str, path: str) -> str:
    """What the page's service says; nothing while nobody serves."""
    try:
        with urllib.request.urlopen(address + path, timeout=5) as answer:
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


@pytest.mark.parametrize("command", ["lab", "demo"])
def test_the_proxy_at_work_has_a_page(lab, tmp_path, command) -> None:
    if command == "demo":
        lab.words = []
        process = lab.start("demo", "--size", "500M", "--runs", "1", "--out", str(tmp_path), "--http", "0")
    else:
        process = lab.start("run", "ftp-get:2G", "--http", "0")
    assert process.stderr is not None
    address = process.stderr.readline().split()[5]
    passed = r'coloproxy_frames_total\{.*side="primary".*state="released".*\} [1-9]'
    lab.until(lambda: re.search(passed, served(address, "metrics")) is not None)
    assert "<title>" in served(address, "")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
