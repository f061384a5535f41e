"""Nothing is left of a run, however it ends; what a killed one leaves on disk is removed by `clean`, and only that."""

import os
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

LONG = ("run", "rr", "--seconds", "60")


def working(lab) -> None:
    """Wait until the work has begun: the client is there."""
    lab.until(lambda: any("coloproxy.lab.clients" in command_line(process) for process in lab.processes()))


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_everything(lab, number) -> None:
    process = lab.start(*LONG)
    working(lab)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode in (128 + number, 1)
    assert out == ""
    assert "Traceback" not in err
    lab.check_nothing_left()


def test_a_signal_during_the_start_ends_everything(lab) -> None:
    process = lab.start(*LONG)
    lab.until(lambda: len(lab.processes()) > 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    lab.check_nothing_left()


def test_a_killed_run_leaves_a_folder_which_is_cleaned_away(lab) -> None:
    process = lab.start(*LONG)
    working(lab)
    assert len(lab.processes()) >= 5
    process.kill()
    process.communicate()
    lab.until(lambda: not lab.processes())
    (folder,) = lab.folders()
    assert lab.command("clean")[0] == f"removed {folder}\n"
    assert not lab.folders()
    assert lab.command("clean")[0] == "nothing to remove\n"


def test_clean_leaves_runs_at_work_and_the_folders_of_others_alone(lab, tmp_path: Path) -> None:
    process = lab.start("run", "rr", "--seconds", "3")
    working(lab)
    (folder,) = lab.folders()
    other = tmp_path / "coloproxy-lab-of-another"
    other.mkdir()
    os.chown(other, 65534, 65534)
    file = tmp_path / "coloproxy-lab-file"
    file.touch()
    link = tmp_path / "coloproxy-lab-link"
    link.symlink_to("/etc")
    out, _ = lab.command("clean")
    assert out == f"at work, left alone: {folder}\nnothing to remove\n"
    assert other.exists()
    process.communicate(timeout=30)
    assert process.returncode == 0
    for place in (file, link):
        place.unlink()
    other.rmdir()


def test_daemons_of_the_users_servers_end_with_the_run(lab) -> None:
    listen = "python3 -c 'import socket, time; s = socket.create_server((\"\", 9)); time.sleep(99)'"
    server = f"setsid sleep 1000 & setsid nohup sleep 1001 >/dev/null 2>&1 & sleep 1002 & exec {listen}"
    process = lab.start("run", "--path", "direct", "--server", server, "--client", "sleep 1003")
    sleeping = {f"sleep {seconds} " for seconds in range(1000, 1004)}
    lab.until(lambda: sleeping <= {command_line(found) for found in lab.processes()})
    process.kill()
    process.communicate()
    lab.until(lambda: not lab.processes())
    lab.command("clean")


@pytest.mark.parametrize("which", ["keeper", "first"])
def test_a_run_of_which_a_part_is_killed_is_told_and_leaves_nothing(lab, which) -> None:
    process = lab.start(*LONG)
    working(lab)
    keeper = children(process.pid)[0]
    os.kill(keeper if which == "keeper" else children(keeper)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert err == "coloproxy: the run was killed before its end; nothing of it is left.\n"


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_proxy_that_is_killed_is_told(lab) -> None:
    process = lab.start(*LONG)
    working(lab)
    (proxy,) = (found for found in lab.processes() if " coloproxy run " in command_line(found))
    os.kill(proxy, signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "the proxy ended in the middle of the work" in err


def test_runs_at_a_time_do_not_meet(lab) -> None:
    runs = [lab.start("run", "http", "--size", "1M", "--count", "5", "--json") for _ in range(3)]
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, out + err
