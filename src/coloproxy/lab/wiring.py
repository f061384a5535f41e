"""The topology file of a run, for `coloproxy run`.

    forward    client -> primary, primary -> client
    compare    client -> strip -> mirror -> primary
                                  mirror.copy -> rewriter.client -> secondary
               primary -> rewriter.primary -> compare.primary
               secondary -> rewriter.secondary -> compare.secondary
               compare -> client
               rewriter.answers -> primary           (around what it lost)
               compare.replicas -> mirror            (to reset connections at both)

What is to go wrong stands next to the ports: `skew` and `alter` at the replica, then the bad legs, then captures.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from coloproxy.lab.plan import LEGS, Impairment, Leg, Plan, Ports, Replica

Table = dict[str, Any]


class Wiring:
    """Collects the wires and elements of a plan's topology."""

    def __init__(self, plan: Plan, captures: Path | None) -> None:
        """captures: a folder for what passes each leg."""
        self.plan = plan
        self.wires: list[str] = []
        self.elements: dict[str, Table] = {}
        self._captures = captures
        if plan.path == "forward":
            self._wire(*self._leg("from-client"), *self._leg("to-primary"))
            self._wire(*self._leg("from-primary"), *self._leg("to-client"))
        else:
            self._compare()

    def _compare(self) -> None:
        strip = self.plan.timestamps == "strip"
        if strip:
            self.elements["strip"] = {"type": "strip"}
        self.elements["mirror"] = {"type": "mirror"}
        self.elements["rewriter"] = {"type": "rewriter", "timestamps": self.plan.timestamps}
        self.elements["compare"] = {"type": "comparator"} | self.plan.compare
        to_primary = self._leg("to-primary")
        self._wire(*self._leg("from-client"), *(["strip"] if strip else []), "mirror", *to_primary)
        self._wire("rewriter.answers", to_primary[0])
        self._wire("mirror.copy", "rewriter.client", *self._leg("to-secondary"))
        self._wire(*self._leg("from-primary"), "rewriter.primary", "compare.primary")
        self._wire(*self._leg("from-secondary"), "rewriter.secondary", "compare.secondary")
        self._wire("compare", *self._leg("to-client"))
        if self.plan.compare.get("on_divergence") == "cut":
            self._wire("compare.replicas", "mirror")

    def _wire(self, *stations: str) -> None:
        self.wires.append(" -> ".join(stations))

    def _leg(self, leg: Leg) -> list[str]:
        """The port and what stands before it, in the order in which frames pass."""
        direction, _, name = leg.partition("-")
        way = [name, *self._replica(direction, name)]
        impairment = self.plan.legs.get(leg)
        if impairment is not None:
            way.append(self._element(f"impair-{leg}", impair(impairment, self.plan.seed, leg)))
        if self._captures is not None:
            way.append(self._element(f"dump-{leg}", {"type": "dump", "file": str(self._captures / f"{leg}.pcapng")}))
        return way if direction == "from" else way[::-1]

    def _replica(self, direction: str, name: str) -> list[str]:
        """The skew and the faults of a replica, the skew next to it."""
        found = []
        if name == "secondary" and self.plan.skew:
            chance = random.Random(self.plan.seed)
            numbers = {"isn": chance.getrandbits(32), "timestamp": chance.getrandbits(32)}
            self._element("skew", {"type": "renumber"} | numbers)
            found.append("skew.replica" if direction == "from" else "skew.client")
        for number, fault in enumerate(self.plan.faults, 1) if direction == "from" else ():
            if fault.replica == name:
                port = {} if fault.port is None else {"port": fault.port}
                found.append(self._element(f"alter-{number}", {"type": "alter", "offset": fault.offset} | port))
        return found

    def _element(self, name: str, table: Table) -> str:
        self.elements[name] = table
        return name


def impair(impairment: Impairment, seed: int, leg: Leg) -> Table:
    """The element of a bad leg; every leg has its own chance."""
    usual = msgspec.structs.asdict(Impairment())
    values = {key: value for key, value in msgspec.structs.asdict(impairment).items() if value != usual[key]}
    return {"type": "impair", "seed": seed * len(LEGS) + LEGS.index(leg)} | values


def topology(
    plan: Plan, ports: Ports, places: Mapping[str, str], folder: Path, control: Path, captures: Path | None
) -> str:
    """The file. places: the namespace of each host; folder: for the events; control: the socket for commands."""
    made = Wiring(plan, captures)
    names: list[str | Replica] = ["client", *plan.replicas]
    tables: dict[str, Table] = {}
    for name in names:
        device = {"tap": "e0", "netns": places[name]} if ports == "tap" else {"packet": name, "netns": places["proxy"]}
        tables[f"port.{name}"] = device
    tables |= {f"element.{name}": table for name, table in made.elements.items()}
    top = {"name": f"lab: {plan.path}", "events": str(folder / "events.jsonl"), "control": f"unix:{control}"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
    lines += ["wires = [", *(f"  {json.dumps(wire)}," for wire in made.wires), "]"]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
