"""What the page shows while there is nothing to show: of a proxy that has just begun, has not answered yet, is gone, or
is silent."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from coloproxy.watch.messages import Guest, Hello, Picture
from support.wire import PATIENCE
from watch.browsing import SIZES, fits_and_reads
from watch.conftest import Page, pages
from watch.replicas import play

pytestmark = pytest.mark.browser
VIEWS = ("overview", "connections", "divergences")


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A proxy to which nobody has come."""
    with pages(tmp_path_factory.mktemp("idle")) as start:
        yield start()


def go(tab: Tab, view: str) -> None:
    tab.evaluate("to => { location.hash = to; }", f"#/{view}")
    expect(tab.locator("main")).to_have_attribute("data-view", view.partition("/")[0])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_proxy_that_has_just_begun_says_what_it_waits_for(
    idle: Page, opened: Callable[..., Tab], size: str, dark: bool
) -> None:
    tab = opened(idle, size, dark)
    expect(tab.locator("h1")).to_have_text("Not protected")
    expect(tab.locator(".reasons")).to_contain_text("None so far")
    expect(tab.locator(".news")).to_contain_text("Nothing yet.")
    expect(tab.locator(".plot-note").nth(1)).to_have_text("Nothing compared has left of late.")
    fits_and_reads(tab, "overview")
    for view, said in (("connections", "No connection yet"), ("divergences", "No divergence.")):
        go(tab, view)
        expect(tab.locator(".list .empty")).to_contain_text(said)
        fits_and_reads(tab, view)
    go(tab, "divergences/77")
    expect(tab.locator(".detail")).to_contain_text("It cannot be shown: this divergence is not known, or no longer.")
    go(tab, "connections/compare%20tcp%20nowhere")
    expect(tab.locator(".stream .why")).to_contain_text("This connection is no longer known")
    expect(tab.locator(".bars-key")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_without_an_answer_it_says_that_it_waits_and_then_that_nobody_is_there(
    idle: Page, opened: Callable[..., Tab], size: str, dark: bool
) -> None:
    tab = opened(idle, size, dark, silent=True)
    expect(tab.locator("h1")).to_have_text("Connecting")
    expect(tab.locator(".hero .since")).to_have_text(f"asking 127.0.0.1:{idle.port}")
    expect(tab.locator(".plot-note")).to_have_text(["Loading …"] * 3)
    fits_and_reads(tab, "loading")
    expect(tab.locator("#banner")).to_contain_text("The proxy has not answered since this page was opened")
    expect(tab.locator("h1")).to_have_text("Connection lost")
    for view in VIEWS[1:]:
        go(tab, view)
        expect(tab.locator(".list .empty")).to_contain_text("The proxy does not answer.")
        fits_and_reads(tab, view)
    tab.unroute("**/api/**")
    go(tab, "overview")
    expect(tab.locator("h1")).to_have_text("Not protected")
    expect(tab.locator("#banner")).to_be_hidden()
    expect(tab.locator(".plot canvas")).to_have_count(3)


def test_a_proxy_that_is_gone_leaves_what_was_seen_of_it(
    page: Callable[..., Page], opened: Callable[..., Tab], tmp_path: Path
) -> None:
    running = play(page, tmp_path).page
    tab = opened(running)
    expect(tab.locator(".plot canvas")).to_have_count(3)
    go(tab, "connections")
    expect(tab.locator("tbody tr")).to_have_count(7)
    running.process.kill()
    expect(tab.locator("#banner")).to_contain_text("No connection to the proxy since")
    expect(tab.locator("#chip")).to_have_text("Connection lost")
    expect(tab.locator("tbody tr")).to_have_count(7)
    fits_and_reads(tab, "connections")
    go(tab, "connections/compare%20tcp%2010.0.0.2%3A22%20%3E%2010.0.0.9%3A43000")
    expect(tab.locator(".stream .why")).to_contain_text("The proxy does not answer")
    go(tab, "divergences/1")
    expect(tab.locator(".detail")).to_contain_text("It cannot be shown: the proxy does not answer.")
    go(tab, "overview")
    expect(tab.locator(".hero .since")).to_contain_text("last seen")
    expect(tab.locator(".plot canvas")).to_have_count(3)
    expect(tab.locator(".news li").first).to_contain_text("Checkpoint asked for")
    fits_and_reads(tab, "overview")


def test_a_proxy_that_is_silent_is_not_taken_for_protected(idle: Page, opened: Callable[..., Tab]) -> None:
    tab = opened(idle)
    expect(tab.locator("#chip")).to_have_text("Not protected")
    idle.process.send_signal(signal.SIGSTOP)
    try:
        expect(tab.locator("#chip")).to_have_text("Connection lost")
        assert idle.get("/healthz").status == 503
        late = opened(idle)  # its service still answers, with what it heard last
        expect(late.locator("#banner")).to_contain_text("No connection to the proxy since")
        expect(late.locator(".tile .value").last).to_have_text("0")
    finally:
        idle.process.send_signal(signal.SIGCONT)
    expect(late.locator("#chip")).to_have_text("Not protected")
    expect(tab.locator("#chip")).to_have_text("Not protected")


@pytest.fixture
def standby() -> Iterator[str]:
    """The page of a guest's secondary: its service, told what an agent tells."""
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    ends = [str(each.fileno()) for each in (theirs, listener)]
    service = subprocess.Popen(
        [sys.executable, "-m", "coloproxy.watch.service", *ends], pass_fds=[int(each) for each in ends]
    )
    theirs.close()
    guest = Guest(
        host="b", other="a", state="standby", role="secondary", peer="protected", generation=1, checkpoints=0,
        looks="protected", title="Protected", why="The guest runs on a; its copy here is in step.",
    )  # fmt: skip
    hello = Hello(name="web on b", command="guest", version="1", pid=1, started=0.0, compiled=True, timeout=3.0)
    picture = Picture(
        wall=time.time(), panes={}, gates=[], lags=[0] * 19, lagged=0.0, cpu=1.0, memory=1, lost={}, guest=guest
    )
    ours.sendall(b"".join(msgspec.json.encode(each) + b"\n" for each in (hello, picture)))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    ours.close()
    service.wait(PATIENCE)
    listener.close()


def test_a_guests_secondary_says_where_the_comparing_is_done(standby: str, browser: Browser) -> None:
    with browser.new_page() as tab:
        tab.goto(standby)
        for view in VIEWS:
            go(tab, view)
            expect(tab.locator("main")).to_contain_text("The primary compares: this is on the page of host a.")
