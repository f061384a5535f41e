"""The options a user gives, and `coloproxy trace list`."""

import json
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import coloproxy.trace
from coloproxy.cli import trace as cli
from coloproxy.trace import TraceError, Tracer, apply_options, events, load, parse
from coloproxy.trace.options import split


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("a*", ["a*"]),
        ("a,b", ["a", "b"]),
        ("events=x,,y,-b", ["events=x,y", "-b"]),
        ("a,", ["a"]),
        ("", []),
    ],
)
def test_single_commas_part_an_option(option: str, parts: list[str]) -> None:
    assert split(option) == parts


@given(st.lists(st.text("ab,=", min_size=1).filter(lambda part: part[0] != ","), max_size=4))
def test_doubled_commas_are_one(parts: list[str]) -> None:
    assert split(",".join(part.replace(",", ",,") for part in parts)) == parts


def test_options_are_done_in_order(small: Tracer, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("plain\n-two\n")
    apply_options(["enable=two", f"o*,-old*,events={tmp_path}/events"], tracer=small)
    assert {event.name for event in small.events.values() if event.enabled} == {"plain", "one_text"}


def test_an_option_may_name_file_form_and_time(small: Tracer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    apply_options([f"two,file={log},timestamps=iso"], tracer=small)
    small.events["two"]("x", 1)
    small.close()
    assert log.read_text().endswith("Z two x = 1\n")
    apply_options(["two"], file=log, backend="json", tracer=small)
    small.events["two"]("x", 1)
    small.close()
    assert json.loads(log.read_text())["arguments"] == {"who": "x", "n": 1}


def test_no_option_opens_nothing(small: Tracer) -> None:
    before = small._backend
    apply_options([], tracer=small)
    assert small._backend is before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["colour=red"], "unknown trace option 'colour'; there are enable, events, file, backend, timestamps"),
        ([""], "empty"),
        (["two", "tow"], "'tow' does not exist"),
        (["events=/nowhere"], "cannot read the events file '/nowhere'"),
        (["backend=simple"], "--trace-file"),
        (["backend=xml"], "unknown trace back end"),
    ],
)
def test_a_bad_option_is_one_sentence(small: Tracer, options: list[str], reason: str) -> None:
    with pytest.raises(TraceError, match=reason):
        apply_options(options, tracer=small)


def test_a_file_is_not_emptied_when_a_pattern_is_bad(small: Tracer, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("precious")
    with pytest.raises(TraceError):
        apply_options(["tow"], file=tmp_path / "log", tracer=small)
    assert (tmp_path / "log").read_text() == "precious"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_prints_names_that_make_an_events_file(real: Tracer, tmp_path: Path) -> None:
    assert run("list").splitlines() == [spec.name for spec in load()]
    (tmp_path / "events").write_text(run("list", "colo_filter_*"))
    assert real.enable_from_file(tmp_path / "events") == 3


def test_list_long_prints_a_file_that_later_qemus_can_read() -> None:
    printed = parse(run("list", "--long"), "list", strict=True)
    assert [(spec.name, spec.arguments, spec.section) for spec in printed] == [
        (spec.name, spec.arguments, spec.section) for spec in load()
    ]


def test_list_of_nothing_is_an_error() -> None:
    with pytest.raises(TraceError, match=r"no trace event matches 'nothing\*'"):
        run("list", "nothing*")


def make_command() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def work(
        trace: cli.TraceOption = None,
        trace_file: cli.TraceFileOption = None,
        trace_format: cli.TraceFormatOption = None,
    ) -> None:
        cli.start_tracing(trace, trace_file, trace_format)
        try:
            if events.colo_compare_main.enabled:
                events.colo_compare_main("compare udp")
            if events.colo_compare_drop_packet.enabled:
                events.colo_compare_drop_packet("primary", "full")
        finally:
            coloproxy.trace.enable("-*")
            coloproxy.trace.close()

    return app


def test_a_command_with_the_options_is_traced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ["--trace", "colo_*", "--trace", "-*_drop_*", "--trace-file", str(log)]
    CliRunner().invoke(make_command(), arguments, catch_exceptions=False)
    assert log.read_text() == "colo_compare_main : compare udp\n"


def test_a_command_writes_each_format(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("colo_compare_*\n")
    for form, start in (("log", b"colo_compare_main "), ("json", b'{"time_ns":'), ("simple", b"\xff" * 8)):
        arguments = ["--trace", f"events={tmp_path}/events", "--trace-file", f"{tmp_path}/{form}"]
        CliRunner().invoke(make_command(), [*arguments, "--trace-format", form], catch_exceptions=False)
        assert (tmp_path / form).read_bytes().startswith(start)


def test_a_command_without_the_options_traces_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(make_command(), [], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, "")
    assert capfd.readouterr() == ("", "")
