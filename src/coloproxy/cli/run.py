"""`coloproxy run`: any topology of ports and elements, from a TOML file."""

import gc
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from coloproxy import COMPILED, tables, trace
from coloproxy.cli.compare import UNCOMPILED, serving
from coloproxy.errors import ColoproxyError
from coloproxy.link.log import EventLog
from coloproxy.link.signals import Signals
from coloproxy.topology import config, standard
from coloproxy.topology.draw import draw
from coloproxy.topology.runner import Runner
from coloproxy.watch.host import of_runner
from coloproxy.watch.launch import Service


def run(
    file: Annotated[
        Path,
        typer.Argument(
            help=f"A topology file, or the name of a standard one: {', '.join(standard.names())}.", show_default=False
        ),
    ],
    check: Annotated[bool, typer.Option("--check", help="Say whether it is right, draw it, and end.")] = False,
    text: Annotated[bool, typer.Option("--print", help="Print the file, as a start for one's own, and end.")] = False,
    events: Annotated[
        str | None, typer.Option(help="A file for events as JSON lines, - for standard output.", show_default=False)
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(help="Serve metrics and a live page at HOST:PORT, or at PORT of this machine only."),
    ] = None,
    http_host: Annotated[list[str] | None, typer.Option(help="A name by which the page may be called.")] = None,
    control: Annotated[
        str | None, typer.Option(help="Let the page add rules, with the token in this file, made if it is not there.")
    ] = None,
) -> None:
    """Pass frames through ports and elements as a topology file says.

    SIGTERM ends it; where all frames come from captures, it ends with them. SIGUSR1 writes its state to the events.
    """
    path = standard.find(file)
    if text:
        sys.stdout.write(tables.read(path, config.CALLED))
    elif check:
        topology = config.load(path)
        sys.stdout.write(draw(topology, Runner(topology, EventLog(None)).pieces))
    else:
        if http is None and (control is not None or http_host):
            raise ColoproxyError("--control and --http-host are for the page: give --http too, or drop them.")
        work(config.load(path), events, serving(http, control, http_host or []))


def work(topology: config.Topology, events: str | None, service: Service | None = None) -> None:
    """Be the proxy until a signal ends it, or the captures have. Raises ColoproxyError for what cannot be."""
    log = EventLog(events or topology.events)
    if topology.trace or topology.trace_file:
        trace.apply_options(topology.trace, file=topology.trace_file)
    runner = Runner(topology, log)
    if not COMPILED:
        print(f"coloproxy: {UNCOMPILED}", file=sys.stderr)
        runner.warn(UNCOMPILED)
    calls = {signal.SIGTERM: runner.stop, signal.SIGINT: runner.stop, signal.SIGUSR1: runner.report_state}
    try:
        with Signals(runner.loop, calls):
            if service is not None:
                service.show(of_runner(runner, topology.name, log), log)
            gc.freeze()  # what is here stays, and need not be searched for garbage again and again
            runner.run()
    finally:
        if service is not None:
            service.close()
        runner.loop.close()
        log.close()
        trace.close()
