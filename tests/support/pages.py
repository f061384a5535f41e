"""The pages of the documentation, and what is in them to be tried out."""

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("**/*.md")])


class Block(NamedTuple):
    """A fenced block: the language named in front of it, and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command in the page's shell blocks, continued lines joined."""
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                yield shlex.split(line, comments=True)


def program(page: Path) -> tuple[str, str]:
    """The page's Python blocks one after another, and what the text blocks right behind them say is printed."""
    found = blocks(page)
    code = "\n".join(block.text for block in found if block.language == "python")
    printed = [b.text for a, b in pairwise(found) if (a.language, b.language) == ("python", "text")]
    return code, "".join(printed)


def table(page: Path, heading: str = "") -> Iterator[list[str]]:
    """The rows of all tables behind a heading (of any level, up to the next one), cells stripped."""
    _, _, text = page.read_text().partition(f"# {heading}\n") if heading else ("", "", page.read_text())
    text = re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0] if heading else text
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def questions() -> list[str]:
    """What the dashboard asks Prometheus, in all panels and annotations; the head of a row asks nothing."""
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return asked + [each["expr"] for each in dashboard["annotations"]["list"]]
