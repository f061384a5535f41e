"""The commands. Each prints what it cannot do as one sentence, and exits with status 2."""

import sys
from typing import Annotated

import typer

from coloproxy import __version__
from coloproxy.cli import guest, lab, trace
from coloproxy.cli.compare import compare
from coloproxy.cli.demo import demo
from coloproxy.cli.diff import diff
from coloproxy.cli.doctor import doctor
from coloproxy.cli.explain import explain
from coloproxy.cli.report import report
from coloproxy.cli.run import run
from coloproxy.cli.top import top
from coloproxy.errors import ColoproxyError

app = typer.Typer(
    name="coloproxy",
    help="Two replicas, one output: verify by TCP sequence number, checkpoint only when they differ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def say_version(wanted: bool) -> None:
    if wanted:
        print(f"coloproxy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and end.", callback=say_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command()(compare)
app.command()(diff)
app.command()(explain)
app.command()(report)
app.command()(top)
app.add_typer(trace.app, name="trace")
app.command()(run)
app.add_typer(lab.app, name="lab")
app.add_typer(guest.app, name="guest")
app.command()(demo)
app.command()(doctor)


def main() -> None:
    """The command `coloproxy`."""
    try:
        app()
    except ColoproxyError as error:
        print(f"coloproxy: {error}", file=sys.stderr)
        sys.exit(2)
