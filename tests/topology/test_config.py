"""The topology file: all that it may say, and what is said of all that it may not."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.topology import config
from coloproxy.topology.config import Impair, PortConfig, check, convert, load

WIRES = 'wires = ["a -> b"]\n'


def read(text: str) -> config.Topology:
    return convert(tomllib.loads(text), "file")


def said(text: str) -> str:
    with pytest.raises(ColoproxyError) as caught:
        read(text)
    return str(caught.value)


def test_a_file_can_say_everything() -> None:
    found = read("""
        wires = ["a -> b"]
        name = "all of it"
        events = "events.jsonl"
        control = "unix:/c"
        trace = ["colo_*"]
        trace_file = "t"
        [port.a]
        tap = "e0"
        netns = "n"
        offload = false
        [port.b]
        packet = "p0"
        [port.c]
        socket = "unix:/s,server"
        vnet_hdr = 12
        untaken = "drop"
        [port.d]
        capture = "c.pcap"
        [element.mirror]
        type = "mirror"
        [element.redirector]
        type = "redirector"
        indev = "unix:/i"
        outdev = "unix:/o"
        vnet_hdr = true
        untaken = "drop"
        [element.switch]
        type = "switch"
        [element.strip]
        type = "strip"
        [element.rewriter]
        type = "rewriter"
        timestamps = "translate"
        [element.comparator]
        type = "comparator"
        on_divergence = "alarm"
        compare_timeout = 5
        notify_dev = "unix:/n"
        vnet_hdr = true
        rules = "r"
        evidence = "e"
        [element.buffer]
        type = "buffer"
        interval = 1000
        limit = 10
        [element.dump]
        type = "dump"
        file = "d"
        maxlen = 96
        [element.impair]
        type = "impair"
        seed = 2
        loss = 0.5
        duplicate = 1
        reorder = 0.0
        delay = 1
        jitter = 0.5
        rate = "1.5 Gbit/s"
        limit = 3
        [element.renumber]
        type = "renumber"
        isn = 4294967295
        timestamp = 1
        [element.alter]
        type = "alter"
        offset = 5
        port = 21
    """)
    assert set(found.port) == {"a", "b", "c", "d"}
    assert len(found.element) == 11
    assert [check(name, port) for name, port in found.port.items()] == ["tap", "packet", "socket", "capture"]
    assert found.port["c"].vnet_hdr == 12
    assert found.element["rewriter"] == config.Rewriter(timestamps="translate")
    assert found.element["impair"].bits_per_second == 1.5e9  # type: ignore[union-attr]
    for name, element in found.element.items():
        assert type(element).__struct_config__.tag == name


def test_every_type_of_element_is_in_the_test_above() -> None:
    assert len(config.ElementConfig.__args__) == 11  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "file: the key wires is missing: give a list of strings, 1 or more."),
        ("wires = []", "file: wires = [] is no good: write a list of strings, 1 or more."),
        ("wires = [1]", "file: wires = 1 is no good: write a string."),
        (WIRES + "wombat = 1",
         "file: unknown key 'wombat'; known are wires, port, element, name, events, control, trace, trace_file."),
        (WIRES + "port = 1", "file: port is no table; write [port.NAME]."),
        (WIRES + "element = []", "file: element is no table; write [element.NAME]."),
        (WIRES + "name = 1", "file: name = 1 is no good: write a string."),
        (WIRES + '[port."a b"]', "file: port 'a b': a name is a letter, then letters, digits, _ and -."),
        (WIRES + "[port.1]", "file: port '1': a name is a letter, then letters, digits, _ and -."),
        (WIRES + "[port.a]\nwombat = 1", "file: port a: unknown key 'wombat'; known are tap, packet, socket,"
         " vhost_user, capture, netns, offload, vnet_hdr, untaken."),
        (WIRES + "[port.a]\ntap = 1", "file: port a: tap = 1 is no good: write a string."),
        (WIRES + "[port.a]\nvnet_hdr = 11",
         "file: port a: vnet_hdr = 11 is no good: write true or false, or one of 10, 12, 20."),
        (WIRES + '[port.a]\nuntaken = "x"', "file: port a: untaken = 'x' is no good: write one of drop, wait."),
        (WIRES + "[port.a]\nvnet-hdr = true", "file: port a: unknown key 'vnet-hdr'; did you mean vnet_hdr?"),
        (WIRES + "[port]\na = 1", "file: port a: 1 is no good: write a table."),
        (WIRES + "[element.a]", "file: element a: the key type is missing: give one of mirror, redirector, switch,"
         " strip, rewriter, comparator, buffer, dump, impair, renumber, alter."),
        (WIRES + '[element.a]\ntype = "wombat"',
         "file: element a: type = 'wombat' is no good: write one of mirror, redirector,"
         " switch, strip, rewriter, comparator, buffer, dump, impair, renumber, alter."),
        (WIRES + '[element.a]\ntype = "mirror"\nx = 1', "file: element a: unknown key 'x'; known are type."),
        (WIRES + '[element.a]\ntype = "impair"\njiter = 1',
         "file: element a: unknown key 'jiter'; did you mean jitter?"),
        (WIRES + '[element.a]\ntype = "buffer"',
         "file: element a: the key interval is missing: give a whole number from 1 to 4294967295."),
        (WIRES + '[element.a]\ntype = "buffer"\ninterval = 0',
         "file: element a: interval = 0 is no good: write a whole number from 1 to 4294967295."),
        (WIRES + '[element.a]\ntype = "impair"\nloss = 1.5',
         "file: element a: loss = 1.5 is no good: write a number from 0 to 1."),
        (WIRES + '[element.a]\ntype = "impair"\ndelay = -1',
         "file: element a: delay = -1 is no good: write a number, 0 or more."),
        (WIRES + '[element.a]\ntype = "impair"\nrate = 5', "file: element a: rate = 5 is no good: write a string."),
        (WIRES + '[element.a]\ntype = "alter"\noffset = 1\nport = 0',
         "file: element a: port = 0 is no good: write a whole number from 1 to 65535."),
        (WIRES + '[element.a]\ntype = "renumber"\nisn = 4294967296',
         "file: element a: isn = 4294967296 is no good: write a whole number from 0 to 4294967295."),
        (WIRES + '[element.a]\ntype = "rewriter"\ntimestamps = "x"',
         "file: element a: timestamps = 'x' is no good: write one of keep, strip, translate."),
        (WIRES + '[element.a]\ntype = "comparator"\ncompare_timeout = 0',
         "file: element a: compare_timeout = 0 is no good: write a whole number from 1 to 4294967295."),
        (WIRES + '[port.a]\ntap = "x"\n[element.a]\ntype = "mirror"',
         "file: 'a' is a port and an element; each needs a name of its own."),
    ],
)  # fmt: skip
def test_what_a_file_may_not_say_is_named(text: str, sentence: str) -> None:
    assert said(text) == sentence


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "port x: none is given; give one of tap, packet, socket, vhost_user, capture."),
        ({"tap": "a", "socket": "unix:/b"},
         "port x: tap and socket are given; give one of tap, packet, socket, vhost_user, capture."),
        ({"socket": "unix:/b", "netns": "n"}, "port x: netns is for tap and packet, not for socket."),
        ({"packet": "a", "offload": False}, "port x: offload is for tap and vhost_user, not for packet."),
        ({"tap": "a", "vnet_hdr": True}, "port x: vnet_hdr is for socket, not for tap."),
        ({"capture": "a", "untaken": "drop"}, "port x: untaken is for socket, not for capture."),
        ({"tap": ""}, "port x: tap = '' is no device's name: 1 to 15 characters without blanks, / and %."),
        ({"tap": "tap%d"}, "port x: tap = 'tap%d' is no device's name: 1 to 15 characters without blanks, / and %."),
        ({"packet": "a" * 16},
         f"port x: packet = '{'a' * 16}' is no device's name: 1 to 15 characters without blanks, / and %."),
        ({"packet": "a b"}, "port x: packet = 'a b' is no device's name: 1 to 15 characters without blanks, / and %."),
    ],
)  # fmt: skip
def test_a_port_is_one_thing_and_is_told_what_is_for_it(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        check("x", PortConfig(**settings))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("rate", "bits"),
    [("1000", 1e3), ("10k", 1e4), ("100M", 1e8), ("1G", 1e9), ("2.5 G", 2.5e9), ("1Gbit", 1e9), ("1 Mbit/s", 1e6)],
)
def test_rates_are_bits_a_second(rate: str, bits: float) -> None:
    assert Impair(rate=rate).bits_per_second == bits


@pytest.mark.parametrize("rate", ["", "0", "0M", "-1M", "1g", "1T", "1 G B", "1e9", "fast", "1.G", "٣"])
def test_what_is_no_rate_is_said(rate: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        _ = Impair(rate=rate).bits_per_second
    assert str(caught.value) == f"rate = {rate!r} is no good: write bits a second, such as 100M or 1G."


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ColoproxyError) as caught:
        load(tmp_path / "nothing")
    assert str(caught.value) == f"topology file {tmp_path}/nothing: No such file or directory; name a readable file."
    for content in (b"wires = [", b"\xff"):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ColoproxyError, match=f"^topology file {tmp_path}/bad: not valid TOML: .*[.]$"):
            load(tmp_path / "bad")
    (tmp_path / "good").write_text(WIRES)
    assert load(tmp_path / "good").wires == ["a -> b"]
