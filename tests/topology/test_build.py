"""What a file becomes: ports and elements wired, what is wrong with it said, what leads where known."""

import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.link.arena import Pool
from coloproxy.link.loop import Loop
from coloproxy.topology.build import Pieces, build
from coloproxy.topology.config import convert
from coloproxy.topology.plain import Mirror
from support.flow import StillClock

Make = Callable[..., Pieces]

ELEMENTS = """
[element.mirror]
type = "mirror"
[element.mirror2]
type = "mirror"
[element.strip]
type = "strip"
[element.compare]
type = "comparator"
[element.rewriter]
type = "rewriter"
[element.hold]
type = "buffer"
interval = 1000
[element.loss]
type = "impair"
[element.skew]
type = "renumber"
[element.tee]
type = "dump"
file = "f"
[element.red]
type = "redirector"
indev = "unix:/i"
outdev = "unix:/o"
[element.blue]
type = "redirector"
outdev = "unix:/b"
"""


@pytest.fixture
def make() -> Iterator[Make]:
    """Builds topologies of ports a to e, on sockets if nothing else is said, and of those of ELEMENTS that are used."""
    loops: list[Loop] = []

    def made(*wires: str, **ports: str) -> Pieces:
        loops.append(Loop())
        table: dict[str, Any] = {"wires": list(wires)}
        used = {part.split(".")[0].strip() for wire in wires for part in wire.split("->")}
        elements = tomllib.loads(ELEMENTS)["element"]
        table["element"] = {name: elements[name] for name in elements if name in used}
        table["port"] = {
            name: tomllib.loads(ports.get(name, f'socket = "unix:/{name}"'))
            for name in "abcde" if name in used | set(ports)
        }  # fmt: skip
        return build(convert(table, "file"), loops[-1], StillClock(), Pool(), [].append)

    yield made
    for loop in loops:
        loop.close()


def reach(pieces: Pieces, port: str) -> tuple[set[str], set[str]]:
    """Names of the ports that a port's frames can come to, and of the inputs that may say that they are full."""
    (found,) = (reach for each, reach in pieces.reaches if each.name == port)
    return {each.name for each in found.ports}, {f"{element.name}.{channel}" for element, channel in found.inputs}


ONE_HOST = (
    "a -> strip -> mirror -> b", "mirror.copy -> rewriter.client -> c", "b -> rewriter.primary -> compare.primary",
    "c -> rewriter.secondary -> compare.secondary", "compare -> a",
)  # fmt: skip


def test_what_a_port_leads_to_is_known_through_elements_and_not_through_other_ports(make: Make) -> None:
    pieces = make(*ONE_HOST)
    assert reach(pieces, "a") == ({"b", "c"}, set())
    assert reach(pieces, "b") == ({"a"}, {"compare.primary"})
    assert reach(pieces, "c") == ({"a"}, {"compare.secondary"})


def test_a_redirector_leads_to_its_socket_and_on_from_the_other(make: Make) -> None:
    pieces = make("a -> red -> b")
    assert reach(pieces, "a") == ({"red.indev", "red.outdev"}, set())
    assert reach(pieces, "red.indev") == ({"b"}, set())
    assert reach(pieces, "red.outdev") == (set(), set())
    assert [port.name for port in pieces.every_port] == ["a", "b", "red.indev", "red.outdev"]


def test_every_port_is_read_if_only_to_drop_what_it_brings(make: Make) -> None:
    pieces = make("a -> b")
    assert [port.name for port, _ in pieces.reaches] == ["a", "b"]
    assert reach(pieces, "b") == (set(), set())


