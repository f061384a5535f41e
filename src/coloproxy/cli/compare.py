"""`coloproxy compare`: the process that takes the place of QEMU's colo-compare."""

import gc
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from coloproxy import COMPILED, trace
from coloproxy.cli.settings import Settings, settings
from coloproxy.compare.comparator import Comparator
from coloproxy.compare.events import Event
from coloproxy.compare.rules import load_rules
from coloproxy.link.clock import Clock
from coloproxy.link.evidence import EvidenceFolder, Witness
from coloproxy.link.log import EventLog
from coloproxy.link.proxy import Proxy
from coloproxy.link.signals import Signals
from coloproxy.watch.host import of_proxy
from coloproxy.watch.launch import Service, equipped, listen, url

SOCKETS = "Sockets (unix:PATH or tcp:HOST:PORT; connecting, or listening with ,server behind it)"
METHOD = "Comparison"
REPORTS = "Reports"
PAGE = "Metrics and page"
TUNING = "Fine tuning (times in milliseconds)"

UNCOMPILED = (
    "coloproxy runs uncompiled, many times slower than it could: install a C compiler and then coloproxy again"
    " (`coloproxy doctor` says more)"
)

Text = str | None
Number = int | None


def events_schema() -> bytes:
    """The events' JSON Schema, from the types."""
    schema = msgspec.json.schema(Event)
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def print_schema(wanted: bool) -> None:
    if wanted:
        sys.stdout.buffer.write(events_schema())
        raise typer.Exit


def option(*names: str, text: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


def compare(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with any of these options as keys; options given here win.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option("--events-schema", help="Print the events' JSON Schema.", callback=print_schema, is_eager=True),
    ] = False,
    primary_in: Annotated[Text, option(text="Where the primary's frames come from.", panel=SOCKETS)] = None,
    secondary_in: Annotated[Text, option(text="Where the secondary's come from.", panel=SOCKETS)] = None,
    outdev: Annotated[Text, option(text="Where verified frames go.", panel=SOCKETS)] = None,
    notify_dev: Annotated[Text, option(text="Where checkpoints are asked for.", panel=SOCKETS)] = None,
    vnet_hdr: Annotated[
        bool | None,
        option("--vnet-hdr/--no-vnet-hdr", text="The framing has a word for virtio-net headers.", panel=SOCKETS),
    ] = None,
    tcp_match: Annotated[
        Text, option(text="sequence (default): streams, place by place; packet: whole packets.", panel=METHOD)
    ] = None,
    isn: Annotated[
        Text, option(text="shared (default): both number their bytes alike; relative: each for itself.", panel=METHOD)
    ] = None,
    ack_rule: Annotated[
        Text,
        option(text="clamp (default) lowers acknowledgements to what both have; hold keeps them back.", panel=METHOD),
    ] = None,
    rules: Annotated[Text, option(text="A rules file: what is compared, passed, refused.", panel=METHOD)] = None,
    malformed: Annotated[Text, option(text="Malformed frames: pass (default) or refuse.", panel=METHOD)] = None,
    on_divergence: Annotated[
        Text,
        option(
            text="Without notify-dev: hold (default) what differs; release it and go on; alarm: pass it from then on.",
            panel=METHOD,
        ),
    ] = None,
    prefix_release: Annotated[
        bool | None,
        option("--prefix-release/--no-prefix-release", text="Let large frames leave in parts (default).", panel=METHOD),
    ] = None,
    events: Annotated[
        Text, option(text="A file for events as JSON lines, - for standard output.", panel=REPORTS)
    ] = None,
    evidence: Annotated[Text, option(text="A folder for captures of what differed.", panel=REPORTS)] = None,
    trace: Annotated[
        list[str] | None, option(text="Trace events to switch on, as with QEMU; see `trace list`.", panel=REPORTS)
    ] = None,
    trace_file: Annotated[Text, option(text="A file for them; otherwise standard error.", panel=REPORTS)] = None,
    http: Annotated[
        Text, option(text="Serve metrics and a live page at HOST:PORT, or at PORT of this machine only.", panel=PAGE)
    ] = None,
    http_host: Annotated[
        list[str] | None, option(text="A name by which the page may be called; can be repeated.", panel=PAGE)
    ] = None,
    control: Annotated[
        Text, option(text="Let the page add rules, with the token in this file, made if it is not there.", panel=PAGE)
    ] = None,
    compare_timeout: Annotated[
        Number, option(text="Age at which a held frame is a divergence (3000).", panel=TUNING)
    ] = None,
    expired_scan_cycle: Annotated[Number, option(text="How often ages are looked at (1000).", panel=TUNING)] = None,
    max_queue_size: Annotated[
        Number, option(text="Frames held of one connection and side (1024).", panel=TUNING)
    ] = None,
    max_held_bytes: Annotated[Number, option(text="Bytes held of one side (64 MiB).", panel=TUNING)] = None,
    max_connections: Annotated[Number, option(text="Connections known at a time (131072).", panel=TUNING)] = None,
    reorder_grace: Annotated[
        Number, option(text="How long a datagram may lack its partner while others wait (10).", panel=TUNING)
    ] = None,
    retry_after: Annotated[
        Number, option(text="When a checkpoint that did not come is asked for again (5000).", panel=TUNING)
    ] = None,
    min_interval: Annotated[Number, option(text="Least time between two requests (0).", panel=TUNING)] = None,
    epoch_grace: Annotated[
        Number, option(text="How long after a checkpoint old frames may still come (20).", panel=TUNING)
    ] = None,
    max_fragment_bytes: Annotated[
        Number, option(text="Bytes of IP fragments kept of one side (4 MiB).", panel=TUNING)
    ] = None,
    fragment_timeout: Annotated[
        Number, option(text="How long fragments wait for the rest (30000).", panel=TUNING)
    ] = None,
) -> None:
    """Compare two replicas' frames; release what both say. A drop-in for QEMU's colo-compare on the same sockets.

    SIGTERM ends it: what is held stays unreleased. SIGUSR1 writes its state to the events.
    """
    given = {name: None if value == [] else value for name, value in context.params.items()}
    run(settings({name: given[name] for name in Settings.__struct_fields__}, config))


