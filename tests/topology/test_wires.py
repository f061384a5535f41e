"""Wires: what may be wired to what, and what is said of what may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.errors import ColoproxyError
from coloproxy.topology.wires import Shape, Wire, parse_wires

PORT = Shape(("in",), ("out",), loose=True)
SHAPES = {
    "a": PORT, "b": PORT,
    "tee": Shape(("in",), ("out", "copy")),
    "join": Shape(("primary", "secondary"), ("out",)),
    "rewriter": Shape(("client", "primary"), ("client", "primary"), optional=frozenset({"primary"})),
}  # fmt: skip


def shapes(*names: str) -> dict[str, Shape]:
    return {name: SHAPES[name] for name in names}


def test_a_chain_is_a_wire_from_each_place_to_the_next() -> None:
    found = parse_wires(["a -> tee->b", "tee.copy  ->  a"], shapes("a", "b", "tee"))
    assert found == [
        Wire(("a", "out"), ("tee", "in")), Wire(("tee", "out"), ("b", "in")), Wire(("tee", "copy"), ("a", "in"))
    ]  # fmt: skip
    assert list(map(str, found)) == ["a -> tee", "tee -> b", "tee.copy -> a"]


def test_a_channel_leads_through_an_element_by_its_name() -> None:
    found = parse_wires(["a -> rewriter.client -> b"], shapes("a", "b", "rewriter"))
    assert found == [Wire(("a", "out"), ("rewriter", "client")), Wire(("rewriter", "client"), ("b", "in"))]


def test_the_only_channel_needs_no_name() -> None:
    odd = {"a": PORT, "b": PORT, "odd": Shape(("entry",), ("exit",))}
    first, second = parse_wires(["a -> odd -> b"], odd)
    assert (first, second) == (Wire(("a", "out"), ("odd", "entry")), Wire(("odd", "exit"), ("b", "in")))


def test_several_wires_may_lead_to_one_input() -> None:
    assert len(parse_wires(["a -> b", "b -> b"], shapes("a", "b"))) == 2


def test_a_port_may_be_wired_in_one_direction_only() -> None:
    assert parse_wires(["a -> b"], shapes("a", "b")) == [Wire(("a", "out"), ("b", "in"))]


@pytest.mark.parametrize(
    ("chains", "there", "said"),
    [
        (["a"], "a", "wire 'a': a wire leads from one place to another: write a -> b."),
        (["a ->"], "a", "wire 'a ->': '' is no place; write a name, or name.channel."),
        (["a -> 1"], "a", "wire 'a -> 1': '1' is no place; write a name, or name.channel."),
        (["a -> b.c.d"], "a b", "wire 'a -> b.c.d': 'b.c.d' is no place; write a name, or name.channel."),
        (["a => b"], "a b", "wire 'a => b': 'a => b' is no place; write a name, or name.channel."),
        (["a -> c"], "a b", "wire 'a -> c': there is no port and no element 'c'; there are a, b."),
        (["a -> b.up"], "a b", "wire 'a -> b.up': 'b' has no input 'up'; it has in."),
        (["a.up -> b"], "a b", "wire 'a.up -> b': 'a' has no output 'up'; it has out."),
        (["a -> join -> b"], "a b join", "wire 'a -> join -> b': 'join' has no input 'in'; it has primary, secondary."),
        (["a -> b", "a -> a"], "a b", "wires: 'a' leads to several places; put an element of type mirror there."),
        (["a -> tee -> b"], "a b tee", "wires: output 'tee.copy' leads nowhere; wire it."),
        (["a -> tee.copy"], "a tee", "wire 'a -> tee.copy': 'tee' has no input 'copy'; it has in."),
        (["tee -> a", "tee.copy -> b"], "a b tee", "wires: nothing leads to input 'tee'; wire it."),
        (["a -> join.primary", "join -> b"], "a b join", "wires: nothing leads to input 'join.secondary'; wire it."),
        (["a -> b"], "a b join", "wires: output 'join' leads nowhere; wire it."),
        (["a -> a"], "a b", "wires: port 'b' is wired to nothing; wire it, or leave it out."),
        (["a -> rewriter.client -> b", "b -> rewriter.primary"], "a b rewriter",
         "wires: output 'rewriter.primary' leads nowhere; wire it."),
        (["a -> rewriter.client -> b", "rewriter.primary -> a"], "a b rewriter",
         "wires: nothing leads to input 'rewriter.primary'; wire it."),
    ],
)  # fmt: skip
def test_what_cannot_be_wired_is_said_in_a_sentence(chains: list[str], there: str, said: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        parse_wires(chains, shapes(*there.split()))
    assert str(caught.value) == said


def test_an_element_without_inputs_says_that_it_has_none() -> None:
    source = {"a": PORT, "source": Shape((), ("out",))}
    with pytest.raises(ColoproxyError, match=r"'source' has no input 'in'; it has none\.$"):
        parse_wires(["a -> source"], source)


PARTS = st.sampled_from(["a", "b", "tee", "tee.copy", "join.primary", "join", "rewriter.client", "->", " ", ".", "x"])


@given(st.lists(st.lists(PARTS, max_size=9).map(" ".join), max_size=5))
def test_any_text_is_wires_or_an_error(chains: list[str]) -> None:
    try:
        found = parse_wires(chains, SHAPES)
    except ColoproxyError:
        return
    sources = [wire.source for wire in found]
    assert len(sources) == len(set(sources))