@pytest.mark.parametrize(
    ("wires", "order"),
    [
        (ONE_HOST, "strip mirror compare"),
        (ONE_HOST, "rewriter compare"),
        (("a -> compare.secondary", "b -> loss -> hold -> compare.primary", "compare -> a"), "loss hold compare"),
        (("a -> hold -> red -> loss -> b",), "hold red"),
        # The longer way decides: whoever collects frames must pass them on in the turn in which they came.
        (("a -> mirror -> loss -> hold -> b", "mirror.copy -> hold"), "mirror loss hold"),
        (("a -> mirror -> hold -> b", "mirror.copy -> loss -> hold"), "mirror loss hold"),
    ],
)
def test_elements_stand_behind_those_whose_frames_they_get(make: Make, wires: tuple[str, ...], order: str) -> None:
    names = [element.name for element in make(*wires).elements]
    assert [name for name in names if name in order.split()] == order.split()
    assert len(names) == len(set(names))


# Mirrors: a copy in memory is made where one is needed, and only there.


@pytest.mark.parametrize(
    ("wires", "apart"),
    [
        (("a -> mirror -> b", "mirror.copy -> c"), False),
        (("a -> mirror -> b", "mirror.copy -> strip -> c"), True),  # socket b keeps what waits there
        (("a -> mirror -> tee", "mirror.copy -> strip -> c"), False),
        (("a -> mirror -> strip -> tee", "mirror.copy -> c"), True),
        (("a -> mirror -> hold -> b", "mirror.copy -> strip -> c"), True),
        (("a -> mirror -> loss -> b", "mirror.copy -> hold -> c"), False),
        (("a -> mirror -> red -> b", "mirror.copy -> strip -> c"), True),
        (("a -> strip -> mirror -> b", "mirror.copy -> c"), False),
        (ONE_HOST, True),
    ],
)
def test_branches_of_a_mirror_are_apart_if_one_alters_what_the_other_needs(
    make: Make, wires: tuple[str, ...], apart: bool
) -> None:
    (mirror,) = (element for element in make(*wires).elements if isinstance(element, Mirror))
    assert mirror.apart == apart


def test_with_devices_that_keep_nothing_the_copy_may_be_altered_in_place(make: Make) -> None:
    devices = {name: f'packet = "{name}"' for name in "abc"}
    mirrors = [element for element in make(*ONE_HOST, **devices).elements if isinstance(element, Mirror)]
    assert [mirror.apart for mirror in mirrors] == [False]
    nested = make("a -> mirror -> mirror2 -> tee", "mirror2.copy -> strip -> b", "mirror.copy -> c", **devices)
    assert {each.name: each.apart for each in nested.elements if isinstance(each, Mirror)} == {
        "mirror": True, "mirror2": False
    }  # fmt: skip


# What cannot be


def test_frames_may_not_go_round(make: Make) -> None:
    for wires in (
        ("a -> mirror -> strip -> mirror", "mirror.copy -> b"),
        ("a -> mirror -> strip -> mirror2 -> b", "mirror2.copy -> mirror", "mirror.copy -> c"),
        ("a -> compare.primary", "b -> compare.secondary", "compare -> mirror -> c", "mirror.copy -> compare.primary"),
    ):
        with pytest.raises(ColoproxyError, match=r"^wires: frames would go round for ever: .* -> .*; take one"):
            make(*wires)
    with pytest.raises(ColoproxyError) as caught:
        make("a -> loss -> hold -> strip -> loss", "b -> b")
    circle = str(caught.value).split(": ")[2].split(";")[0].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(pairwise(circle)) == {("loss", "hold"), ("hold", "strip"), ("strip", "loss")}


@pytest.mark.parametrize(
    "wires",
    [
        ("a -> skew.client -> skew.replica -> b",),
        ("a -> b", "b -> a"),
        ("a -> red -> b", "b -> a"),
        ("a -> compare.primary", "b -> compare.secondary", "compare -> c", "compare.replicas -> a"),
    ],
)
def test_ways_that_only_look_like_circles_are_none(make: Make, wires: tuple[str, ...]) -> None:
    make(*wires)


VNET = 'socket = "unix:/{}"\nvnet_hdr = {}'


