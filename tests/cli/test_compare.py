"""`coloproxy compare`: its options, its file, its errors, and what it says its events are."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from coloproxy.cli.compare import events_schema
from coloproxy.cli.settings import Settings, settings
from coloproxy.compare.config import Config
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from support import frames
from support.process import Running, run

SCHEMA = Path(__file__).parents[2] / "docs" / "events.schema.json"
SOCKETS = {"primary_in": "unix:/p", "secondary_in": "unix:/s", "outdev": "unix:/o"}


def sentence(*arguments: str) -> str:
    """What a command that cannot run prints: one line, after which it exits with status 2."""
    done = run("compare", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "proxy.toml"
    path.write_text(text)
    return path


def test_without_options_all_is_as_documented() -> None:
    assert settings({}, None).config() == Config()


def test_a_file_can_say_everything(tmp_path: Path) -> None:
    path = file(tmp_path, """
        primary-in = "unix:/p"
        secondary-in = "tcp:[::1]:9004,server"
        outdev = "unix:/o"
        vnet_hdr = true
        tcp-match = "packet"
        ack-rule = "hold"
        compare-timeout = 1500
        expired-scan-cycle = 500
        max-queue-size = 7
        on-divergence = "release"
        events = "-"
        trace = ["colo_*", "-colo_compare_main"]
        trace-file = "t"
        evidence = "e"
        rules = "r"
    """)  # fmt: skip
    found = settings({}, path)
    assert found == Settings(
        primary_in="unix:/p", secondary_in="tcp:[::1]:9004,server", outdev="unix:/o", vnet_hdr=True, tcp_match="packet",
        ack_rule="hold", compare_timeout=1500, expired_scan_cycle=500, max_queue_size=7, on_divergence="release",
        events="-", trace=["colo_*", "-colo_compare_main"], trace_file="t", evidence="e", rules="r",
    )  # fmt: skip
    assert found.addresses()["secondary_in"].server


def test_every_setting_is_an_option_too() -> None:
    shown = run("compare", "--help")
    assert shown.returncode == 0
    for field in Settings.__struct_fields__:
        assert f"--{field.replace('_', '-')[:20]}" in shown.stdout, field


def test_what_is_given_on_the_command_line_wins(tmp_path: Path) -> None:
    path = file(tmp_path, 'primary-in = "unix:/a"\ncompare-timeout = 5')
    found = settings({"compare_timeout": 7, "outdev": None}, path)
    assert (found.primary_in, found.compare_timeout, found.outdev) == ("unix:/a", 7, None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("compare_timout = 3", ["unknown key 'compare_timout'", "compare-timeout"]),
        ("wombat = 3", ["unknown key 'wombat'"]),
        ("compare-timeout = 0", ["compare-timeout", "0"]),
        ("compare-timeout = 4294967296", ["compare-timeout"]),
        ("compare-timeout = -1", ["compare-timeout"]),
        ("compare-timeout = 1.5", ["compare-timeout"]),
        ('compare-timeout = "3"', ["compare-timeout"]),
        ("max-queue-size = 0", ["max-queue-size"]),
        ('tcp-match = "guess"', ["tcp-match", "guess"]),
        ("vnet-hdr = 1", ["vnet-hdr"]),
        ("trace = 'x'", ["trace"]),
        ("trace = [1]", ["trace"]),
        ("primary-in = 9001", ["primary-in"]),
        ("[primary-in]\na = 1", ["primary-in"]),
        ('ack-rule = "hold"\nack_rule = "hold"', ["ack_rule", "twice"]),
        ("= 3", ["not valid TOML"]),
        ('events = "a\\u0000b"', ["events"]),
        ('evidence = "a\\u0000b"', ["evidence"]),
        ('rules = ""', ["rules"]),
    ],
)
def test_a_file_that_is_no_good_is_refused_in_a_sentence_that_names_the_key(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ColoproxyError) as caught:
        settings({}, path)
    for part in [str(path), *parts]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value).removesuffix("\n")


def test_the_command_prints_that_sentence_and_exits_with_2(tmp_path: Path) -> None:
    assert "unknown key 'wombat'" in sentence("--config", str(file(tmp_path, "wombat = 1")))
    assert "No such file" in sentence("--config", str(tmp_path / "missing"))
    assert "primary-in is missing" in sentence("--outdev", "unix:/x")


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("--compare-timeout", "0", "compare-timeout"),
        ("--tcp-match", "x", "tcp-match"),
        ("--primary-in", "9001", "primary-in: address '9001'"),
        ("--secondary-in", "unix:/p", "primary-in and secondary-in have one address"),
        ("--outdev", "unix:/no/such/folder/o,server", "No such file"),
        ("--events", "/no/such/folder/e", "events file"),
        ("--rules", "/no/such/rules", "rules file"),
        ("--trace", "no_such_event", "no_such_event"),
    ],
)
def test_options_that_are_no_good_are_refused_in_a_sentence(option: str, value: str, part: str) -> None:
    given = {f"--{role.replace('_', '-')}": address for role, address in SOCKETS.items()} | {option: value}
    assert part in sentence(*(word for pair in given.items() for word in pair))


def test_release_is_for_those_without_a_notify_socket() -> None:
    with pytest.raises(ColoproxyError, match="on-divergence"):
        settings({"notify_dev": "unix:/n", "on_divergence": "release"}, None)


def test_an_output_that_is_an_input_is_refused() -> None:
    with pytest.raises(ColoproxyError, match="one address"):
        settings(SOCKETS | {"outdev": "unix:/x/../p,server"}, None).addresses()


# Events

def test_the_schema_in_the_documentation_is_that_of_the_types() -> None:
    command = "coloproxy compare --events-schema > docs/events.schema.json"
    assert SCHEMA.read_bytes() == events_schema(), f"make it anew: {command}"


def test_the_schema_is_printed_without_other_options() -> None:
    shown = run("compare", "--events-schema")
    assert shown.returncode == 0
    assert shown.stdout.encode() == events_schema()
    assert "checkpoint_requested" in json.loads(shown.stdout)["discriminator"]["mapping"]


def test_every_line_is_an_event_of_the_schema(proxy: Callable[..., Running]) -> None:
    running = proxy(notify=True)
    (p, s, _), n = running.peers(), running.peer("notify_dev")
    p.send(frames.tcp(b"this", seq=1, ack=1))
    s.send(frames.tcp(b"that", seq=1, ack=1))
    n.frames(1)
    running.state()
    n.raw(b"\x00\x00\x00\x0fCOLO_CHECKPOINT")
    running.wait("checkpoint_completed")
    n.raw(b"\x00\x00\x00\x01?")
    s.raw(b"\0\0\0\0")
    running.wait("peer_lost")
    running.wait("warning")
    running.stop()
    lines = (running.folder / "events.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=Event, strict=True) for line in lines]
    names = {type(event).__name__ for event in events}
    assert names == {
        "PeerConnected", "PeerLost", "FrameRefused", "Divergence", "CheckpointRequested", "CheckpointCompleted",
        "State",
        "Warned", "Summary",
    }  # fmt: skip


def test_rules_are_obeyed(proxy: Callable[..., Running], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "desktop"\nprotocol = "udp"\nsource_port = 3389\naction = "pass"\n')
    running = proxy("--rules", str(rules))
    p, _, o = running.peers()
    p.send(frames.udp(b"compared"), frames.udp(b"passed", sport=3389))
    assert o.frames(1) == [frames.udp(b"passed", sport=3389)]
    running.stop()


def test_events_go_to_standard_output_if_so_wanted(tmp_path: Path) -> None:
    import signal
    import subprocess

    from support.process import COMMAND
    from support.wire import connect

    places = [word for role, name in (("primary-in", "p"), ("secondary-in", "s"), ("outdev", "o"))
              for word in (f"--{role}", f"unix:{tmp_path / name},server")]  # fmt: skip
    with subprocess.Popen([*COMMAND, "compare", *places, "--events", "-"], stdout=subprocess.PIPE) as process:
        connect(str(tmp_path / "o")).close()
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "peer_connected"
        process.send_signal(signal.SIGTERM)
        last = process.stdout.read().splitlines()[-1]
    assert json.loads(last)["event"] == "summary"
    assert process.returncode == 0
