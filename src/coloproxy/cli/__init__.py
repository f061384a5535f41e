"""The commands. Each prints what it cannot do as one sentence, and exits with status 2."""

import importlib
import importlib.util
import sys

import typer

from coloproxy.cli import lab
from coloproxy.cli.compare import compare
from coloproxy.cli.doctor import doctor
from coloproxy.cli.run import run
from coloproxy.errors import ColoproxyError

app = typer.Typer(
    name="coloproxy",
    help="Two replicas, one output: verify by TCP sequence number, checkpoint only when they differ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(compare)
if importlib.util.find_spec("coloproxy.cli.diff"):
    app.command()(importlib.import_module("coloproxy.cli.diff").diff)
if importlib.util.find_spec("coloproxy.cli.trace"):
    app.add_typer(importlib.import_module("coloproxy.cli.trace").app, name="trace")
app.command()(run)
app.add_typer(lab.app, name="lab")
app.command()(doctor)


def main() -> None:
    """The command `coloproxy`."""
    try:
        app()
    except ColoproxyError as error:
        print(f"coloproxy: {error}", file=sys.stderr)
        sys.exit(2)