@pytest.mark.parametrize(
    ("ports", "wires", "bad"),
    [
        ({"a": 'tap = "t"'}, ("a -> b",), ("a", "b")),
        ({"a": 'packet = "t"', "c": 'packet = "u"'}, ("a -> mirror -> c", "mirror.copy -> loss -> b"), ("a", "b")),
        ({"a": VNET.format("a", "true")}, ("a -> b",), ("a", "b")),
        ({"a": VNET.format("a", "12")}, ("a -> b",), ("a", "b")),
        ({"a": 'tap = "t"', "b": VNET.format("b", "true")}, ("a -> red -> b",), ("a", "red.indev")),
        ({"a": 'tap = "t"\noffload = false'}, ("a -> b",), None),
        ({"a": 'tap = "t"', "b": VNET.format("b", "10")}, ("a -> b",), None),
        ({"a": 'tap = "t"', "b": 'tap = "u"\noffload = false'}, ("a -> b",), None),
        ({"a": 'tap = "t"', "b": 'tap = "u"'}, ("a -> b", "b -> a"), None),
        ({"b": 'tap = "t"'}, ("a -> b",), None),
        ({"b": VNET.format("b", "true")}, ("a -> b",), None),
    ],
)
def test_frames_with_headers_may_not_come_to_a_port_without(
    make: Make, ports: dict[str, str], wires: tuple[str, ...], bad: tuple[str, str] | None
) -> None:
    if bad is None:
        make(*wires, **ports)
        return
    with pytest.raises(ColoproxyError) as caught:
        make(*wires, **ports)
    assert str(caught.value) == (
        f"wires: frames of port {bad[0]} have virtio-net headers, and port {bad[1]} has none: set vnet_hdr at {bad[1]},"
        f" or have {bad[0]} do without."
    )


@pytest.mark.parametrize(
    ("ports", "wires", "said"),
    [
        ({"a": 'socket = "unix:"'}, ("a -> b",), "port a: address 'unix:': the path is missing."),
        ({"a": 'tap = "x"\npacket = "y"'}, ("a -> b",),
         "port a: tap and packet are given; give one of tap, packet, socket, vhost_user, capture."),
        ({"a": 'socket = "unix:/x"', "b": 'socket = "unix:/x,server"'}, ("a -> b",),
         "ports a and b have one address, unix:/x,server; each needs its own."),
        ({"a": 'socket = "unix:/i"'}, ("a -> red -> b",),
         "ports a and red.indev have one address, unix:/i; each needs its own."),
        ({"b": 'tap = "t"'}, ("a -> blue -> b",), "wire 'a -> blue -> b': 'blue' has no output 'out'; it has none."),
        ({"a": 'socket = "tcp:no-such-host.invalid:1"'}, ("a -> b",), "address 'tcp:no-such-host.invalid:1': "),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_said(make: Make, ports: dict[str, str], wires: tuple[str, ...], said: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        make(*wires, **ports)
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "element x: a redirector needs indev, outdev or both."),
        ('indev = "unix:/x"\noutdev = "unix:/x"',
         "ports x.indev and x.outdev have one address, unix:/x; each needs its own."),
        ('indev = "nowhere"', "port x.indev: address 'nowhere': "),
    ],
)  # fmt: skip
def test_a_redirector_is_told_where_to(lines: str, said: str) -> None:
    text = f'wires = ["a -> a"]\n[port.a]\nsocket = "unix:/a"\n[element.x]\ntype = "redirector"\n{lines}'
    loop = Loop()
    with pytest.raises(ColoproxyError) as caught:
        build(convert(tomllib.loads(text), "file"), loop, StillClock(), Pool(), [].append)
    assert str(caught.value).startswith(said)
    loop.close()


def test_to_build_is_not_to_open(make: Make, tmp_path: Path) -> None:
    make("a -> tee", a=f'socket = "unix:{tmp_path}/s,server"')
    assert not Path("f").exists()
    assert list(tmp_path.iterdir()) == []
