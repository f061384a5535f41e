"""The commands. Each prints what it cannot do as one sentence, and exits with status 2."""

import re
import sys
from typing import Annotated, Any

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

UsageError: type[Any] = typer.BadParameter.__mro__[1]  # click's, or that of the copy that later releases of typer carry

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
        status = app(standalone_mode=False)
    except UsageError as error:
        if error.format_message():  # it is empty where nothing was asked for, and help has been printed
            print(f"coloproxy: {of_usage(error)}", file=sys.stderr)
        status = 2
    except ColoproxyError as error:
        print(f"coloproxy: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def of_usage(error: Any) -> str:
    """What is wrong with options or arguments, as a sentence."""
    said = re.sub(r"Input should be (.*?)(, unable to .*)?$", r"it must be \1", error.format_message())
    help_ = f"`{error.ctx.command_path} --help`" if error.ctx is not None else "`coloproxy --help`"
    said = said[:1].lower() + said[1:].rstrip(".")
    return f"{said} See {help_}." if said.endswith("?") else f"{said}; see {help_}."
