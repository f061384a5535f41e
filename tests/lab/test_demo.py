"""The demonstration: four ways, measured and checked, with real processes; what is said of them, and what is left."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from rich.console import Console

from coloproxy.lab.content import Content
from coloproxy.lab.showcase import picture, qemu, record, screen
from coloproxy.lab.showcase.record import WAYS, Checked, Measurement, Published, Report, Way
from coloproxy.lab.showcase.stage import SEED

SIZE = 8 << 20
SMALL = ("--size", "8M", "--runs", "2", "--rate", "none")
WITH_QEMU = qemu.program() is not None


@pytest.fixture
def demo(lab, tmp_path: Path) -> Iterator[Any]:
    """Runs the demonstration; afterwards nothing of it may be left."""
    lab.words = ["demo", "--out", str(tmp_path / "out")]
    return lab


def md5(folder: Path, size: int) -> str:
    """Of the first bytes of what is downloaded."""
    file = folder / "expected"
    Content(SEED).write(file, size)
    return hashlib.md5(file.read_bytes()).hexdigest()


def ways(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert [each["way"] for each in report["measurements"]] == list(WAYS)
    return {each["way"]: each for each in report["measurements"]}


def check(report: dict[str, Any], expected: str) -> None:
    """What holds of every way of which there are figures."""
    found = ways(report)
    for way, each in found.items():
        if way == "qemu" and not WITH_QEMU:
            assert each["missing"].startswith("QEMU is not installed")
            assert each["downloads"] == []
            assert each["of_native"] is None
            continue
        assert each["missing"] is None
        assert {(done["bytes"], done["md5"]) for done in each["downloads"]} == {(SIZE, expected)}
        assert all(done["whole"] and done["right"] and done["seconds"] > 0 for done in each["downloads"])
        speeds = sorted(8 * done["bytes"] / done["seconds"] for done in each["downloads"])
        assert speeds[0] <= each["bits_per_second"] <= speeds[-1]
        assert each["of_native"] == each["bits_per_second"] / found["native"]["bits_per_second"]
    assert found["native"]["comparator"] is found["native"]["cpu_seconds"] is found["native"]["divergences"] is None
    assert found["coloproxy"]["divergences"] == found["coloproxy"]["checkpoints_asked"] == 0
    assert found["coloproxy"]["cpu_seconds"] > 0
    packet = found["packet"]
    assert packet["divergences"] == packet["reasons"]["tcp_packet"] > 0
    assert packet["checkpoints_asked"] >= packet["checkpoints_made"] > 0
    assert packet["stopped"] >= packet["checkpoints_made"] * report["checkpoint_cost_ms"] / 1000
    assert packet["bits_per_second"] < found["coloproxy"]["bits_per_second"]
    if WITH_QEMU:
        assert found["qemu"]["comparator"] == "colo-compare"
        assert found["qemu"]["divergences"] is None
        assert found["qemu"]["cpu_seconds"] > 0
        assert found["qemu"]["elements_cpu_seconds"] > 0


@pytest.mark.root
@pytest.mark.parametrize("ports", ["tap", "packet"])
def test_all_ways_bring_the_file_and_the_report_tells_how_fast(demo, tmp_path: Path, ports) -> None:
    out, err = demo.command(*SMALL, "--json", "--ports", ports, "--checkpoint-cost", "20")
    report = json.loads(out)
    assert report["ports"] == ports
    assert report["runs"] == 2
    assert report["checkpoint_cost_ms"] == 20
    assert report["published"]["sequence"] == 0.2
    check(report, md5(tmp_path, SIZE))
    files = [tmp_path / "out" / name for name in ("ftp.svg", "ftp.png")]
    assert str(files[0]) in err
    assert ElementTree.parse(files[0]).getroot().tag.endswith("svg")
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_an_ordinary_user_has_the_demonstration_too(users_lab, tmp_path: Path) -> None:
    users_lab.words = ["demo"]
    out, _ = users_lab.command(*SMALL, "--json", "--out", str(users_lab.folder / "out"))
    report = json.loads(out)
    assert report["ports"] == "packet"
    check(report, md5(tmp_path, SIZE))


@pytest.mark.root
def test_what_is_too_slow_is_measured_in_part_and_without_qemu_its_row_says_so(
    monkeypatch, tmp_path: Path, request
) -> None:
    monkeypatch.delenv("QEMU", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    demo = request.getfixturevalue("demo")
    out, err = demo.command("--size", "50M", "--rate", "none", "--budget", "2", "--checkpoint-cost", "1000")
    assert err == ""
    assert all(len(line) <= screen.WIDTH for line in out.splitlines() if "picture" not in line)
    lines = {line.split("  ")[0]: line for line in out.splitlines() if line.startswith("■")}
    assert len(lines) == len(WAYS)
    row = next(line for name, line in lines.items() if "QEMU" in name)
    assert row.split()[-5:] == ["–"] * 5
    assert "QEMU is not installed" in out
    packet = next(line for name, line in lines.items() if "packet" in name)
    assert " * " in packet
    assert "* measured on the first" in out
    assert "all that came in 2 s" in out
    assert "f449c9e549" in out


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_everything(demo, number) -> None:
    process = demo.start("--size", "500M", "--runs", "99", "--budget", "99")
    demo.until(lambda: any("showcase.download" in command_line(each) for each in demo.processes()))
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode in (128 + number, 1)
    assert "Traceback" not in out + err
    demo.check_nothing_left()


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ports", "x"), "--ports 'x' is unknown; there are tap, packet."),
        (("--size", "x"), "size 'x' is no good: write a number above 0, then k, M, G or nothing, as 200M or 1G."),
        (("--rate", "x"), "rate 'x' is no good: write a number above 0, then k, M, G or nothing, as 100M or 1G."),
        (("--out", "/proc/x"), "folder /proc/x cannot be made: No such file or directory; name another with --out."),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(demo, arguments, said) -> None:
    assert demo.command(*arguments, status=2) == ("", f"coloproxy: {said}\n")


def test_a_package_that_is_missing_is_said_before_anything_else() -> None:
    without = "import sys; sys.modules['pyftpdlib'] = None; from coloproxy.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", without, "demo"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "coloproxy: the lab needs pyftpdlib: pip install 'coloproxy[lab]'.\n"


# What is said of the figures


def report(*measurements: Measurement) -> Report:
    made = Report(
        ports="tap", runs=3, budget_seconds=10.0, checkpoint_cost_ms=50.0, published=Published(),
        machine={"cpu": "a processor", "cpus": 2, "coloproxy": "1.2.3", "qemu": "9.8.7"},
    )  # fmt: skip
    for each in measurements:
        made.add(each)
    return made


def measurement(way: Way, *downloads: Checked, size: int = SIZE, rate: float | None = None) -> Measurement:
    made = Measurement(way=way, size=size, rate=rate)
    made.take(list(downloads))
    return made


def download(seconds: float, count: int = SIZE, right: bool = True) -> Checked:
    return Checked(bytes=count, seconds=seconds, md5="", whole=count == SIZE, right=right)


def test_the_median_of_whole_downloads_counts_and_a_part_only_if_there_is_nothing_else() -> None:
    made = report(
        measurement("native", download(1), download(2), download(8)),
        measurement("coloproxy", download(4), download(1, SIZE // 8)),
        measurement("packet", download(10, SIZE // 8)),
        measurement("qemu", download(10, 0)),
    )
    assert [each.of_native for each in made.measurements] == [1.0, 0.5, 1 / 40, 0.0]
    assert [each.whole for each in made.measurements] == [True, True, False, False]
    assert made.right


def test_each_load_has_a_native_speed_of_its_own() -> None:
    loads = [(SIZE, None), (SIZE, 1e9), (2 * SIZE, 1e9)]
    made = report(
        *(
            measurement(way, download(seconds * factor), size=size, rate=rate)
            for factor, (size, rate) in enumerate(loads, 1)
            for way, seconds in (("native", 1), ("coloproxy", 2))
        )
    )
    assert [each.of_native for each in made.measurements] == [1.0, 0.5] * 3
    assert [len(each) for each in made.loads()] == [2, 2, 2]


def test_one_wrong_byte_makes_the_report_wrong_and_is_seen() -> None:
    made = report(measurement("native", download(1)), measurement("coloproxy", download(1), download(1, right=False)))
    assert not made.right
    assert "WRONG" in shown(made)


def shown(made: Report) -> str:
    console = Console(width=screen.WIDTH, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    screen.show(made, console)
    return " ".join(console.export_text().split())


def test_what_a_figure_rests_on_is_said_where_it_is_needed_alone() -> None:
    native, ours = measurement("native", download(1)), measurement("coloproxy", download(2))
    assert "timestamps" not in shown(report(native, ours))
    assert "timestamps" in shown(report(native, measurement("coloproxy", download(0.98))))
    assert "colo-compare" not in shown(report(native, ours))
    theirs = measurement("qemu", download(2))
    theirs.comparator, theirs.cpu_seconds, theirs.elements_cpu_seconds = "colo-compare", 1.0, 2.0
    text = shown(report(native, theirs))
    assert "CPU of colo-compare, and of coloproxy" in text
    assert f"{1e9 / SIZE:.2f}+{2e9 / SIZE:.2f}" in text
    assert "measured on the first 1 MiB (12%), all that came in 10 s" in shown(
        report(native, measurement("packet", download(10, SIZE // 8)))
    )


def test_the_command_ends_with_status_1_when_a_byte_was_wrong(monkeypatch, tmp_path: Path, capsys) -> None:
    command = import_module("coloproxy.cli.demo")

    def wrong(task: record.Task, *_: object) -> Measurement:
        return measurement(task.way, download(1, right=task.way != "coloproxy"), size=task.size, rate=task.rate)

    monkeypatch.setattr(command, "measure", wrong)
    app = typer.Typer()
    app.command()(command.demo)
    with pytest.raises(SystemExit) as ended:
        app(["--size", "8M", "--ports", "packet", "--out", str(tmp_path)])
    assert ended.value.code == 1
    assert "WRONG" in capsys.readouterr().out


def test_pictures_are_drawn_of_any_number_of_loads_and_with_ways_missing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = report()
    for number, (size, rate) in enumerate([(SIZE, None), (SIZE, 1e9), (1 << 30, None)], 1):
        for way in WAYS:
            made.add(measurement(way, download(number), size=size, rate=rate))
        made.measurements[-2].of_native = made.measurements[-2].bits_per_second = None
        files = [tmp_path / f"{number}.svg", tmp_path / f"{number}.png"]
        picture.draw(made, files)
        assert ElementTree.parse(files[0]).getroot().tag.endswith("svg")
        assert files[1].stat().st_size > 1000


@pytest.mark.parametrize(
    ("fraction", "said"),
    [(1, "100 %"), (0.991, "99 %"), (0.0996, "10 %"), (0.0433, "4.3 %"), (0.01, "1 %"), (0.0042, "0.42 %"), (0, "0 %")],
)
def test_percentages_have_two_digits(fraction, said) -> None:
    assert record.percent(fraction) == said


@pytest.mark.parametrize(
    ("bits", "said"),
    [(17.3e9, "17.3 Gbit/s"), (2.5e9, "2.50 Gbit/s"), (1e9, "1 Gbit/s"), (943e6, "943 Mbit/s"), (3.1e6, "3.10 Mbit/s")],
)
def test_rates_have_three_digits(bits, said) -> None:
    assert record.rate(bits) == said


def test_qemu_is_found_and_asked_for_its_version() -> None:
    if not WITH_QEMU:
        if os.environ.get("COLOPROXY_CI"):
            pytest.fail("QEMU is missing")
        pytest.skip("QEMU is missing")
    assert shutil.which(qemu.program() or "")
    assert (qemu.version() or "")[0].isdigit()
