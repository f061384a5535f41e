"""`coloproxy explain` has an explanation for every reason, whose rules are rules."""

import json
from pathlib import Path

import pytest

from coloproxy.compare.events import Reason
from coloproxy.compare.rules import load_rules
from coloproxy.watch.explanations import explanation
from support.process import run


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_and_its_rule_loads(reason: Reason, tmp_path: Path) -> None:
    told = explanation(reason)
    assert told.reason == reason
    assert told.short.endswith(".")
    assert told.meaning.endswith(".")
    assert told.causes
    assert told.actions
    if told.rule:
        file = tmp_path / "rules.toml"
        file.write_text(told.rule)
        assert len(load_rules(file)) > 1


def test_a_reason_is_explained_in_words_or_as_json() -> None:
    shown = run("explain", "tcp_payload")
    assert (shown.returncode, shown.stderr) == (0, "")
    for part in ("tcp_payload", "Usual causes", "A clock in the payload", "What to do", '[[rule]]'):
        assert part in shown.stdout
    assert "`" not in shown.stdout
    assert json.loads(run("explain", "--json", "tcp-payload").stdout)["reason"] == "tcp_payload"


def test_without_a_reason_all_are_listed() -> None:
    shown = run("explain").stdout
    assert [line.split()[0] for line in shown.splitlines() if line[:1].isalpha()] == list(Reason)


def test_a_reason_that_is_none_is_a_sentence_with_the_nearest() -> None:
    done = run("explain", "tcp_finn")
    assert (done.returncode, done.stderr) == (2, "coloproxy: there is no reason 'tcp_finn'; did you mean tcp_fin?\n")
    assert run("explain", "zzz").stderr == "coloproxy: there is no reason 'zzz'; `coloproxy explain` lists them.\n"
