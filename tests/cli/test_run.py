"""`coloproxy run`: the standard topologies, --check, --print, and one sentence for whatever cannot be."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from coloproxy.topology.standard import HERE, names
from support.process import COMMAND, run

FORWARD = """
wires = ["a -> b"]
[port.a]
{a}
[port.b]
{b}
"""


B = 'socket = "unix:/tmp/b"\nvnet_hdr = true'


def forward(folder: Path, a: str = 'socket = "unix:/tmp/a"', b: str = B, more: str = "") -> str:
    """A file with two ports; its path."""
    path = folder / "x.toml"
    path.write_text(more + FORWARD.format(a=a, b=b))
    return str(path)


def sentence(*arguments: str) -> str:
    """What a command that cannot run prints: one line, after which it exits with status 2."""
    done = run("run", *arguments)
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert done.stderr.startswith("coloproxy: ")
    assert done.stderr.endswith(".\n")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("coloproxy: ").removesuffix("\n")


def test_there_are_these_standard_topologies_and_the_help_names_them() -> None:
    assert names() == ["external-compare", "one-host", "primary", "secondary"]
    shown = " ".join(run("run", "--help").stdout.replace("│", " ").split())
    assert ", ".join(names()) in shown


@pytest.mark.parametrize("name", names())
def test_a_standard_topology_is_right_and_can_be_printed_changed_and_checked(name: str, tmp_path: Path) -> None:
    checked = run("run", "--check", name)
    assert (checked.returncode, checked.stderr) == (0, "")
    printed = run("run", "--print", name)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == (HERE / f"{name}.toml").read_text()
    (tmp_path / "mine.toml").write_text(printed.stdout)
    assert run("run", "--check", str(tmp_path / "mine.toml")).stdout == checked.stdout


def test_a_file_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forward(tmp_path)
    (tmp_path / "x.toml").rename("one-host")
    assert "unix:/tmp/a" in run("run", "--print", "one-host").stdout


def test_to_check_is_to_open_nothing(tmp_path: Path) -> None:
    path = forward(tmp_path, f'socket = "unix:{tmp_path}/a,server"', more=f'control = "unix:{tmp_path}/control"\n')
    shown = run("run", "--check", path)
    assert shown.returncode == 0
    assert "║ a ║" in shown.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.toml"]


def test_what_it_does_not_know_is_said() -> None:
    assert sentence("wombat") == f"topology wombat: no such file, and the standard ones are {', '.join(names())}."
    assert sentence("/none/x.toml") == "topology file /none/x.toml: No such file or directory; name a readable file."


ROOT = os.geteuid() == 0


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ('capture = "/none.pcap"',
         "port a: capture /none.pcap: No such file or directory; name a readable pcap or pcapng file."),
        ('capture = "/etc/hostname"', "port a: capture /etc/hostname: it begins with "),
        ('socket = "unix:/none/a,server"',
         "port a: address 'unix:/none/a,server': cannot listen there: No such file or directory."),
        ('packet = "nosuchdev"', "port a: device 'nosuchdev': No such device; see that it is there and free."),
        ('packet = "lo"\nnetns = "nosuchns"',
         "port a: network namespace 'nosuchns' cannot be entered: No such file or directory; name one of /run/netns,"),
        ('packet = "lo"\nnetns = "/etc/hostname"',
         "port a: network namespace '/etc/hostname' cannot be entered: Invalid argument; name one of /run/netns, or a"),
        ('tap = "lo"', "port a: device 'lo': Invalid argument; see that it is there and free."),
    ],
)  # fmt: skip
def test_a_port_that_cannot_be_opened_is_said(tmp_path: Path, port: str, said: str) -> None:
    if not ROOT and ("packet" in port or "tap" in port):
        pytest.skip("only root opens devices")
    assert sentence(forward(tmp_path, port)).startswith(said)


def test_an_address_where_somebody_listens_is_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "a"))
        there.listen()
        address = f"unix:{tmp_path}/a,server"
        assert sentence(forward(tmp_path, f'socket = "{address}"')) == (
            f"port a: address '{address}': another process listens there; stop it or name another path."
        )


def test_what_was_opened_is_closed_again_when_the_next_cannot_be(tmp_path: Path) -> None:
    sentence(forward(tmp_path, f'socket = "unix:{tmp_path}/a,server"', 'capture = "/none.pcap"'))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.toml"]


def test_files_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    events = sentence(forward(tmp_path, more='events = "/none/events"\n'))
    assert events == "events file /none/events: No such file or directory; name one that can be written."
    assert sentence(forward(tmp_path), "--events", "/none/e").startswith("events file /none/e: ")
    dump = '[element.tee]\ntype = "dump"\nfile = "/none/x"\n'
    path = Path(forward(tmp_path))
    path.write_text(path.read_text().replace("a -> b", "a -> tee -> b") + dump)
    assert sentence(str(path)) == "element tee: file /none/x: No such file or directory; name one that can be written."


def test_a_control_socket_that_cannot_be_is_said(tmp_path: Path) -> None:
    assert sentence(forward(tmp_path, more='control = "wombat"\n')).startswith("control: address 'wombat': ")
    path = forward(tmp_path, more='control = "unix:/none/control"\n')
    assert sentence(path) == "control: address 'unix:/none/control': cannot listen there: No such file or directory."


def test_wrong_trace_events_are_said(tmp_path: Path) -> None:
    done = run("run", forward(tmp_path, more='trace = ["wombat"]\n'))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("coloproxy: trace event 'wombat' does not exist")


@pytest.mark.skipif(not ROOT, reason="only root can do without a right")
@pytest.mark.parametrize(("port", "device"), [('packet = "lo"', "lo"), ('tap = "coloproxy0"', "coloproxy0")])
def test_without_the_right_to_a_device_that_is_said(tmp_path: Path, port: str, device: str) -> None:
    command = ["setpriv", "--bounding-set=-net_admin,-net_raw", *COMMAND, "run", forward(tmp_path, port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == f"coloproxy: port a: device '{device}': Operation not permitted; run as root.\n"