def run(chosen: Settings) -> None:
    """Be the proxy until a signal ends it. Raises ColoproxyError for what cannot be as the settings say."""
    addresses = chosen.addresses()
    rules = load_rules(Path(chosen.rules)) if chosen.rules else None
    service = serving(chosen.http, chosen.control, chosen.http_host)
    clock = Clock()
    log = EventLog(chosen.events)
    witnesses: list[Witness] = []
    if chosen.evidence:
        witnesses.append(EvidenceFolder(chosen.evidence, clock))
    if chosen.trace or chosen.trace_file:
        trace.apply_options(chosen.trace, file=chosen.trace_file)
    comparator = Comparator(chosen.config(), clock.now(), evidence=bool(witnesses))
    if chosen.events:
        comparator.measure_waits()
    if rules is not None:
        comparator.set_rules(rules)
    proxy = Proxy(addresses, comparator, clock, log, vnet_hdr=chosen.vnet_hdr, evidence=witnesses)
    if not COMPILED:
        print(f"coloproxy: {UNCOMPILED}", file=sys.stderr)
        proxy.warn(UNCOMPILED)
    calls = {signal.SIGTERM: proxy.stop, signal.SIGINT: proxy.stop, signal.SIGUSR1: proxy.report_state}
    try:
        with Signals(proxy.loop, calls):
            if service is not None:
                service.show(of_proxy(proxy, log), log)
            gc.freeze()  # what is here stays, and need not be searched for garbage again and again
            proxy.run()
    finally:
        if service is not None:
            service.close()
        proxy.loop.close()
        log.close()
        trace.close()


def serving(http: str | None, control: str | None, names: list[str]) -> Service | None:
    """The service of metrics and the page, listening; told where on standard error. Raises ColoproxyError."""
    if http is None:
        return None
    service = Service(http, control, names)
    say_where(service, control)
    return service


def say_where(service: Service, control: str | None = None) -> None:
    """Say on standard error where the page is."""
    told = f"; the token for control is in {control}" if control else ""
    print(f"coloproxy: the page is at {service.url}{told}", file=sys.stderr, flush=True)
    if service.public:
        print("coloproxy: whoever can reach this address sees what the replicas send", file=sys.stderr, flush=True)


def page_at(http: str | None) -> socket.socket | None:
    """Where a proxy to come serves its page, told on standard error. Raises ColoproxyError."""
    if http is None:
        return None
    equipped()
    sock = listen(http)
    print(f"coloproxy: the page is at {url(sock)} while a proxy is at work", file=sys.stderr, flush=True)
    return sock
