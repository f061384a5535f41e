"""The page's API: what it tells is what the proxy's events tell; who may ask; and that frames never wait for it."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from coloproxy.capture import Capture
from coloproxy.compare.rules import load_rules
from coloproxy.errors import ColoproxyError
from coloproxy.watch import launch
from coloproxy.watch.launch import listen, token
from support import frames
from support.process import run
from support.wire import Peer
from watch.conftest import Page

Start = Callable[..., Page]


def diverge(page: Page, ours: bytes = b"this", theirs: bytes = b"that", **ends: int) -> tuple[Peer, Peer, Peer]:
    """Have the replicas differ once; the peers, which must live on."""
    p, s, o = page.peers()
    before = page.count("divergence")
    p.send(frames.tcp(ours, seq=1, ack=1, **ends))
    s.send(frames.tcp(theirs, seq=1, ack=1, **ends))
    page.wait("divergence", before + 1)
    return p, s, o


# What is told


def test_a_divergence_is_told_as_the_event_tells_it(page: Start) -> None:
    running = page()
    peers = diverge(running)
    told = running.told("/api/divergences/1", lambda answer: bool(answer.get("frames")))
    assert told["divergence"] == running.events("divergence")[0]
    assert [bytes.fromhex(frame["data"]) for frame in told["frames"]] == [
        frames.tcp(b"this", seq=1, ack=1), frames.tcp(b"that", seq=1, ack=1),
    ]  # fmt: skip
    assert [row["number"] for row in running.get("/api/divergences").json] == [1]
    assert running.get("/api/divergences/2").status == 404
    assert peers


def test_evidence_is_a_capture_of_the_frames_that_differ(page: Start, tmp_path: Path) -> None:
    running = page()
    peers = diverge(running)
    running.told("/api/divergences/1", lambda answer: bool(answer.get("frames")))
    answer = running.get("/api/divergences/1/evidence.pcapng")
    assert answer.headers["content-disposition"] == 'attachment; filename="0001-tcp_payload.pcapng"'
    file = tmp_path / "evidence.pcapng"
    file.write_bytes(answer.body)
    with Capture(file) as capture:
        records = list(capture)
    assert [(record.interface, bytes(record.data)) for record in records] == [
        ("primary", frames.tcp(b"this", seq=1, ack=1)), ("secondary", frames.tcp(b"that", seq=1, ack=1)),
    ]  # fmt: skip
    assert records[0].comment is not None
    assert records[0].comment.startswith("tcp_payload")
    assert abs(records[0].time_ns / 1e9 - time.time()) < 60
    assert peers


class Live:
    """An open page, read line by line."""

    def __init__(self, page: Page, query: str = "") -> None:
        self.sock = socket.create_connection(("127.0.0.1", page.port), timeout=10)
        self.sock.sendall(f"GET /api/live?{query} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n".encode())
        self._lines = self.sock.makefile("rb")

    def event(self, name: str) -> dict[str, object]:
        """The next event of this name."""
        for line in self._lines:
            if line == f"event: {name}\n".encode():
                return msgspec.json.decode(next(self._lines).removeprefix(b"data: "))  # type: ignore[no-any-return]
        raise AssertionError(f"the page was closed before {name}")


def test_a_connection_is_told_with_both_streams(page: Start) -> None:
    running = page("--compare-timeout", "60000")
    p, s, _ = peers = running.peers()
    p.send(frames.tcp(b"equal", seq=1, ack=1), frames.tcp(b"p" * 1000, seq=6, ack=1))
    s.send(frames.tcp(b"equal" + b"p" * 400, seq=1, ack=1), frames.tcp(b"p" * 200, seq=606, ack=1))
    live = Live(running, f"connections&streams={quote('compare tcp 10.0.0.2:80 > 10.0.0.9:40000')}")
    (row,) = live.event("connections")["listed"]  # type: ignore[misc]
    assert row["key"] == "compare tcp 10.0.0.2:80 > 10.0.0.9:40000"
    assert (row["held_primary"]["frames"], row["held_secondary"]["frames"]) == (1, 1)
    told = live.event("streams")
    assert (told["offset"], told["released"]) == (405, -400)
    spans = {side: [(span["begin"], span["end"]) for span in told[side]] for side in ("primary", "secondary")}  # type: ignore[attr-defined]
    assert spans == {"primary": [(-400, 600)], "secondary": [(200, 400)]}
    assert told["why"] == "200 bytes of the secondary's are missing: they will be sent again."
    assert peers


def test_a_connection_that_is_gone_is_told_to_be(page: Start) -> None:
    live = Live(page(), "streams=compare%20tcp%201.2.3.4%3A1%20%3E%205.6.7.8%3A2")
    assert live.event("streams")["gone"] is True


# Who may ask


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:80", "10.1.2.3", socket.gethostname()])
def test_addresses_and_this_machines_names_may_be_asked(page: Start, host: str) -> None:
    assert page().get("/api/now", {"Host": host}).status == 200


def test_other_names_may_not_lest_a_foreign_site_has_its_own_point_here(page: Start) -> None:
    running = page("--http-host", "proxy.example")
    for path in ("/", "/metrics", "/api/divergences"):
        assert running.get(path, {"Host": "evil.example"}).status == 403
        assert running.get(path, {"Host": f"proxy.example:{running.port}"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_other_sites_may_not_ask(page: Start, headers: dict[str, str]) -> None:
    running = page()
    assert running.get("/api/now", headers).status == 403
    assert running.get("/api/now", {"Origin": running.url, "Sec-Fetch-Site": "same-origin"}).status == 200


def test_every_answer_forbids_inline_script_and_frames(page: Start) -> None:
    running = page()
    for path in ("/", "/app.js", "/metrics", "/api/now", "/nowhere"):
        policy = running.get(path).headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert running.get(path).headers["x-content-type-options"] == "nosniff"
    html = running.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=|<style", html)
    assert not re.search(r"https?://", html)


def test_nothing_outside_the_page_is_served(page: Start) -> None:
    running = page()
    for path in ("/../launch.py", "/%2e%2e/launch.py", "/..%2flaunch.py", "/uplot/../../launch.py", "//etc/passwd"):
        assert running.get(path).status in (403, 404), path


# What changes something


def test_nothing_can_be_changed_without_control(page: Start) -> None:
    running = page()
    peers = diverge(running)
    running.told("/api/divergences/1", lambda answer: "divergence" in answer)
    answer = running.get("/api/divergences/1/ignore", {"Authorization": "Bearer "}, post=b"")
    assert (answer.status, "control is off" in answer.json["error"]) == (403, True)
    assert peers


def test_a_rule_is_added_by_whoever_has_the_token_and_by_nobody_else(page: Start, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    running = page("--control", str(secret), "--on-divergence", "release")
    p, s, o = diverge(running)
    rule = running.told("/api/divergences/1", lambda answer: "divergence" in answer)["rule_to_ignore"]
    path, given = "/api/divergences/1/ignore", {"Authorization": f"Bearer {secret.read_text().strip()}"}
    assert running.get(path, {"Authorization": "Bearer guessed"}, post=b"").status == 403
    assert running.get(path, given | {"Origin": "http://evil.example"}, post=b"").status == 403
    assert running.get(path, given).status in (404, 405)
    assert rule not in running.get("/api/rules").json["compare"]
    assert running.get(path, given, post=b"").json == {"rule": rule}
    assert running.get("/api/rules").json["compare"][0] == rule
    file = tmp_path / "rules.toml"
    file.write_text(rule)
    assert load_rules(file)[0].source_port == 80
    p.send(frames.tcp(b"now it passes", seq=5, ack=1))
    assert o.frames(2)[1] == frames.tcp(b"now it passes", seq=5, ack=1)
    assert s


def test_a_token_is_for_its_owners_eyes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = token(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert token(file) == made
    file.chmod(0o644)
    with pytest.raises(ColoproxyError, match="others may read it"):
        token(file)


# Frames come first


def children(page: Page) -> list[int]:
    """The processes that a proxy has started."""
    pid = page.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Whether there is such a process, and not just what is left of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_page_that_is_not_read_is_dropped_and_counted_and_frames_pass(page: Start) -> None:
    running = page()
    p, s, o = running.peers()
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    lazy.connect(("127.0.0.1", running.port))
    lazy.sendall(f"GET /api/live?connections HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n\r\n".encode())
    running.until(lambda: running.get("/api/now").json["pages"] == 1)
    for number in range(400):  # a long list
        p.send(frames.tcp(b"same", seq=1, ack=1, dport=10000 + number))
        s.send(frames.tcp(b"same", seq=1, ack=1, dport=10000 + number))
    o.frames(400)
    for number in range(300):  # divergences are told one by one
        p.send(frames.udp(b"this %d" % number, dport=10000 + number))
        s.send(frames.udp(b"that %d" % number, dport=10000 + number))
    running.until(lambda: running.get("/api/now").json["dropped_pages"] == 1)
    assert running.get("/api/now").json["pages"] == 0
    p.send(frames.tcp(b"on", seq=5, ack=1, dport=10000))
    s.send(frames.tcp(b"on", seq=5, ack=1, dport=10000))
    o.frames(1)
    lazy.close()
    running.stop()


def test_a_service_that_is_killed_comes_again_and_frames_pass(page: Start) -> None:
    running = page()
    p, s, o = running.peers()
    (child,) = children(running)
    os.kill(child, signal.SIGKILL)
    p.send(frames.tcp(b"same", seq=1, ack=1))
    s.send(frames.tcp(b"same", seq=1, ack=1))
    o.frames(1)
    running.wait("warning")
    running.until(lambda: running.get("/healthz").status == 200)
    assert running.stop()["accounting"]["primary"]["released"]["frames"] == 1


def test_the_service_ends_with_the_proxy(page: Start) -> None:
    running = page()
    (child,) = children(running)
    running.process.kill()
    running.process.wait()
    end = time.monotonic() + 10
    while lives(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not lives(child)


# What cannot be


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--http", "nonsense"], "http = 'nonsense' is no good"),
        (["--http", "127.0.0.1:99999"], "is no good"),
        (["--http", "192.0.2.1:0"], "cannot listen there"),
        (["--control", "/tmp/x"], "give http too"),
        (["--http", "0", "--control", "/no/such/folder/token"], "No such file"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(options: list[str], sentence: str) -> None:
    sockets = ["--primary-in", "unix:/tmp/p", "--secondary-in", "unix:/tmp/s", "--outdev", "unix:/tmp/o"]
    done = run("compare", *sockets, *options)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "NEEDED", ("not_there_at_all",))
    with pytest.raises(ColoproxyError, match=r"needs not-there-at-all: pip install 'coloproxy\[http\]'"):
        launch.Service("0")


def test_an_address_that_others_reach_is_warned_of(page: Start) -> None:
    assert "sees what the replicas send" in page("--http", "0.0.0.0:0").errors()
    assert "sees what the replicas send" not in page().errors()


def test_a_port_alone_is_of_this_machine_only() -> None:
    with listen("0") as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    with listen("0.0.0.0:0") as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


def test_a_socket_that_listens_already_may_be_given_by_its_descriptor() -> None:
    with listen("0") as sock, listen(f"fd:{os.dup(sock.fileno())}") as same:
        assert same.getsockname() == sock.getsockname()


@pytest.mark.parametrize("text", ["fd:", "fd:x", "fd:-1", "fd:99999"])
def test_a_descriptor_of_nothing_that_listens_is_refused(text: str) -> None:
    with pytest.raises(ColoproxyError, match="there is no socket that listens"):
        listen(text)


def test_a_descriptor_of_something_else_is_refused_and_left_alone() -> None:
    with socket.socket() as other:
        with pytest.raises(ColoproxyError, match="there is no socket that listens"):
            listen(f"fd:{other.fileno()}")
        assert other.fileno() >= 0
        os.fstat(other.fileno())
