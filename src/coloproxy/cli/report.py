"""`coloproxy report`: what happened in a run, as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from coloproxy.errors import ColoproxyError
from coloproxy.watch.report import of_events, page
from coloproxy.watch.report.story import Story


def report(
    events: Annotated[Path, typer.Argument(help="A file that `--events` has written.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="Where the report goes.")] = Path(
        "report.html"
    ),
) -> None:
    """Make a report of a run: what differed, why, when, on which connections, and how to make it happen again."""
    write(of_events(events), output)
    typer.echo(f"written: {output}")


def write(story: Story, path: Path) -> None:
    """Write the file. Raises ColoproxyError."""
    try:
        path.write_text(page(story), "utf-8")
    except OSError as error:
        raise ColoproxyError(f"report {path}: {error.strerror}; name a file that can be written.") from None
