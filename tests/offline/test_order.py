"""Connections paired by their order of appearance, when the clients' ports and addresses differ."""

import random
from collections.abc import Callable

import pytest

from coloproxy.compare.rules import DEFAULT_RULES, Rule
from coloproxy.offline import Report
from coloproxy.offline.pairing import service
from coloproxy.packet.parse import parse
from support import frames as f

Diff = Callable[..., Report]


def connection(content: bytes, isn: int, size: int = 500, flags: int = f.SYN | f.ACK, **tcp: object) -> list[bytes]:
    """What the replica sends of a connection; one that it opens itself with flags=SYN."""
    out = [f.tcp(seq=isn, ack=1, flags=flags, options=f.syn_options(), **tcp)]  # type: ignore[arg-type]
    for at in range(0, len(content), size):
        out.append(f.tcp(content[at : at + size], seq=isn + 1 + at, ack=1, **tcp))  # type: ignore[arg-type]
    return [*out, f.tcp(seq=isn + 1 + len(content), ack=1, flags=f.FIN | f.ACK, **tcp)]  # type: ignore[arg-type]


def mingled(rng: random.Random, connections: list[list[bytes]]) -> list[bytes]:
    """All frames in some order that keeps each connection's own, and that in which they begin."""
    out: list[bytes] = []
    rest = [list(reversed(frames)) for frames in connections]
    begun = 0
    while any(rest):
        which = rng.choice([n for n, left in enumerate(rest) if left and n <= begun])
        begun = max(begun, which + 1)
        out.append(rest[which].pop())
    return out


CONTENTS = [random.Random(n).randbytes(3000 + 100 * n) for n in range(8)]


@pytest.mark.parametrize("seed", range(20))
def test_the_nth_connection_of_a_port_is_the_nth_of_that_port(diff: Diff, seed: int) -> None:
    rng = random.Random(seed)
    ports = [rng.choice((80, 8080)) for _ in CONTENTS]
    v6 = {"src": f.REPLICA6, "dst": f.CLIENT6} if seed % 2 else {}
    primary = [
        connection(content, rng.getrandbits(32), sport=port, dport=40000 + n, **v6)
        for n, (content, port) in enumerate(zip(CONTENTS, ports))
    ]
    order = sorted(range(8), key=lambda n: ports[n])  # the ports' connections come in another order, each port's do not
    secondary = [
        connection(
            CONTENTS[n], rng.getrandbits(32), rng.randint(100, 1400), sport=ports[n], dport=rng.randint(50000, 60000),
            **v6 | {"dst": f"fd00::{place + 20}" if v6 else f"10.0.1.{place}"},
        )
        for place, n in enumerate(order)
    ]  # fmt: skip
    sides = mingled(rng, primary), mingled(rng, secondary)
    side = "fd00::2" if v6 else "10.0.0.2"
    report = diff(*sides, side=side, match="order")
    assert report.same, report.differences
    assert sorted(c.verified for c in report.connections) == sorted(map(len, CONTENTS))
    assert not diff(*sides, side=side).same
    one = report.connections[0]
    assert one.connection.destination_port < 50000 <= one.secondary_connection.destination_port  # type: ignore[union-attr]


def test_ports_that_one_client_uses_again_and_the_other_does_not_are_no_trouble(diff: Diff) -> None:
    rng = random.Random(1)
    primary = [frame for n, c in enumerate(CONTENTS) for frame in connection(c, n * 7, dport=40000)]
    secondary = mingled(rng, [connection(c, n * 99, 1200, dport=50000 + n) for n, c in enumerate(CONTENTS)])
    for sides in ((primary, secondary), (secondary, primary)):
        report = diff(*sides, match="order")
        assert report.same, report.differences
        assert report.totals.verified == sum(map(len, CONTENTS))


def test_a_difference_names_both_connections(diff: Diff) -> None:
    other = CONTENTS[0][:1234] + b"!" + CONTENTS[0][1235:]
    theirs = connection(other, 6, dport=50000, dst="10.0.1.1")
    (d,) = diff(connection(CONTENTS[0], 5), theirs, match="order").differences
    assert (d.reason, d.offset, d.seq, d.secondary_seq) == ("tcp_payload", 1234, 1240, 1241)
    assert str(d.connection) == "tcp 10.0.0.2:80 > 10.0.0.9:40000"
    assert str(d.secondary_connection) == "tcp 10.0.0.2:80 > 10.0.1.1:50000"


