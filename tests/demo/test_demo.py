"""The demonstration as it is run: with real traffic, a real proxy, and nothing left over."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from coloproxy.errors import ColoproxyError
from demo import acts, comparator, stream, traffic, watched

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "demo"]


def may_capture() -> bool:
    try:
        traffic.network()
    except ColoproxyError:
        return False
    return True


needs_capture = pytest.mark.skipif(
    not may_capture() and not os.environ.get("COLOPROXY_CI"), reason="frames cannot be captured here"
)

needs_compiler = pytest.mark.skipif(
    not shutil.which("gcc") and not os.environ.get("COLOPROXY_CI"), reason="no gcc: the measurement is left out"
)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where the demonstration has its temporary files, which also tells its processes from others'.

    Its name is short, for the paths of unix sockets have at most 107 bytes.
    """
    with TemporaryDirectory() as name:
        yield Path(name)


def environment(scratch: Path, **others: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(scratch), "COLUMNS": "80", **others}


def demo(scratch: Path, *options: str, **others: str) -> subprocess.CompletedProcess[str]:
    command, given = [*DEMO, *options], environment(scratch, **others)
    return subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def processes(scratch: Path) -> list[str]:
    """The live processes that were given this folder, or one in it, for temporary files."""
    found, mark = [], b"\0TMPDIR=" + os.fsencode(scratch)
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in b"\0" + (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def assert_nothing_is_left(scratch: Path) -> None:
    assert processes(scratch) == []
    assert list(scratch.iterdir()) == []


@needs_capture
@pytest.mark.slow
def test_the_demonstration_comes_out_right_and_leaves_a_picture_alone(tmp_path: Path, scratch: Path) -> None:
    done = demo(scratch, "--size", "1", "--seed", "7", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "checkpoints  0 asked for" in done.stdout
    assert "tcp_payload: the bytes differ" in done.stdout
    assert "^^ 0x3" in done.stdout
    picture = tmp_path / "out" / "demo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "out").iterdir()) == [picture]
    assert_nothing_is_left(scratch)


@needs_capture
@pytest.mark.parametrize(
    ("number", "doing"),
    [
        (signal.SIGINT, "demo.traffic"),
        (signal.SIGTERM, "coloproxy compare"),
        pytest.param(signal.SIGINT, "cc1", marks=needs_compiler),
        pytest.param(signal.SIGHUP, "o.sock", marks=needs_compiler),
    ],
)
def test_a_signal_ends_it_and_all_it_started(
    scratch: Path, tmp_path: Path, number: signal.Signals, doing: str
) -> None:  # fmt: skip
    with subprocess.Popen(
        [*DEMO, "--size", "2", "--out", str(tmp_path / "out")],
        env=environment(scratch), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        end = time.monotonic() + 80
        while not any(doing in command for command in processes(scratch)):
            assert time.monotonic() < end, processes(scratch)
            time.sleep(0.005)
        running.send_signal(number)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert errors.decode() == f"demo: ended by {number.name}.\n"
    assert_nothing_is_left(scratch)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("COLOPROXY_CI"), reason="needs root, to capture")
def test_without_namespaces_the_loopback_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impossible = traffic.Network("nowhere", ("false",), True)
    unknown = traffic.Network("nowhere", (str(tmp_path / "missing"),), True)
    monkeypatch.setattr(traffic, "NETWORKS", (impossible, unknown, traffic.NETWORKS[-1]))
    place = traffic.network()
    assert not place.own
    traffic.make(1 << 20, tmp_path / "capture", place)
    assert traffic.ledger(1 << 20) in stream.stream(stream.read(tmp_path / "capture"))


def test_where_nothing_may_be_captured_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "NETWORKS", (traffic.Network("nowhere", ("false",), True),))
    with pytest.raises(ColoproxyError, match="run the demonstration as root"):
        traffic.network()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "0"], "'0' is no whole number from 1 to 1024"),
        (["--seed", "x"], "'x' is no whole number"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--out", "/dev/null/x"], "Not a directory"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_status_2(scratch: Path, options: list[str], sentence: str) -> None:
    done = demo(scratch, *options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert_nothing_is_left(scratch)


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> list[stream.Segment]:
    """A captured stream."""
    if not may_capture() and not os.environ.get("COLOPROXY_CI"):
        pytest.skip("frames cannot be captured here")
    file = tmp_path_factory.mktemp("traffic") / "capture"
    traffic.make(1 << 18, file, traffic.network())
    return stream.read(file)


def test_the_captured_stream_is_what_the_server_sent(primary: list[stream.Segment]) -> None:
    head, _, body = stream.stream(primary).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert body == traffic.ledger(1 << 18)


def test_a_difference_where_none_is_expected_is_seen(primary: list[stream.Segment]) -> None:
    outcome = acts.same(primary, stream.changed(primary, 5000, 0), lambda _: None)
    assert outcome.checkpoints == 1


def test_no_difference_where_one_is_expected_is_wrong(primary: list[stream.Segment]) -> None:
    with pytest.raises(acts.WrongError, match="0 checkpoints were asked for"):
        acts.different(primary, primary, 5000, lambda _: None)


def test_a_difference_at_another_byte_is_wrong(primary: list[stream.Segment]) -> None:
    with pytest.raises(acts.WrongError, match="frames were released"):
        acts.different(primary, stream.changed(primary, 5000, 0), 50000, lambda _: None)


def test_a_comparator_that_does_not_start_is_told_in_its_own_words(primary: list[stream.Segment]) -> None:
    with pytest.raises(RuntimeError, match="tcp-match"):
        acts.same(primary, primary, lambda _: None, "--tcp-match", "nonsense")


def test_the_experiment_that_goes_on_can_be_watched(primary: list[stream.Segment]) -> None:
    shown: list[list[str]] = []

    def look(_share: float) -> None:
        with urllib.request.urlopen(f"{proxy.page()}api/divergences", timeout=20) as answer:
            shown.append([row["reason"] for row in json.load(answer)])

    play = watched.watch(primary, random.Random(1), look, limit=2)
    proxy = next(play)
    assert proxy.page().startswith("http://127.0.0.1:")
    assert list(play) == []
    assert (shown[0], shown[-1]) == ([], ["tcp_payload"])


def test_a_crash_ends_the_proxy_and_removes_its_folder(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))

    def crash() -> None:
        with comparator.running() as proxy:
            assert {sock.family for sock in proxy.sockets.values()} == {socket.AF_UNIX}
            assert len(processes(scratch)) == len(list(scratch.iterdir())) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert_nothing_is_left(scratch)
