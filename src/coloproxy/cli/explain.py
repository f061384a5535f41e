"""`coloproxy explain`: what a reason means, what usually causes it, and what to do."""

import difflib
import re
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coloproxy.compare.events import Reason
from coloproxy.errors import ColoproxyError
from coloproxy.watch.explanations import Explanation, explanations

WIDTH = 100  # columns that are read well


def explain(
    reason: Annotated[str | None, typer.Argument(help="A reason; without one, all are listed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a reason for a checkpoint means, what usually causes it, and what to do."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    told = list(explanations().values()) if reason is None else [explanations()[known(reason)]]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told if reason is None else told[0]), indent=2).decode())
    elif reason is None:
        table = Table.grid(padding=(0, 2))
        for each in told:
            table.add_row(Text(each.reason, "bold"), styled(each.short))
        console.print(table)
    else:
        show(told[0], console)


def known(name: str) -> Reason:
    """The reason of this name. Raises ColoproxyError, naming the nearest, if there is none."""
    wanted = name.lower().replace("-", "_")
    if wanted in list(Reason):
        return Reason(wanted)
    near = difflib.get_close_matches(wanted, list(Reason), 1)
    hint = f"did you mean {near[0]}?" if near else "`coloproxy explain` lists them."
    raise ColoproxyError(f"there is no reason '{name}'; {hint}")


def show(told: Explanation, console: Console) -> None:
    """Print one for people."""
    console.print(Text.assemble((told.reason, "bold red"), ": ", told.short))
    console.print()
    console.print(styled(told.meaning))
    for title, points in (("Usual causes", told.causes), ("What to do", told.actions)):
        console.print(f"\n[bold]{title}[/]")
        for point in points:
            bullet = Table.grid(padding=(0, 1))
            bullet.add_row("-", styled(point))
            console.print(bullet)
    if told.rule:
        console.print("\n[bold]As a rule[/] [bright_black](compare --rules FILE)[/]")
        console.print(Padding(Text(told.rule.strip(), "cyan"), (0, 0, 0, 2)))


def styled(text: str) -> Text:
    """Text in which what stands in backquotes is code."""
    parts = re.split(r"`([^`]*)`", text)
    return Text.assemble(*((part, "cyan" if at % 2 else "") for at, part in enumerate(parts)))
