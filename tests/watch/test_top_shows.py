"""What `coloproxy top` makes of what it is told."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from textual.widgets import Input

from coloproxy.cli.terminal import Terminal
from coloproxy.compare.events import Accounting
from coloproxy.watch.client import Client, Lost
from coloproxy.watch.messages import Pane

HELD = {"bytes": 0, "frames": 0, "oldest_age": 0.0}
NAMES = ("tcp [fe80::2]:80 > [fd00::9]:40000", "udp [2001:db8::2]:53 > [2001:db8::9]:40001")


class Nobody(Client):
    """A proxy that does not answer."""

    def __init__(self) -> None:
        super().__init__("1")

    def ask(self, path: str) -> Any:
        raise Lost("it is not asked here")

    def live(self, *, connections: bool) -> Iterator[tuple[str, Any]]:
        raise Lost("it is not asked here")


def row(name: str) -> dict[str, Any]:
    return {
        "key": f"compare {name}", "held_primary": HELD, "held_secondary": HELD, "diverged": "", "unprotected": False,
        "verified_bytes": 5,
    }  # fmt: skip


def picture(guest: dict[str, Any] | None = None, **divergences: int) -> dict[str, Any]:
    pane = Pane(
        epoch=0, checkpoint_pending=False, survivor=None, connections=0, waiting=0, diverged=0, unprotected=0,
        primary_age=0.0, secondary_age=0.0, accounting=Accounting(divergences=divergences),
    )  # fmt: skip
    panes = {"compare": msgspec.to_builtins(pane)}
    return {
        "picture": {"wall": 1.0, "panes": panes, "guest": guest}, "point": None, "alive": True,
        "protection": {"state": "protected", "since": 1.0, "why": "All is well.", "title": ""},
    }  # fmt: skip


def shown(view: str, *told: tuple[str, Any], filtered: str = "") -> str:
    """What stands on the screen."""
    app = Terminal(Nobody())

    async def look() -> str:
        async with app.run_test(size=(120, 36)) as pilot:
            app.action_show(view)
            app.query_one("#filter", Input).value = filtered
            await pilot.pause()
            for name, data in told:
                app.hear(name, data)
            await pilot.pause()
            return "\n".join(line.text for line in app.screen._compositor.render_strips())

    return asyncio.run(look())


def test_addresses_in_brackets_are_no_markup() -> None:
    screen = shown("connections", ("connections", {"listed": [row(name) for name in NAMES], "total": 2}))
    for name in NAMES:
        assert name in screen
    found = [
        {"number": at, "wall": 0.0, "reason": "tcp_payload", "connection": name, "offset": 1}
        for at, name in enumerate(NAMES)
    ]
    screen = shown("divergences", *(("divergence", each) for each in found), ("picture", picture()))
    for name in NAMES:
        assert name in screen


def test_a_filter_in_brackets_is_shown_as_it_is() -> None:
    told = ("connections", {"listed": [row(name) for name in NAMES], "total": 2})
    assert "0 shown, sorted by waits for; filter: [/]" in shown("connections", told, filtered="[/]")
    assert NAMES[0] in shown("connections", told, filtered="[fe80::2]")


def test_what_happened_is_shown_as_it_is() -> None:
    mark = {"event": "warning", "wall": 0.0, "text": "device '[/b]' is gone"}
    assert mark["text"] in shown("overview", ("mark", mark), ("picture", picture()))


def test_of_a_divergence_that_is_only_counted_it_is_not_said_that_there_was_none() -> None:
    """As after the process that serves the page was started again."""
    assert "both said the same" in shown("divergences", ("picture", picture()))
    screen = shown("divergences", ("picture", picture(tcp_payload=1)))
    assert "both said the same" not in screen
    assert "Only their number is known" in screen


def test_a_guests_secondary_says_that_it_compares_nothing() -> None:
    told = ("picture", picture({"role": "secondary", "checkpoints": 0}))
    assert "the primary compares" in shown("divergences", told)
    assert "the primary compares" in shown("connections", told, ("connections", {"listed": [], "total": 0}))


def test_a_divergence_that_takes_the_place_of_another_is_shown() -> None:
    """As after the proxy was started again."""
    first, second = (
        {"number": 1, "wall": 0.0, "reason": "tcp_payload", "connection": name, "offset": 1} for name in NAMES
    )
    told = (("divergence", first), ("picture", picture()), ("divergence", second), ("picture", picture()))
    screen = shown("divergences", *told)
    assert NAMES[1] in screen
    assert NAMES[0] not in screen
