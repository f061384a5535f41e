"""`coloproxy top`: the live page, in a terminal."""

import importlib.util
from typing import Annotated

import typer

from coloproxy.errors import ColoproxyError
from coloproxy.watch.client import Client, Lost


def top(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where a proxy serves its page: HOST:PORT, or a port.")
    ] = "8765",
) -> None:
    """Watch a proxy that was started with --http, in this terminal: what passes, what waits, what differs."""
    if importlib.util.find_spec("textual") is None:
        raise ColoproxyError("coloproxy top needs textual: pip install 'coloproxy[top]'.")
    client = Client(address)
    try:
        client.ask("api/now")
    except Lost as lost:
        raise ColoproxyError(f"no proxy at {client.url}: {lost}; start one with --http, or name its address.") from None
    from coloproxy.cli.terminal import Terminal

    Terminal(client).run()
