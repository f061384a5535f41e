"""The rule by which what differed would not be compared from now on, and that rule in words."""

import re
from typing import Any

import msgspec

from coloproxy.compare.events import Divergence, Endpoints, Reason
from coloproxy.compare.rules import RELAXABLE, Action, Rule


def propose(divergence: Divergence) -> Rule | None:
    """A rule for the kind of traffic that a divergence was found in: the service of the replica, not the one
    connection. None: it concerns no connection in particular."""
    ends = divergence.connection
    if ends is None:
        return None
    matched = match(ends)
    if divergence.reason in RELAXABLE:
        ignore: tuple[Reason, ...] = (divergence.reason,)
        return Rule(name=f"relaxed {called(ends)}", action=Action.COMPARE, ignore=ignore, **matched)
    return Rule(name=f"ignored {called(ends)}", action=Action.PASS, **matched)


def match(ends: Endpoints) -> dict[str, Any]:
    """What a rule has to say of this kind of traffic."""
    if found := re.fullmatch(r"ethertype 0x([0-9a-f]{4})", ends.protocol):
        return {"protocol": "non-ip", "ethertype": int(found[1], 16)}
    if found := re.fullmatch(r"ip protocol (\d+)", ends.protocol):
        return {"protocol": int(found[1]), "source": ends.source}
    matched: dict[str, Any] = {"protocol": ends.protocol, "source": ends.source}
    if ends.protocol in ("tcp", "udp"):
        ours, theirs = ends.source_port, ends.destination_port
        matched |= {"source_port": ours} if ours <= theirs else {"destination_port": theirs}
    return matched


def called(ends: Endpoints) -> str:
    """The kind of traffic in words."""
    ports = [port for port in (ends.source_port, ends.destination_port) if port]
    return f"{ends.protocol} {min(ports)}" if ports else ends.protocol


def toml(rule: Rule) -> str:
    """A rule as it is written in a rules file."""
    lines = ["[[rule]]"]
    for name, default in zip(Rule.__struct_fields__, Rule.__struct_defaults__, strict=True):
        value = msgspec.to_builtins(getattr(rule, name))
        if name == "action" or value != msgspec.to_builtins(default):
            lines.append(f"{name} = {written(name, value)}")
    return "\n".join(lines) + "\n"


def written(name: str, value: Any) -> str:
    """A value in TOML, whose basic strings are JSON's but for the escape of DEL (TOML 1.0.0, String)."""
    if name == "ethertype":
        return f"0x{value:04x}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(written('', each) for each in value)}]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
