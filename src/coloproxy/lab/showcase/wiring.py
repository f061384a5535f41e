"""The topologies of the demonstration: all around the comparator is the same, whoever compares.

    client -> strip -> mirror -> primary
                       mirror.copy -> rewriter.client -> secondary
    primary -> rewriter.primary ----> comparator
    secondary -> rewriter.secondary -> comparator
    comparator -> client
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coloproxy.lab.plan import Ports
from coloproxy.lab.showcase.record import Way

HOSTS = ("client", "primary", "secondary")

AROUND = """\
name = "demo: {way}"
events = {events}
control = {control}
wires = [
  "client -> strip -> mirror -> primary",
  "mirror.copy -> rewriter.client -> secondary",
  "primary -> rewriter.primary -> {to_primary}",
  "secondary -> rewriter.secondary -> {to_secondary}",
  "{out} -> client",
]

[element.strip]
type = "strip"

[element.mirror]
type = "mirror"

# Checkpoints are pretended: the servers are ordinary processes.
[element.rewriter]
type = "rewriter"
copies = false
"""
OURS = ("compare.primary", "compare.secondary", "compare")
QEMUS = ("to-qemu-primary", "to-qemu-secondary", "from-qemu")


def topology(way: Way, ports: Ports, places: Mapping[str, str], sockets: Path, events: Path) -> str:
    """The file. places: the namespace of each host, "proxy" included; sockets: the folder for them; events: a file."""
    to_primary, to_secondary, out = QEMUS if way == "qemu" else OURS
    text = AROUND.format(
        way=way, events=json.dumps(str(events)), control=json.dumps(f"unix:{sockets / 'control'}"),
        to_primary=to_primary, to_secondary=to_secondary, out=out,
    )  # fmt: skip
    for host in HOSTS:
        device = {"tap": "e0", "netns": places[host]} if ports == "tap" else {"packet": host, "netns": places["proxy"]}
        text += table(f"port.{host}", device)
    if way == "qemu":
        for name, socket in zip(QEMUS, ("primary", "secondary", "out")):
            text += table(f"port.{name}", {"socket": f"unix:{sockets / socket}", "vnet_hdr": True})
        return text
    settings = {"tcp_match": "packet" if way == "packet" else "sequence", "epoch_grace": 0}
    notify = {"notify_dev": f"unix:{sockets / 'notify'},server"}
    return text + table("element.compare", {"type": "comparator"} | settings | notify)


def table(name: str, values: Mapping[str, Any]) -> str:
    """A table of a TOML file; JSON's strings, numbers and booleans are TOML's."""
    return f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
