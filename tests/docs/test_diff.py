"""What `coloproxy diff` prints is what the pages show."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from coloproxy.cli import app
from support.pages import DOCS, PAGES, blocks, program, table
from support.process import COMMAND

PAGE = DOCS / "diff.md"
SHOWN = [
    (page, command.text, printed.text)
    for page in PAGES
    for command, printed in pairwise(blocks(page))
    if command.language == "sh" and command.text.startswith("coloproxy diff ") and printed.language == "text"
]  # fmt: skip


@pytest.mark.parametrize(("page", "command", "printed"), SHOWN, ids=[page.name for page, _, _ in SHOWN])
def test_it_prints_what_the_page_shows(page: Path, command: str, printed: str, tmp_path: Path) -> None:
    """Of the two captures that the page of `diff` makes; blanks at the ends of lines do not count."""
    assert page.exists()
    subprocess.run([sys.executable, "-c", program(PAGE)[0]], cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run(
        [*COMMAND, *command.split()[1:]], cwd=tmp_path, env=os.environ | {"COLUMNS": "100"}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    assert (lines, done.stderr, done.returncode) == (printed.strip("\n"), "", 1)


def test_every_option_is_described_with_its_name() -> None:
    options = typer.main.get_command(app).commands["diff"].params
    names = [option.opts[0] for option in options if option.param_type_name == "option"]
    described = [row[0].strip("`").split()[0] for row in table(PAGE, "Options")][1:]
    assert described == names
