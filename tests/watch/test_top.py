"""`coloproxy top` shows in a terminal what the page shows, over its API."""

import asyncio
import signal
from collections.abc import Callable

from textual.widgets import DataTable, Static

from coloproxy.cli.terminal import Terminal
from coloproxy.watch.client import Client
from support import frames
from support.process import run
from watch.conftest import Page


async def until(pilot: object, condition: Callable[[], bool]) -> None:
    """Wait for something to be shown."""
    for _ in range(600):
        if condition():
            return
        await pilot.pause(0.05)  # type: ignore[attr-defined]
    raise AssertionError("waited in vain")


def test_it_shows_what_passes_what_waits_and_what_differs(page: Callable[..., Page]) -> None:
    running = page("--compare-timeout", "60000", notify=True)
    p, s, o = running.peers()
    for side, theirs in ((p, b"this"), (s, b"that")):
        side.send(frames.tcp(b"equal", seq=1, ack=1, dport=40001), frames.tcp(theirs, seq=1, ack=1))
    p.send(frames.tcp(b"waits", seq=6, ack=1, dport=40001))
    o.frames(1)
    app = Terminal(Client(str(running.port)))

    def text(name: str) -> str:
        return str(app.query_one(name, Static).content)

    async def look() -> None:
        async with app.run_test(size=(110, 36)) as pilot:
            table, found = app.query_one("#list", DataTable), app.query_one("#found", DataTable)
            await until(pilot, lambda: "Checkpoint needed" in text("#state") and found.row_count == 1)
            assert "divergences   1: tcp_payload 1" in text("#figures")
            await pilot.press("2")
            await until(pilot, lambda: table.row_count == 2)
            shown = {str(table.get_row_at(at)[0]): [str(cell) for cell in table.get_row_at(at)[1:]] for at in (0, 1)}
            assert shown["tcp 10.0.0.2:80 > 10.0.0.9:40000"][0] == "differs: tcp_payload"
            state, _, verified = shown["tcp 10.0.0.2:80 > 10.0.0.9:40001"][:3]
            assert (state, verified) == ("waits", "5 B")
            await pilot.press("slash", *"differs")
            await until(pilot, lambda: table.row_count == 1)
            await pilot.press("enter", "3", "enter")
            await until(pilot, lambda: "Usual causes" in text("#one"))
            assert "74 68 69 73" in text("#one")
            assert "74 68 61 74" in text("#one")
            await pilot.press("1")
            running.stop()
            await until(pilot, lambda: "Connection lost" in text("#state"))
            assert "What is shown is from" in text("#state")
            assert "divergences   1: tcp_payload 1" in text("#figures")

    asyncio.run(look())
    assert s


def test_of_a_proxy_that_has_just_begun_it_says_that_there_is_nothing(page: Callable[..., Page]) -> None:
    running = page()
    app = Terminal(Client(str(running.port)))

    def text(name: str) -> str:
        return str(app.query_one(name, Static).content)

    async def look() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: "Not protected" in text("#state"))
            await until(pilot, lambda: text("#news") == "Nothing has happened yet.")
            await until(pilot, lambda: "No connection yet" in text("#told"))
            await until(pilot, lambda: "No divergence" in text("#none"))
            assert not app.query_one("#list").display
            assert not app.query_one("#found").display
            running.process.send_signal(signal.SIGSTOP)
            try:
                await until(pilot, lambda: "Connection lost" in text("#state"))
                await pilot.pause(2.5)  # it is asked again meanwhile, and its service still answers
                assert "Connection lost" in text("#state")
            finally:
                running.process.send_signal(signal.SIGCONT)
            await until(pilot, lambda: "Not protected" in text("#state"))

    asyncio.run(look())


def test_without_a_proxy_it_says_so_in_a_sentence() -> None:
    done = run("top", "127.0.0.1:9")
    assert (done.returncode, "no proxy at http://127.0.0.1:9" in done.stderr) == (2, True)
    assert run("top", "ftp://x").returncode == 2
