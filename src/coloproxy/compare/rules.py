"""Rules: which frames are compared, which pass, which are refused. In order; the first that matches decides.

A rules file is TOML:

    [[rule]]
    name = "remote desktop"
    protocol = "udp"
    source_port = 3389
    action = "pass"
"""

import enum
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from coloproxy import tables
from coloproxy.compare.events import Reason, Side
from coloproxy.errors import ColoproxyError
from coloproxy.packet.parse import Kind, Packet

Port = int | str
RELAXABLE = frozenset({Reason.TCP_SYN_OPTIONS})
PROTOCOLS = {"tcp": Kind.TCP, "udp": Kind.UDP, "icmp": Kind.ICMP, "icmpv6": Kind.ICMPV6, "non-ip": Kind.NON_IP}


class Action(enum.StrEnum):
    """compare: both replicas must say it. pass: the primary's leaves at once, the secondary's is dropped.
    refuse: it is not taken, from either."""

    COMPARE = "compare"
    PASS = "pass"
    REFUSE = "refuse"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. What is not given matches everything.

    protocol: tcp, udp, icmp, icmpv6, non-ip, or an IP protocol number. source, destination: an address or a network;
    the replica is the source. source_port, destination_port: a port or a range "3000-3010". ethertype: e.g. 0x88cc.
    icmp_type: a type or a range. side: frames of one replica only. ignore: reasons that are no divergence here.
    """

    name: str = ""
    protocol: str | int | None = None
    source: str | None = None
    destination: str | None = None
    source_port: Port | None = None
    destination_port: Port | None = None
    ethertype: int | None = None
    icmp_type: Port | None = None
    side: Literal["primary", "secondary"] | None = None
    action: Action = Action.COMPARE
    ignore: tuple[Reason, ...] = ()


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(name="non-ip", protocol="non-ip", action=Action.PASS),
    Rule(name="neighbour-discovery", protocol="icmpv6", icmp_type="133-137", action=Action.PASS),
    Rule(name="multicast-listener", protocol="icmpv6", icmp_type="130-132", action=Action.PASS),
    Rule(name="multicast-listener-2", protocol="icmpv6", icmp_type=143, action=Action.PASS),
    Rule(name="igmp", protocol=2, action=Action.PASS),
)


class Decision(NamedTuple):
    """What the rules say of a frame, and the name of the rule that said it."""

    action: Action
    rule: str
    ignore: frozenset[Reason]


OTHERWISE = Decision(Action.COMPARE, "default", frozenset())


class _Match:
    """A rule made ready for matching."""

    def __init__(self, rule: Rule, number: int) -> None:
        self.name = rule.name or f"rule {number}"
        self.decision = Decision(Action(rule.action), self.name, frozenset(rule.ignore))
        self.side = None if rule.side is None else Side[rule.side.upper()]
        self.kind, self.protocol = self._protocol(rule.protocol)
        self.source = self._network("source", rule.source)
        self.destination = self._network("destination", rule.destination)
        self.source_port = self._range("source_port", rule.source_port, 65535)
        self.destination_port = self._range("destination_port", rule.destination_port, 65535)
        self.icmp_type = self._range("icmp_type", rule.icmp_type, 255)
        self.ethertype = rule.ethertype
        for reason in rule.ignore:
            if reason not in RELAXABLE:
                raise self._error("ignore", reason, "only tcp_syn_options can be ignored; to ignore more, use pass")

    def _error(self, key: str, value: object, why: str) -> ColoproxyError:
        return ColoproxyError(f"rule {self.name!r}: {key} = {value!r} is no good: {why}.")

    def _protocol(self, value: str | int | None) -> tuple[Kind | None, int | None]:
        if value is None or isinstance(value, int):
            if value is not None and not 0 <= value <= 255:
                raise self._error("protocol", value, "an IP protocol number is 0 to 255")
            return None, value
        if value not in PROTOCOLS:
            raise self._error("protocol", value, f"use a number or one of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[value], None

    def _network(self, key: str, value: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        if value is None:
            return None
        try:
            return ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise self._error(key, value, "use an address, or a network such as 10.0.0.0/8") from None

    def _range(self, key: str, value: Port | None, top: int) -> range | None:
        if value is None:
            return None
        first, _, last = str(value).partition("-")
        try:
            numbers = range(int(first), int(last or first) + 1)
        except ValueError:
            numbers = range(0)
        if not numbers or numbers[0] < 0 or numbers[-1] > top:
            raise self._error(key, value, f"use a number or a range such as 3000-3010, up to {top}")
        return numbers

    def __call__(self, packet: Packet, side: Side, icmp_type: int) -> bool:
        return (
            (self.side is None or self.side == side)
            and (self.kind is None or self.kind == packet.kind)
            and (self.protocol is None or (packet.version != 0 and self.protocol == packet.protocol))
            and (self.ethertype is None or self.ethertype == packet.ethertype)
            and (self.source_port is None or packet.sport in self.source_port)
            and (self.destination_port is None or packet.dport in self.destination_port)
            and (self.icmp_type is None or icmp_type in self.icmp_type)
            and (self.source is None or _within(packet.src, self.source))
            and (self.destination is None or _within(packet.dst, self.destination))
        )


def _within(address: bytes, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return len(address) * 8 == network.max_prefixlen and ipaddress.ip_address(address) in network


class Rules:
    """An ordered list of rules, made ready; `given` is the list."""

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        self.given = tuple(rules)
        self.matches = [_Match(rule, number) for number, rule in enumerate(rules, 1)]

    def decide(self, packet: Packet, side: Side, icmp_type: int = -1) -> Decision:
        """What is to be done with a frame. `icmp_type` is -1 for what is not ICMP."""
        for match in self.matches:
            if match(packet, side, icmp_type):
                return match.decision
        return OTHERWISE


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[Rule] = []
    defaults: bool = True


def load_rules(path: Path) -> list[Rule]:
    """The rules of a TOML file, followed by the default rules unless it says `defaults = false`.

    Raises ColoproxyError, naming the key, when the file cannot be read or a rule is not valid.
    """
    file: _File = tables.convert(tables.load(path, "rules file"), _File, f"rules file {path}")
    rules = file.rule + (list(DEFAULT_RULES) if file.defaults else [])
    Rules(rules)
    return rules
