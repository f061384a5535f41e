"""What the reasons mean, for people: read from reasons.toml."""

import functools
import tomllib
from importlib.resources import files

import msgspec

from coloproxy.compare.events import Reason


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """short: a sentence. meaning: a paragraph. causes, actions: the likeliest first. rule: one that ends it, as TOML.
    Code is marked by backquotes."""

    reason: Reason
    short: str
    meaning: str
    causes: list[str]
    actions: list[str]
    rule: str | None = None


@functools.cache
def explanations() -> dict[Reason, Explanation]:
    """All of them, in the order of the reasons."""
    table = tomllib.loads(files("coloproxy.watch").joinpath("reasons.toml").read_text())
    return {
        reason: msgspec.convert(
            {**table[reason], "reason": reason, "meaning": " ".join(table[reason]["meaning"].split())}, Explanation
        )
        for reason in Reason
    }


def explanation(reason: Reason) -> Explanation:
    """The explanation of one."""
    return explanations()[reason]


def markdown(told: Explanation) -> str:
    """A page of the documentation."""
    note = "<!-- Written by `python docs/generate.py`; do not edit. -->"
    lines = [f"# {told.reason}", "", note, "", told.short, "", "## What it means", "", told.meaning, ""]
    lines += ["## Usual causes", ""]
    lines += [f"- {cause}" for cause in told.causes]
    lines += ["", "## What to do", ""]
    lines += [f"- {action}" for action in told.actions]
    if told.rule:
        lines += ["", "As a [rule](../rules.md):", "", "```toml", told.rule.strip(), "```"]
    return "\n".join(lines) + "\n"
