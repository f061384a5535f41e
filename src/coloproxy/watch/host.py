"""What is watched: a proxy or a topology, seen alike."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import Event
from coloproxy.link.clock import Clock
from coloproxy.link.evidence import Witness
from coloproxy.link.log import EventLog
from coloproxy.link.loop import Loop
from coloproxy.link.proxy import Proxy
from coloproxy.topology.build import Pieces
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.runner import Runner
from coloproxy.watch.messages import Gate, Guest


class Host(NamedTuple):
    """comparators: by name. gates: asked for when a picture is taken. listen: has events told. witness: has evidence
    told. guest: asked for, too, of a guest's agent."""

    name: str
    command: Literal["compare", "run", "guest"]
    loop: Loop
    clock: Clock
    comparators: dict[str, Comparator]
    gates: Callable[[], list[Gate]]
    listen: Callable[[Callable[[Event], None]], None]
    witness: Callable[[Witness], None]
    guest: Callable[[], Guest | None] = lambda: None


def of_proxy(proxy: Proxy, log: EventLog) -> Host:
    """`coloproxy compare`."""

    def gates() -> list[Gate]:
        return [
            Gate(
                name=end.role,
                connected=end.sock is not None,
                peers=end.connections,
                pending=proxy.pending if end.role == "outdev" else 0,
            )
            for end in proxy.endpoints
        ]

    def witness(added: Witness) -> None:
        proxy.comparator.keep_evidence()
        proxy.witnesses.append(added)

    return Host(
        "compare", "compare", proxy.loop, proxy.clock, {"compare": proxy.comparator}, gates, log.listen, witness
    )


def of_runner(runner: Runner, name: str, log: EventLog) -> Host:
    """`coloproxy run`."""
    return of_pieces(runner.pieces, name, "run", runner.loop, runner.clock, log)


def of_pieces(
    pieces: Pieces, name: str, command: Literal["run", "guest"], loop: Loop, clock: Clock, log: EventLog
) -> Host:
    """Ports and elements."""
    comparing = [each for each in pieces.elements if isinstance(each, Comparing)]

    def gates() -> list[Gate]:
        found = []
        for port in pieces.every_port:
            port.settle()
            found.append(
                Gate(
                    name=port.name,
                    connected=port.connected,
                    pending=port.pending,
                    received=port.received.counts(),
                    sent=port.sent.counts(),
                    dropped=port.dropped.counts(),
                )
            )
        return found

    def witness(added: Witness) -> None:
        for each in comparing:
            each.comparator.keep_evidence()
            each.witnesses.append(added)

    comparators = {each.name: each.comparator for each in comparing}
    return Host(name, command, loop, clock, comparators, gates, log.listen, witness)
