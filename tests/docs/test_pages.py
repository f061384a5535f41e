"""Every page: programs print what is written behind them, commands parse, TOML loads, links lead somewhere."""

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import typer

from coloproxy.cli import app
from coloproxy.cli.settings import Settings, settings
from coloproxy.compare.rules import load_rules
from coloproxy.guest.config import load as guest
from coloproxy.topology.config import load as topology
from coloproxy.trace import Tracer, apply_options, load
from support.pages import DOCS, PAGES, ROOT, blocks, commands, program
from support.process import COMMAND
from support.wire import PATIENCE, connect

START = DOCS / "getting-started.md"
PROGRAMS = [page for page in PAGES if page != START and any(block.language == "python" for block in blocks(page))]
COLOPROXY = [(page.name, words) for page in PAGES for words in commands(page) if words[:1] == ["coloproxy"]]
TOML = [(page.name, block.text) for page in PAGES for block in blocks(page) if block.language == "toml"]


def name(value: object) -> str:
    return value.name if isinstance(value, Path) else " ".join(value) if isinstance(value, list) else str(value)[:40]


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_what_a_program_prints_is_written_behind_it(page: Path, tmp_path: Path) -> None:
    code, printed = program(page)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (printed, "")


@pytest.mark.parametrize(("page", "words"), COLOPROXY, ids=name)
def test_every_command_shown_can_be_typed(page: str, words: list[str]) -> None:
    """Its options exist and their values convert; what `compare` is told is good. No command is run."""
    command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{page}: a group is named, and no command"
        assert rest[0] in command.commands, f"{page}: there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    rest = list(takewhile(lambda word: word not in (">", "..."), rest))
    try:
        context = command.make_context(command.name, rest)
    except typer.Exit:  # it would have answered at once, as --events-schema does
        return
    if command.name == "compare":
        given = {field: context.params[field] or None for field in Settings.__struct_fields__}
        made = settings(given, None)
        if context.params["config"] is None and "..." not in words:
            made.addresses()
        apply_options([each for each in made.trace if "=" not in each], tracer=Tracer(load()))


@pytest.mark.parametrize(("page", "text"), TOML, ids=name)
def test_every_toml_file_shown_loads(page: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / f"{page}.toml"
    file.write_text(text)
    if "rule" in tomllib.loads(text):
        assert load_rules(file)
    elif "wires" in tomllib.loads(text):
        topology(file)
    elif "guest" in tomllib.loads(text):
        guest(file)
    else:
        settings({}, file).addresses()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_documentation_lead_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_json_shown_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            for document in re.split(r"\n(?=\{)", block.text.strip()):
                json.loads(document)


@pytest.fixture
def started(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The proxy of the first steps, in a folder of its own."""
    (command,) = [words for words in commands(START) if words[:2] == ["coloproxy", "compare"]]
    with subprocess.Popen([*COMMAND, *command[1:]], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        connect(str(tmp_path / "o")).close()
        yield process
        process.kill()


def test_the_first_steps_lead_where_they_say(started: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    code, printed = program(START)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.stdout, done.stderr) == (printed, "")
    assert started.stdout is not None
    request = next(event for line in started.stdout if (event := json.loads(line))["event"] == "checkpoint_requested")
    assert request["reason"] == "tcp_payload"
    started.send_signal(signal.SIGINT)
    assert json.loads(started.stdout.read().splitlines()[-1])["event"] == "summary"
    assert started.wait(PATIENCE) == 0


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.glob("**/*.md"):
        assert f": {page.relative_to(DOCS)}" in navigation, page.name
