"""The reference pages have everything that the code has, with its defaults, and nothing else."""

import re
import sys

import pytest
import typer

from coloproxy.cli import app
from coloproxy.compare.config import Config
from coloproxy.compare.events import Reason
from coloproxy.compare.rules import DEFAULT_RULES, Rule
from coloproxy.trace import load
from support.pages import DOCS, ROOT, table

sys.path.insert(0, str(DOCS))

import generate


def test_the_page_of_events_is_that_of_the_types() -> None:
    assert generate.page() == generate.PAGE.read_text(), "make it anew: python docs/generate.py"


def test_every_explanation_of_a_member_is_of_one_that_exists() -> None:
    shown = generate.PAGE.read_text()
    for member, meaning in generate.MEANING.items():
        assert f"| `{member.rpartition('.')[2]}` |" in shown, member
        assert meaning in shown, member


OPTIONS = [option for option in typer.main.get_command(app).commands["compare"].params if option.name != "config"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_of_compare_is_described(option: typer.core.TyperOption) -> None:
    described = [row[0] for row in table(DOCS / "compare.md")]
    for spelling in (*option.opts, *option.secondary_opts):
        assert any(re.search(rf"`{spelling}[` ]", cell) for cell in described), spelling


def test_every_option_described_exists() -> None:
    existing = {spelling for option in OPTIONS for spelling in (*option.opts, *option.secondary_opts)}
    for row in table(DOCS / "compare.md"):
        for spelling in re.findall(r"`(--[a-z-]+)", row[0]):
            assert spelling in existing


def test_defaults_are_as_described() -> None:
    rows = [row for row in table(DOCS / "compare.md") if row[0].startswith("`--")]
    described = {row[0].split("`")[1].split()[0]: row[1].strip("`") for row in rows}
    for field, default in zip(Config.__struct_fields__, Config.__struct_defaults__, strict=True):
        shown = {"True": "on", "False": "off"}.get(str(default), str(default))
        assert described[f"--{field.replace('_', '-')}"] == shown, field


def test_the_pages_of_the_reasons_say_what_is_explained() -> None:
    for file, text in generate.reasons():
        assert file.read_text() == text, f"{file.name}: make it anew: python docs/generate.py"


def test_every_reason_has_its_page_in_order() -> None:
    assert [row[0] for row in table(DOCS / "reasons.md")][1:] == [f"[{name}](reasons/{name}.md)" for name in Reason]
    assert {page.stem for page in (DOCS / "reasons").glob("*.md")} == set(Reason)


def test_every_key_of_a_rule_is_described() -> None:
    assert [row[0].strip("`") for row in table(DOCS / "rules.md", "What a rule can say")][1:] == list(
        Rule.__struct_fields__
    )


def test_the_default_rules_are_described() -> None:
    shown = [(row[0].strip("`"), row[2].strip("`")) for row in table(DOCS / "rules.md", "The default rules")][1:]
    assert shown == [(rule.name, str(rule.action)) for rule in DEFAULT_RULES]


def test_every_trace_event_of_qemu_and_of_the_comparator_is_described() -> None:
    _, _, text = (DOCS / "trace.md").read_text().partition("## The events")
    described = set(re.findall(r"`(\w+_\w+)`", text))
    existing = {spec.name for spec in load()}
    assert described <= existing
    assert {spec.name for spec in load() if spec.section != "coloproxy" or "_compare_" in spec.name} <= described


def test_the_rooms_described_exist_and_lie_in_that_order() -> None:
    rooms = re.findall(r'"coloproxy\.(\w+)"', (ROOT / "pyproject.toml").read_text())
    for page, heading in ((ROOT / "README.md", "How the house is laid out"), (DOCS / "architecture.md", "Rooms")):
        described = [row[0].strip("`") for row in table(page, heading)][1:]
        assert described == [room for room in rooms if room in described]
        assert len(described) >= 7


def test_every_dependency_is_argued_for() -> None:
    lines = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r'"([a-z-]+)[><=]', lines)
    readme = (ROOT / "README.md").read_text().lower()
    for package in extras:
        assert package in readme, package
