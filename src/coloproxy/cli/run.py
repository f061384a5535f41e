"""`coloproxy run`: any topology of ports and elements, from a TOML file."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from coloproxy import trace
from coloproxy.link.log import EventLog
from coloproxy.link.signals import Signals
from coloproxy.topology import standard
from coloproxy.topology.config import load
from coloproxy.topology.draw import draw
from coloproxy.topology.runner import Runner


def run(
    file: Annotated[Path, typer.Argument(help="A topology file, or the name of a standard one.", show_default=False)],
    check: Annotated[bool, typer.Option("--check", help="Say whether it is right, and draw it.")] = False,
    events: Annotated[
        str | None, typer.Option(help="A file for events as JSON lines, - for standard output.", show_default=False)
    ] = None,
) -> None:
    """Pass frames through ports and elements as a topology file says.

    SIGTERM ends it. SIGUSR1 writes its state to the events.
    """
    topology = load(standard.find(file))
    if check:
        runner = Runner(topology, EventLog(None))
        typer.echo(draw(topology, runner.pieces.wires))
        return
    log = EventLog(events or topology.events)
    if topology.trace or topology.trace_file:
        trace.apply_options(topology.trace, file=topology.trace_file)
    runner = Runner(topology, log)
    calls = {signal.SIGTERM: runner.stop, signal.SIGINT: runner.stop, signal.SIGUSR1: runner.report_state}
    try:
        with Signals(runner.loop, calls):
            runner.run()
    finally:
        runner.loop.close()
        log.close()
        trace.close()
