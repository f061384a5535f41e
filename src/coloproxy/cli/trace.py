"""`coloproxy trace`, and the `--trace` options of the commands that can be traced."""

import os
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from coloproxy.trace import EventSpec, UnknownEventError, apply_options, load
from coloproxy.trace.tracer import matcher


class TraceFormat(StrEnum):
    """The forms a trace is written in."""

    LOG = "log"
    SIMPLE = "simple"
    JSON = "json"


TraceOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trace",
        metavar="PATTERN",
        help="Switch on the trace events that match ('*', '?'; a leading '-' switches off), or events=FILE with one "
        "pattern a line. Repeatable. `coloproxy trace list` names the events.",
    ),
]
TraceFileOption: TypeAlias = Annotated[
    Path | None, typer.Option("--trace-file", metavar="FILE", help="Write the trace here, not to standard error.")
]
TraceFormatOption: TypeAlias = Annotated[
    TraceFormat | None,
    typer.Option("--trace-format", help="Log lines, QEMU's binary format, or JSON lines.", show_default="log"),
]

app = typer.Typer(help="What can be traced.", no_args_is_help=True)


@app.callback()
def trace() -> None:
    """What can be traced."""


@app.command("list")
def list_events(
    pattern: Annotated[str, typer.Argument(help="Only the events that match; '*' and '?' are special.")] = "*",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Their declarations: a trace-events file QEMU's scripts can read.")
    ] = False,
) -> None:
    """Print the names of the trace events: what --trace takes, and a file for --trace events=FILE."""
    matches = matcher(pattern)
    chosen = [spec for spec in load() if spec.traceable and matches(spec.name)]
    if not chosen:
        raise UnknownEventError(pattern)
    typer.echo(declarations(chosen) if long else "\n".join(spec.name for spec in chosen))


def declarations(specs: list[EventSpec]) -> str:
    """The events as a trace-events file, without the newline at the end of some formats, which later QEMUs refuse."""
    lines: list[str] = []
    section = None
    for spec in specs:
        if spec.section != section:
            lines += [""] * bool(lines) + [f"# {spec.section}"]
            section = spec.section
        lines.append(str(replace(spec, formats=tuple(text.removesuffix("\n") for text in spec.formats))))
    return "\n".join(lines)


def start_tracing(
    patterns: Sequence[str] | None,
    file: str | os.PathLike[str] | None = None,
    trace_format: TraceFormat | str | None = None,
) -> None:
    """Do what the three options say. Raises TraceError. What is waiting is written at exit, or by `trace.close()`."""
    apply_options(patterns or (), file=file, backend=trace_format)
