"""`coloproxy guest`: a QEMU guest that survives its host."""

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from coloproxy.checkpoint.driver import Driver
from coloproxy.cli.compare import say_where
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import parse_address
from coloproxy.link.log import EventLog
from coloproxy.link.signals import Signals

if TYPE_CHECKING:
    from coloproxy.guest.config import File as GuestFile

RUNNING = {"alone", "copying", "protected", "checkpointing"}  # of which an agent may have several in no time
START = 10.0  # seconds for an agent, and for QEMU, to start
SLOW = 60.0
UNDER_WAY = "copying", "pairing"

app = typer.Typer(help="A QEMU guest with a second copy in step: protect it, fail over.", no_args_is_help=True)
FileName = Annotated[Path, typer.Argument(help="The guest's file.", show_default=False, metavar="FILE")]
console = Console(highlight=False)


@contextlib.contextmanager
def extra() -> Iterator[None]:
    """Say what is missing if it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ColoproxyError(f"the package {error.name} is missing: pip install 'coloproxy[guest]'.") from None


def load(path: Path) -> "GuestFile":
    from coloproxy.guest import config

    return config.load(path)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to make it.", show_default=False)],
    disk: Annotated[int, typer.Option(help="Mebibytes of a disk that it writes to.", min=0)] = 0,
) -> None:
    """Make a small guest and its file, to try it all out on this machine."""
    with extra():
        from coloproxy.guest import sample as samples
    print(samples.make(folder, disk=disk))


@app.command()
def keys(file: FileName) -> None:
    """Make keys for the connections between the hosts, where the file says. Each host needs its own, and both
    certificates."""
    guest = load(file)
    if guest.keys is None:
        raise ColoproxyError(f"guest file {file}: keys names no folder.")
    with extra():
        from coloproxy.guest import tls
    for path in tls.make_keys(Path(guest.keys), list(guest.host)):
        print(path)


@app.command()
def agent(
    file: FileName,
    host: Annotated[str, typer.Option(help="Which of the file's hosts this is.", show_default=False)],
    events: Annotated[
        str | None, typer.Option(help="A file for events; - for standard output. Default: in the file's folder.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            help="Serve metrics and a live page at HOST:PORT, or at PORT of this machine only; else as the file says.",
            show_default=False,
        ),
    ] = None,
    http_host: Annotated[
        list[str] | None, typer.Option(help="A name by which the page may be called.", show_default=False)
    ] = None,
) -> None:
    """Be a host's agent: keep its QEMU, its part of the guest's network, and the connection to the other agent.

    SIGTERM ends the agent, not the guest, which is found again by the next one.
    """
    guest = load(file)
    with extra():
        from coloproxy.guest.agent import Agent
        from coloproxy.guest.shown import Shown
    place = guest.place(host) if host in guest.host else None
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    address = http or (guest.host[host].http if host in guest.host else None)
    log = EventLog(events or (str(place / "events.jsonl") if place is not None else None))
    try:
        made = Agent(guest, host, log)
        with contextlib.ExitStack() as stack:
            if address is not None:
                stack.enter_context(contextlib.closing(Shown(made, log, address, http_host or [], say_where)))
            stack.enter_context(Signals(made.loop, {signal.SIGTERM: made.stop, signal.SIGINT: made.stop}))
            made.run()
    finally:
        log.close()


@app.command()
def up(
    file: FileName,
    host: Annotated[
        str | None, typer.Option(help="Where to start it. Default: the first host whose agent answers here.")
    ] = None,
) -> None:
    """Start the guest, and protect it.

    Where both hosts are this machine, their networks and agents are made first; otherwise an agent must run on each.
    """
    guest = load(file)
    with extra():
        from coloproxy.guest import client, here
    if guest.here is not None and not client.statuses(guest):
        here.make(guest)
        for each in guest.host:
            here.start(guest, file.resolve(), each)
        waiting(lambda: len(client.statuses(guest)) == 2, START, "the agents do not answer", guest)
    found = client.statuses(guest)
    if not found:
        raise ColoproxyError("no agent answers here; start one: coloproxy guest agent FILE --host NAME.")
    if host is not None and host not in found:
        raise ColoproxyError(f"no agent of a host '{host}' answers here; there are {' and '.join(found)}.")
    host = next((name for name, status in found.items() if status["role"] == "primary"), host or next(iter(found)))
    if found[host]["role"] != "primary":
        client.ask(guest, host, "up")
        client.until(guest, host, RUNNING, START, not_in=frozenset({"failed", "waiting"}))
        console.print(f"{host}: the guest runs")
    _protect(guest, host)


@app.command()
def protect(file: FileName) -> None:
    """Make a new secondary on the other host."""
    guest = load(file)
    with extra():
        from coloproxy.guest import client
    _protect(guest, client.having(guest, "primary"))


def _protect(guest: "GuestFile", host: str) -> None:
    from coloproxy.guest import client

    if client.ask(guest, host, "status")["state"] in ("protected", "checkpointing"):
        console.print(f"{host}: the guest is protected")
        return
    begin = time.monotonic()
    other = guest.other(host)
    waiting(lambda: client.ask(guest, host, "status")["peer"] in ("waiting", "failed"), START,
            f"the agent of {other} does not come", guest)  # fmt: skip
    if client.ask(guest, host, "status")["state"] == "alone":
        client.ask(guest, host, "protect")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        before, end = None, begin + SLOW
        while (status := client.ask(guest, host, "status"))["state"] in UNDER_WAY and time.monotonic() < end:
            if (copy := status["copy"]) and copy != before:
                before, end = copy, time.monotonic() + SLOW
                what, come = f"{host} -> {other}: {copy['what']}", copy["total"] - copy["remaining"]
                progress.update(task, description=what, total=copy["total"], completed=come)
            time.sleep(0.05)
    if status["state"] not in ("protected", "checkpointing"):
        why = status["detail"] or f"see {guest.place(host) / 'events.jsonl'}."
        raise ColoproxyError(f"{host} is {status['state']}, not protected: {why}")
    console.print(f"{host}: the guest is protected by {other}, after {time.monotonic() - begin:.2f} s")


@app.command()
def status(file: FileName) -> None:
    """Say how things stand on the hosts whose agents answer here."""
    guest = load(file)
    with extra():
        from coloproxy.guest import client
    found = client.statuses(guest)
    if not found:
        raise ColoproxyError("no agent answers here.")
    table = Table(box=box.SIMPLE)
    for title in ("host", "state", "other", "lease", "checkpoints", "differences", "QEMU"):
        table.add_column(title)
    for host, each in found.items():
        table.add_row(
            host, each["state"], each["peer"] or "not there", str(each["generation"]), str(each["checkpoints"]),
            str(each["divergences"]), f"{each['qemu']} {each['accelerator']}",
        )  # fmt: skip
    console.print(table)


@app.command()
def checkpoint(file: FileName) -> None:
    """Make the secondary equal now."""
    guest = load(file)
    with extra():
        from coloproxy.guest import client
    host = client.having(guest, "primary")
    before = client.ask(guest, host, "status")["checkpoints"]
    client.ask(guest, host, "checkpoint")
    waiting(lambda: client.ask(guest, host, "status")["checkpoints"] > before, START, "no checkpoint was made", guest)
    made = client.ask(guest, host, "status")["checkpoint"]
    console.print(f"{host}: checkpoint after {1000 * made['took']:.1f} ms, paused {1000 * made['paused']:.1f} ms")


@app.command()
def failover(file: FileName) -> None:
    """Have the secondary go on, without the primary."""
    guest = load(file)
    with extra():
        from coloproxy.guest import client
    found = client.statuses(guest)
    host = next((name for name, each in found.items() if each["role"] == "secondary"), None)
    primary = next((name for name, each in found.items() if each["role"] == "primary"), None)
    if host is None and primary is None:
        raise ColoproxyError("no guest is here.")
    client.ask(guest, primary or host or "", "failover")
    if host is not None:
        lives = {"alone", *UNDER_WAY, "protected"}
        client.until(guest, host, lives, START, not_in=frozenset({"failed", "waiting"}))
        taken = client.ask(guest, host, "status")["takeover"]
        console.print(f"{host}: the guest lives here now")
        for step, seconds in taken["steps"].items():
            console.print(f"  {1000 * seconds:7.1f} ms  {step}")


@app.command()
def down(file: FileName) -> None:
    """End the guest; where both hosts are this machine, their agents and networks too."""
    guest = load(file)
    with extra():
        from coloproxy.guest import client, here
    found = client.statuses(guest)
    for host, each in found.items():
        if each["role"] == "primary":
            client.ask(guest, host, "down")
            client.until(guest, host, {"waiting"}, START)
    if guest.here is not None:
        for host in client.statuses(guest):
            client.ask(guest, host, "down")
            client.ask(guest, host, "stop")
        here.remove(guest)
    elif not found:
        raise ColoproxyError("no agent answers here.")


@app.command()
def drive(
    primary: Annotated[str, typer.Option(help="The primary's monitor (QMP), as unix:PATH or tcp:HOST:PORT.")],
    secondary: Annotated[str, typer.Option(help="The secondary's.")],
    notify: Annotated[str, typer.Option(help="The comparator's notify socket.")],
    min_interval: Annotated[int, typer.Option(help="Milliseconds between two checkpoints, at the least.", min=0)] = 20,
    max_interval: Annotated[
        int | None, typer.Option(help="And at the most; without, only what is asked for.", min=1, show_default=False)
    ] = None,
    timeout: Annotated[int, typer.Option(help="Milliseconds for the whole of one.", min=1)] = 3000,
    events: Annotated[
        str | None, typer.Option(help="A file for events as JSON lines, - for standard output.", show_default=False)
    ] = None,
) -> None:
    """Make the checkpoints that a comparator asks for, of a pair that uses QEMU's own filters.

    Ends with status 2 when the pair is none any more: then it is for others to say who lives.
    """
    with extra():
        from coloproxy.guest.drive import Drive
    ours, theirs, asked = parse_address(primary), parse_address(secondary), parse_address(notify)
    pace = Driver(
        time.monotonic(), min_interval=min_interval / 1000, timeout=timeout / 1000,
        max_interval=max_interval and max_interval / 1000,
    )  # fmt: skip
    log = EventLog(events)
    try:
        made = Drive(ours, theirs, asked, pace, log.write)
        log.attach(made.loop)
        with Signals(made.loop, {signal.SIGTERM: made.stop, signal.SIGINT: made.stop}):
            made.run()
    finally:
        log.close()


@app.command()
def demo(out: Annotated[Path, typer.Option(help="A folder for guest.svg.")] = Path("out")) -> None:
    """Switch a guest's host off while clients talk to it, protect it again, and show what they noticed.

    On this machine, as root. Exits with status 1 if a client saw a wrong byte or a closed connection.
    """
    with extra():
        from coloproxy.guest.showcase import picture, screen
        from coloproxy.guest.showcase.play import play
    begin = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="coloproxy-guest-") as folder, console.status("") as shown:
            story = play(Path(folder), shown.update)
    except OSError as error:
        raise ColoproxyError(f"{error.filename or out}: {error.strerror}; name another folder with --out.") from None
    for line in screen.lines(story):
        console.print(line, highlight=False)
    for name, each in (("echo", story.echo), ("download", story.download)):
        if each.error is not None:
            console.print(f"[red]{name}: {each.error}[/]")
    if story.right:
        console.print(
            f"{len(story.echo.samples)} echoes on one connection, {story.download.count} downloads: every byte right;"
            f" longest time without an echo when the host went {1000 * story.gap:.0f} ms"
        )
    try:
        picture.draw(story, out / "guest.svg")
    except ImportError:
        console.print("no picture: matplotlib is not installed (pip install 'coloproxy[plot]')")
    else:
        console.print(f"In {time.monotonic() - begin:.0f} s. The picture: [bold]{out / 'guest.svg'}[/]")
    if not story.right:
        raise typer.Exit(1)


def waiting(done: Callable[[], bool], seconds: float, why: str, guest: "GuestFile") -> None:
    """Wait for something. Raises ColoproxyError if it does not come."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise ColoproxyError(f"{why}; see what is in {guest.folder}.")
        time.sleep(0.02)