def test_connections_that_one_side_has_more_of_are_differences(diff: Diff) -> None:
    primary = [frame for n in range(3) for frame in connection(CONTENTS[n], n, dport=40000 + n)]
    secondary = [frame for n in range(2) for frame in connection(CONTENTS[n], n, dport=50000 + n)]
    (d,) = diff(primary, secondary, match="order").differences
    assert (d.reason, d.length, d.connection.destination_port) == ("timeout_primary_only", 3200, 40002)
    (d,) = diff(secondary, primary, match="order").differences
    assert (d.reason, d.length, d.connection.destination_port) == ("timeout_secondary_only", 3200, 40002)


def test_connections_that_the_replica_opens_are_paired_by_the_port_they_go_to(diff: Diff) -> None:
    def side(first: int) -> list[bytes]:
        return [
            frame
            for n, port in enumerate((5432, 6379, 5432))
            for frame in connection(CONTENTS[n], n, flags=f.SYN, sport=first + n, dport=port)
        ]

    report = diff(side(40000), side(51000), match="order")
    assert report.same
    assert report.totals.verified == 9300


def test_another_address_of_the_secondary_replica_is_no_difference(diff: Diff) -> None:
    from coloproxy.offline import parse_replica

    theirs = connection(CONTENTS[1], 6, src="10.0.0.3")
    for match in ("five-tuple", "order"):
        report = diff(connection(CONTENTS[1], 5), theirs, secondary_side=parse_replica("10.0.0.3"), match=match)
        assert report.same
        assert report.totals.verified == len(CONTENTS[1])
        assert (report.side, report.secondary_side) == ("10.0.0.2", "10.0.0.3")
    guessed = diff(connection(CONTENTS[1], 5), theirs, side=None)
    assert guessed.same
    assert (guessed.side, guessed.secondary_side) == ("10.0.0.2", "10.0.0.3")


def test_datagrams_and_pings_of_other_clients_are_paired_as_well(diff: Diff) -> None:
    def side(client: int) -> list[bytes]:
        out = [f.udp(b"%d" % n, dport=client + n % 3) for n in range(50)]
        out += [f.icmp(b"ping %d" % n, ident=client % 1000 + n % 2, number=n) for n in range(20)]
        return [*out, *(f.icmp(b"ping", kind=129, src=f.REPLICA6, dst=f.CLIENT6, ident=client) for _ in range(3))]

    report = diff(side(40000), side(50007), match="order")
    assert report.same, report.differences
    assert report.totals.connections == 5
    other = side(50007)
    other[55] = f.icmp(b"pong 5", ident=8, number=5)
    (d,) = diff(side(40000), other, match="order").differences
    assert (d.reason, d.offset) == ("icmp_payload", 5)


def test_rules_hold_in_both_captures(diff: Diff) -> None:
    rules = [Rule(name="web", protocol="tcp", source_port=8080, action="pass"), *DEFAULT_RULES]  # type: ignore[arg-type]
    primary = connection(CONTENTS[0], 1) + connection(CONTENTS[1], 1, sport=8080)
    secondary = connection(CONTENTS[2], 1, sport=8080, dport=50001) + connection(CONTENTS[0], 1, dport=50000)
    report = diff(primary, secondary, match="order", rules=rules)
    assert report.same
    assert report.totals.verified == len(CONTENTS[0])
    assert (report.primary.passed, report.secondary.passed) == (9, 9)


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (f.tcp(sport=80, dport=40000), (True, 80)),
        (f.tcp(sport=40000, dport=80), (False, 80)),
        (f.tcp(sport=50000, dport=40000, flags=f.SYN | f.ACK), (True, 50000)),
        (f.tcp(sport=40000, dport=50000, flags=f.SYN), (False, 50000)),
        (f.tcp(sport=20, dport=50000, flags=f.SYN), (True, 20)),
        (f.tcp(sport=3000, dport=40000), (True, 3000)),
        (f.udp(sport=40000, dport=3000), (False, 3000)),
        (f.other(b"x"), 47),
    ],
)
def test_a_service_is_the_port_that_was_called(frame: bytes, name: object) -> None:
    assert service(parse(frame, 0, len(frame))) == name


def test_only_the_identifier_of_an_echo_is_a_name(diff: Diff) -> None:
    ours, theirs = f.icmp(b"x", kind=3, ident=5), f.icmp(b"x", kind=3, ident=6, dst="10.0.1.1")
    (d,) = diff([ours], [theirs], match="order").differences
    assert (d.reason, d.offset) == ("icmp_payload", 1)
    assert diff([ours], [f.icmp(b"x", kind=3, ident=5, dst="10.0.1.1")], match="order").same
