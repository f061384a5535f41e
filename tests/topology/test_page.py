"""docs/topology.md has everything that a topology file may say, with its defaults, and the drawings as they are."""

import re
from typing import Any

import msgspec
import pytest

from coloproxy.compare import config as comparator
from coloproxy.link.log import EventLog
from coloproxy.topology import config
from coloproxy.topology.draw import draw
from coloproxy.topology.runner import Runner
from coloproxy.topology.standard import HERE, names
from support.pages import DOCS, blocks, table

PAGE = DOCS / "topology.md"
ELEMENTS: list[Any] = list(config.ElementConfig.__args__)  # type: ignore[attr-defined]


def described(heading: str) -> dict[str, str]:
    """Keys and, where there is a column for them, their defaults."""
    found = {}
    for row in list(table(PAGE, heading))[1:]:
        for key in re.findall(r"`([\w.\[\]]+)`", row[0]):
            found[key] = row[1].strip("`") if len(row) == 3 else ""
    return found


def told(kind: Any) -> dict[str, str]:
    """The same of a type."""
    return {
        field.name: "" if field.default in (None, msgspec.NODEFAULT) else msgspec.json.encode(field.default).decode()
        for field in msgspec.structs.fields(kind)
    }


@pytest.mark.parametrize("name", names())
def test_the_drawings_are_those_of_the_command(name: str) -> None:
    topology = config.load(HERE / f"{name}.toml")
    runner = Runner(topology, EventLog(None))
    body, _, _ = draw(topology, runner.pieces).rpartition("\n\n")
    runner.loop.close()
    assert body + "\n" in [block.text for block in blocks(PAGE) if block.language == "text"]


def test_every_standard_topology_is_listed() -> None:
    listed = [re.findall(r"`([\w-]+)`", row[0])[0] for row in list(table(PAGE, "The standard topologies"))[1:]]
    assert sorted(listed) == names()


def test_every_type_of_element_has_its_section() -> None:
    _, _, text = PAGE.read_text().partition("\n## Elements\n")
    sections = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert sorted(sections) == sorted(kind.__struct_config__.tag for kind in ELEMENTS)


@pytest.mark.parametrize("kind", [kind for kind in ELEMENTS if kind is not config.ComparatorElement], ids=str)
def test_every_key_of_an_element_is_described_with_its_default(kind: Any) -> None:
    shown, meant = described(kind.__struct_config__.tag), told(kind)
    assert set(shown) == set(meant)
    if kind is not config.Redirector:  # whose keys are those of a port
        for key, default in meant.items():
            assert shown[key] in ((default.removesuffix(".0"),) if default else ("required", "none", "all")), key


def test_every_key_of_the_comparator_is_described() -> None:
    own = set(told(config.ComparatorElement)) - set(told(comparator.Config))
    assert set(described("comparator")) == own


def test_every_key_of_a_port_is_described_with_its_default() -> None:
    shown, meant = described("Ports"), told(config.PortConfig)
    assert set(shown) == set(meant)
    for key, default in meant.items():
        assert shown[key] in (default, "the present one" if key == "netns" else ""), key


def test_every_key_of_the_file_is_described() -> None:
    shown = {key.strip("[]").partition(".")[0] for key in described("The file")}
    assert shown == set(told(config.Topology))


def test_every_command_is_described() -> None:
    runner = Runner(config.load(HERE / "one-host.toml"), EventLog(None))
    runner.loop.close()
    assert {row[0].strip("`") for row in list(table(PAGE, "Commands"))[1:]} == set(runner._commands())


def test_every_counter_is_described() -> None:
    shown = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in list(table(PAGE, "Events"))[1:]}
    assert shown == counters()


def counters() -> dict[str, set[str]]:
    """The counters of one element of each type that has any."""
    settings: dict[str, dict[str, Any]] = {
        kind.__struct_config__.tag: {"type": kind.__struct_config__.tag} for kind in ELEMENTS
    }
    settings["buffer"]["interval"] = 1
    settings["dump"]["file"] = "x"
    settings["alter"]["offset"] = 1
    settings["redirector"]["outdev"] = "unix:/r"
    wires = [
        "a -> strip -> mirror -> buffer -> dump -> impair -> alter -> renumber.client -> switch -> rewriter.client",
        "rewriter.client -> redirector", "mirror.copy -> comparator.primary", "a2 -> renumber.replica -> a2",
        "a3 -> rewriter.secondary -> comparator.secondary", "comparator -> a",
    ]  # fmt: skip
    ports = {name: {"socket": f"unix:/{name}"} for name in ("a", "a2", "a3")}
    runner = Runner(config.convert({"wires": wires, "port": ports, "element": settings}, "file"), EventLog(None))
    runner.loop.close()
    return {element.name: set(element.counters()) for element in runner.pieces.elements if element.counters()}
