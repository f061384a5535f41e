"""Whose frames are compared: as told, or the end that answers."""

import pytest

from coloproxy.capture import Record
from coloproxy.errors import ColoproxyError
from coloproxy.offline.replica import Guess, Replica, parse_replica
from support import frames as f

V4, V6 = bytes((10, 0, 0, 2)), bytes.fromhex("fd00000000000000" + "0000000000000002")


@pytest.mark.parametrize(
    ("text", "replica"),
    [
        ("10.0.0.2", Replica(V4)),
        ("10.0.0.2:80", Replica(V4, 80)),
        ("fd00::2", Replica(V6)),
        ("[fd00::2]", Replica(V6)),
        ("[fd00::2]:443", Replica(V6, 443)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, replica: Replica) -> None:
    assert parse_replica(text) == replica
    assert parse_replica(str(replica)) == replica


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server", "'server' is no IP address"),
        ("10.0.0.2:", "the port is missing"),
        ("10.0.0.2:http", "a port is a number from 1 to 65535"),
        ("10.0.0.2:0", "a port is a number from 1 to 65535"),
        ("10.0.0.2:70000", "a port is a number from 1 to 65535"),
        ("10.0.0.2:٣", "a port is a number from 1 to 65535"),
        ("10.0.0:80", "'10.0.0' is no IP address"),
        ("[fd00::2", "an address in brackets is followed by nothing or by :PORT"),
        ("[fd00::2]80", "an address in brackets is followed by nothing or by :PORT"),
        ("[fd00::2]:", "the port is missing"),
        ("", "'' is no IP address"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(text: str, why: str) -> None:
    with pytest.raises(ColoproxyError) as error:
        parse_replica(text)
    assert str(error.value) == f"side {text!r}: {why}; give ADDR, ADDR:PORT or [ADDR]:PORT, such as 10.0.0.2:80."


def guess(*frames: bytes) -> str | None:
    looked = Guess()
    looked.look(Record(0, 1, frame, len(frame)) for frame in frames)
    best = looked.best()
    return None if best is None else f"{best[0]}: {best[1]}"


CLIENT = {"src": f.CLIENT, "dst": f.REPLICA}


def test_who_sends_syn_acks_is_the_replica() -> None:
    frames = [f.tcp(sport=40000, dport=80, flags=f.SYN, **CLIENT), f.tcp(flags=f.SYN | f.ACK)]
    frames += [f.tcp(b"much", sport=40000, dport=80, **CLIENT)] * 9
    assert guess(*frames) == "10.0.0.2: it answered most connections"


def test_who_answers_pings_is_the_replica() -> None:
    assert guess(f.icmp(b"x", kind=8, **CLIENT), f.icmp(b"x")) == "10.0.0.2: it answered most connections"
    v6 = f.icmp(b"x", kind=129, src=f.REPLICA6, dst=f.CLIENT6)
    assert guess(v6) == "fd00::2: it answered most connections"


def test_who_has_the_lower_ports_is_the_replica() -> None:
    frames = [f.udp(b"q", sport=40000, dport=53, **CLIENT)] * 5 + [f.udp(b"a")]
    assert guess(*frames) == "10.0.0.2: it has the lower ports, as servers do"


def test_who_has_most_partners_is_the_replica() -> None:
    frames = [f.other(b"x", src=f"10.0.0.{n}", dst=f.REPLICA) for n in range(10, 15)]
    frames += [f.other(b"x", dst=f"10.0.0.{n}") for n in range(10, 15)]
    assert guess(*frames) == "10.0.0.2: it has most partners"


def test_without_an_ip_packet_there_is_no_guess() -> None:
    assert guess(f.arp(), b"\0" * 20, b"") is None


def test_frames_cut_short_and_packets_without_payload_are_looked_at_too() -> None:
    looked = Guess()
    whole = f.tcp(b"x" * 100, flags=f.SYN | f.ACK)
    empty = f.other(b"")
    looked.look([Record(0, 1, whole[:60], len(whole)), Record(0, 1, empty, len(empty))])
    assert looked.best() is not None
