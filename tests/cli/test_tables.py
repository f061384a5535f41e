"""What is wrong in a file is told in our words: where, what, and what to write instead."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from coloproxy import tables
from coloproxy.cli.settings import Settings, settings
from coloproxy.compare.rules import Rule, load_rules
from coloproxy.errors import ColoproxyError
from coloproxy.guest import config as guest
from coloproxy.topology import config as topology

FILES = Settings, Rule, guest.File, topology.Topology, topology.PortConfig, topology.ElementConfig
JARGON = re.compile(r"`|\b(?:int|str|bool|array|object|enum|Expected|Invalid|regex|None|True|False)\b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = 1", "rule = 1 is no good: write a list of tables."),
        ("rule = [5]", "rule = 5 is no good: write a table."),
        ("[rule]\naction = 1", "rule = {'action': 1} is no good: write a list of tables."),
        ("[[rule]]\n[[rule]]\naction = 'let'",
         "rule 2: action = 'let' is no good: write one of compare, pass, refuse."),
        ("[[rule]]\nprotocol = 1.5", "rule 1: protocol = 1.5 is no good: write a string, or a whole number."),
        ("[[rule]]\nethertype = '0x88cc'", "rule 1: ethertype = '0x88cc' is no good: write a whole number."),
        ("[[rule]]\nsource-port = 3", "rule 1: unknown key 'source-port'; did you mean source_port?"),
        ("[[rule]]\nwombat = 3", "rule 1: unknown key 'wombat'; known are name, protocol, source, destination,"),
        ("[[rule]]\nside = true", "rule 1: side = true is no good: write one of primary, secondary."),
        ("defaults = 'no'", "defaults = 'no' is no good: write true or false."),
        ("[[rule]]\nignore = ['tcp_syn']", "rule 1: ignore = 'tcp_syn' is no good: write one of"),
        ("[[rule]]\nname = 2025-11-26", "rule 1: name = 2025-11-26 is no good: write a string."),
    ],
)  # fmt: skip
def test_a_rules_file_that_is_wrong_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ColoproxyError) as caught:
        load_rules(path)
    assert str(caught.value).startswith(f"rules file {path}: {said}")


HOSTS = "name = 'web'\nlease = 'x'\nfolder = 'x'\nguest = { memory = '1G', mac = '52:54:00:12:34:56' }\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[host.a]\naddress = 'x'\ntap = 't'\n[host.b]\naddress = 'x'",
            "host b: the key tap is missing: give a string.",
        ),
        ("[host.a]\naddress = 'x'\ntap = 1\n[host.b]", "host a: tap = 1 is no good: write a string."),
        ("host = { a = 1, b = 2 }", "host a = 1 is no good: write a table."),
        ("timing = { misses = 1 }\n[host]", "timing: misses = 1 is no good: write a whole number from 2 to 1000."),
    ],
)
def test_tables_in_tables_are_named_with_their_keys(text: str, said: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        tables.convert(tables.tomllib.loads(HOSTS + text), guest.File, "file")
    assert str(caught.value) == f"file: {said}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tcp_match": "guess"}, "tcp-match = 'guess' is no good: write one of packet, sequence."),
        ({"compare_timeout": 0}, "compare-timeout = 0 is no good: write a whole number from 1 to 4294967295."),
        ({"events": "x" * 99, "vnet_hdr": "yes"}, "vnet-hdr = 'yes' is no good: write true or false."),
        ({"trace": "x" * 99}, f"trace = '{'x' * 59}... is no good: write a list of strings."),
    ],
)
def test_a_setting_is_named_as_it_is_written(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        settings(given, None)
    assert str(caught.value) == said


def types(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The types of all fields within."""
    for struct in tables._structs(kind):
        for field in struct.fields:
            yield field.type
            yield from types(field.type)
    for part in tables._parts(kind):
        if isinstance(part, inspect.DictType):
            yield from types(part.value_type)


@pytest.mark.parametrize("kind", FILES, ids=str)
def test_there_are_words_for_every_type_that_a_file_can_have(kind: Any) -> None:
    found = list(types(inspect.type_info(kind)))
    assert len(found) > 7
    for each in found:
        words = tables.wanted(each)
        assert "something else" not in words
        assert not JARGON.search(words), words
        if isinstance(each, inspect.Metadata) and isinstance(each.type, inspect.StrType):
            assert " such as " in words, "a pattern needs an example"


def test_an_example_fits_its_pattern() -> None:
    for each in types(inspect.type_info(guest.File)):
        examples = (getattr(each, "extra_json_schema", None) or {}).get("examples", [])
        for example in examples:
            assert re.search(each.type.pattern, example)  # type: ignore[attr-defined]
