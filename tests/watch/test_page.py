"""The page in a real browser, on a real proxy whose replicas really differ: every view, by mouse and by keys.

COLOPROXY_SCREENSHOTS names a folder for the pictures of the documentation.
"""

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect, sync_playwright
from playwright.sync_api import Page as Tab

from coloproxy.checkpoint.notify import CHECKPOINT, encode
from support import frames
from support.wire import PATIENCE, Peer
from watch.conftest import Page, pages

pytestmark = pytest.mark.browser
# A lost connection is taken up again after some seconds, and browser, proxy and other tests share the processors.
expect.set_options(timeout=PATIENCE * 1000)

HOSTILE = b"<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script>"
SIZES = {"wide": (1280, 900), "middle": (820, 1100), "phone": (360, 740)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; gone with this module, for its driver keeps an event loop that runs."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("COLOPROXY_CI"):
            pytest.fail("Chromium is not installed (Debian: apt install chromium)")
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        alone = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        made = playwright.chromium.launch(executable_path=program, args=alone)
        yield made
        made.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens a page. A script that fails, or something that the policy forbids, fails the test."""
    problems: list[str] = []
    contexts = []

    def open_page(page: Page, size: str = "wide", dark: bool = False, at: str = "") -> Tab:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        tab = context.new_page()
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        tab.goto(f"{page.url}/{at}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


class Scene:
    """Two replicas and a client on a proxy: `talk` on several connections, and `differ`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.peers = page.peers()
        self.notify: Peer = page.peer("notify_dev")
        self.seqs: dict[int, int] = {}
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        """The client takes all that comes."""
        with contextlib.suppress(OSError):
            while self.peers[2].sock.recv(1 << 16):
                pass

    def say(self, ours: bytes, theirs: bytes | None, dport: int, sport: int = 80) -> None:
        """A segment of each; None: the secondary is silent."""
        seq = self.seqs.setdefault(dport, 1)
        self.peers[0].send(frames.tcp(ours, seq=seq, ack=1, dport=dport, sport=sport))
        if theirs is not None:
            self.peers[1].send(frames.tcp(theirs, seq=seq, ack=1, dport=dport, sport=sport))
        self.seqs[dport] = seq + len(ours)

    def talk(self, seconds: float) -> None:
        """Equal bytes on three connections for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for dport in (40000, 40001, 51234):
                self.say(b"equal" * 240, b"equal" * 240, dport)
            time.sleep(0.02)

    def differ(self, ours: bytes, theirs: bytes, dport: int, sport: int = 8080, checkpoint: bool = True) -> None:
        """A divergence, and the checkpoint that heals it."""
        before = self.page.count("divergence")
        self.say(ours, theirs, dport, sport)
        self.page.wait("divergence", before + 1)
        if checkpoint:
            done = self.page.count("checkpoint_completed")
            self.notify.raw(encode(CHECKPOINT))
            self.page.wait("checkpoint_completed", done + 1)

    def lag(self, dport: int) -> None:
        """The primary is ahead, and some of the secondary's bytes are missing."""
        seq = self.seqs.setdefault(dport, 1)
        p, s, _ = self.peers
        p.send(frames.tcp(b"p" * 1400, seq=seq, ack=1, dport=dport, sport=22))
        s.send(frames.tcp(b"p" * 500, seq=seq, ack=1, dport=dport, sport=22))
        s.send(frames.tcp(b"p" * 400, seq=seq + 800, ack=1, dport=dport, sport=22))


HEAD = b"HTTP/1.1 200 OK\r\nDate: Wed, 26 Nov 2026 10:00:0"


def play(start: Callable[..., Page], folder: Path) -> Scene:
    """Three divergences: a clock and hostile bytes, both healed, and noise, which waits."""
    options = "--epoch-grace", "0", "--compare-timeout", "60000", "--control", str(folder / "token")
    made = Scene(start(*options, notify=True))
    made.talk(1.0)
    made.differ(HEAD + b"1 GMT\r\n\r\n", HEAD + b"2 GMT\r\n\r\n", 41000)
    made.talk(0.6)
    made.differ(HOSTILE + b"A" * 20, HOSTILE + b"B" * 20, 41001)
    made.talk(0.6)
    made.differ(b"\x16\x03\x03" + bytes(range(60)), b"\x16\x03\x03" + bytes(range(30)) + bytes(30), 42000, 443, False)
    made.lag(43000)
    return made


@pytest.fixture
def scene(page: Callable[..., Page], tmp_path: Path) -> Scene:
    """For a test that changes something."""
    return play(page, tmp_path)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For tests that only look."""
    folder = tmp_path_factory.mktemp("still")
    with pages(folder) as start:
        yield play(start, folder)


def row(tab: Tab, text: str) -> Locator:
    return tab.locator("tbody tr", has_text=text)


def test_the_overview_says_what_the_proxy_does(scene: Scene, opened: Callable[..., Tab]) -> None:
    tab = opened(scene.page)
    expect(tab.locator("h1")).to_have_text("Checkpoint needed")
    expect(tab.locator(".hero .why")).to_contain_text("The replicas differ on one connection")
    expect(tab.get_by_role("img", name="Primary connected, secondary connected")).to_be_visible()
    tile = tab.locator(".tile")
    expect(tile.filter(has_text="Divergences").locator(".value")).to_have_text("3")
    expect(tile.filter(has_text="Checkpoints").locator(".value")).to_have_text("2")
    expect(tile.filter(has_text="Connections").locator(".value")).to_have_text("7")
    expect(tab.locator(".reason-bar", has_text="tcp_payload").locator("b")).to_have_text("3")
    expect(tab.locator(".news li").filter(has_text="Checkpoint made after")).to_have_count(2)
    expect(tab.locator(".plot canvas")).to_have_count(3)
    scene.notify.raw(encode(CHECKPOINT))
    expect(tab.locator("h1")).to_have_text("Protected")
    expect(tab.locator("#chip")).to_have_text("Protected")
    scene.peers[1].close()
    expect(tab.locator("h1")).to_have_text("Not protected")
    expect(tab.locator(".hero .why")).to_contain_text("secondary_in")


def test_the_plots_draw_what_was_released(still: Scene, opened: Callable[..., Tab]) -> None:
    tab = opened(still.page)
    expect(tab.locator(".plot canvas")).to_have_count(3)
    coloured = """canvas => {
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] > 200 && Math.abs(data[at]) < 40 && Math.abs(data[at + 1] - 0x72) < 24) count += 1;
        return count;
    }"""
    plot = tab.locator(".plot canvas").first  # it is there before anything is drawn on it
    still.page.until(lambda: plot.evaluate(coloured) > 100)  # the line, in the colour of flow
    tab.get_by_role("button", name="1 min").click()
    expect(tab.get_by_role("button", name="1 min")).to_have_attribute("aria-pressed", "true")


def test_connections_are_sorted_filtered_and_looked_into(scene: Scene, opened: Callable[..., Tab]) -> None:
    tab = opened(scene.page, at="#/connections")
    expect(tab.locator("tbody tr")).to_have_count(7)
    tab.get_by_role("columnheader", name="Verified").get_by_role("button").click()
    expect(tab.get_by_role("columnheader", name="Verified")).to_have_attribute("aria-sort", "descending")
    expect(tab.locator("tbody tr").first).to_contain_text("10.0.0.2:80 >")
    tab.get_by_role("columnheader", name="Verified").get_by_role("button").click()
    expect(tab.locator("tbody tr").first).to_contain_text("10.0.0.2:443")
    tab.get_by_label("Filter the connections").fill("differs 443")
    expect(tab.locator("tbody tr")).to_have_count(1)
    tab.get_by_label("Filter the connections").fill("nothing like it")
    expect(tab.locator(".list .empty")).to_contain_text("None of 7 connections")
    tab.get_by_label("Filter the connections").fill("")
    row(tab, ":22 >").click()
    missing = "300 bytes of the secondary's are missing: they will be sent again."
    expect(tab.locator(".stream .why")).to_have_text(missing)
    expect(tab.locator(".span.one.primary")).to_have_count(3)  # in front of what both have, behind it, and in the key
    expect(tab.locator(".span.both.secondary")).to_have_count(1)
    expect(tab.locator(".facts")).to_contain_text("byte 500")
    scene.peers[1].send(frames.tcp(b"p" * 900, seq=501, ack=1, dport=43000, sport=22))
    expect(tab.locator(".stream .why")).to_have_text("Nothing waits: all that the primary has sent has left.")


def test_a_divergence_shows_its_bytes_its_frames_and_its_rule(still: Scene, opened: Callable[..., Tab]) -> None:
    event = still.page.events("divergence")[0]
    tab = opened(still.page, at="#/divergences")
    expect(tab.locator("tbody tr")).to_have_count(3)
    row(tab, "41000").click()
    at = event["context_offset"] * 2
    expect(tab.locator(".half.primary .first").first).to_have_text(event["primary"][at : at + 2])
    expect(tab.locator(".half.secondary .first").first).to_have_text(event["secondary"][at : at + 2])
    expect(tab.locator(".half.primary .codes")).to_contain_text([re.compile(r"(\w\w ){2}")] * 2)
    expect(tab.locator(".facts")).to_contain_text(f"byte {event['stream_offset']} of the stream")
    expect(tab.locator(".facts")).to_contain_text(event["rule"])
    expect(tab.locator(".frames li")).to_have_count(2)
    tab.locator(".frames summary").first.click()
    expect(tab.locator(".dump").first).to_contain_text("HTTP/1.1 2")
    expect(tab.locator(".explained")).to_contain_text("A clock in the payload")
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Evidence as pcapng").click()
    assert download.value.suggested_filename == "0001-tcp_payload.pcapng"
    assert download.value.path().read_bytes() == still.page.get("/api/divergences/1/evidence.pcapng").body


def test_what_replicas_send_is_never_markup(still: Scene, opened: Callable[..., Tab]) -> None:
    tab = opened(still.page, at="#/divergences/2")
    tab.locator(".frames summary").first.click()
    expect(tab.locator(".dump").first).to_contain_text("<img src=x")
    assert tab.evaluate("window.owned") is None
    assert tab.locator("main img").count() == 0


def test_a_rule_is_shown_before_it_is_added_with_the_token(
    scene: Scene, opened: Callable[..., Tab], tmp_path: Path
) -> None:
    tab = opened(scene.page, at="#/divergences/1")
    tab.get_by_role("button", name="Ignore this kind").click()
    rule = scene.page.get("/api/divergences/1").json["rule_to_ignore"]
    assert tab.locator(".dialog .rule").inner_text().strip() == rule.strip()
    assert rule not in scene.page.get("/api/rules").json["compare"]
    tab.locator("#token").fill("not the token")
    tab.get_by_role("button", name="Add this rule").click()
    expect(tab.locator(".dialog .problem")).to_contain_text("token is missing or wrong")
    tab.locator("#token").fill((tmp_path / "token").read_text().strip())
    tab.keyboard.press("Enter")
    expect(tab.locator(".dialog h2")).to_have_text("The rule is in force")
    assert scene.page.get("/api/rules").json["compare"][0] == rule


def test_all_of_it_goes_by_keys(still: Scene, opened: Callable[..., Tab]) -> None:
    tab = opened(still.page)
    expect(tab.locator("h1")).to_have_text("Checkpoint needed")
    tab.keyboard.press("3")
    expect(tab.locator("tbody tr")).to_have_count(3)
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("tbody tr").nth(1)).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator(".divergence h2")).to_contain_text("No. 2")
    tab.keyboard.press("Escape")
    expect(tab.locator(".divergence")).to_have_count(0)
    tab.keyboard.press("2")
    expect(tab.locator("tbody tr")).to_have_count(7)
    tab.keyboard.press("/")
    tab.keyboard.type("1")  # no key of its own while one types
    expect(tab.get_by_label("Filter the connections")).to_have_value("1")
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_contain_text("From row to row")
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_have_count(0)


def test_nothing_yet_and_nobody_there_are_said(page: Callable[..., Page], opened: Callable[..., Tab]) -> None:
    running = page()
    tab = opened(running)
    expect(tab.locator("h1")).to_have_text("Not protected")
    expect(tab.locator(".reasons")).to_contain_text("None so far")
    tab.keyboard.press("2")
    expect(tab.locator(".list .empty")).to_contain_text("No connection yet")
    tab.keyboard.press("3")
    expect(tab.locator(".list .empty")).to_contain_text("No divergence.")
    running.stop()
    expect(tab.locator("#banner")).to_contain_text("No connection to the proxy since")
    expect(tab.locator("#chip")).to_have_text("Connection lost")


CONTRAST = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const found = rgb(getComputedStyle(element).backgroundColor);
            if (found[3] > 200) return found;
        }
        return [255, 255, 255, 255];
    };
    const bad = [];
    for (const element of document.querySelectorAll('body *')) {
        const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!text || element.closest('svg')) continue;
        if (!element.checkVisibility() || element.closest('[disabled]')) continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
    }
    return bad;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_and_can_be_read(still: Scene, opened: Callable[..., Tab], size: str, dark: bool) -> None:
    tab = opened(still.page, size, dark)
    folder = os.environ.get("COLOPROXY_SCREENSHOTS")
    connection = "#/connections/compare%20tcp%2010.0.0.2%3A22%20%3E%2010.0.0.9%3A43000"
    views = {
        "overview": ("#/overview", ".plot canvas"), "connections": ("#/connections", "tbody tr"),
        "stream": (connection, ".bars-picture"), "divergences": ("#/divergences", "tbody tr"),
        "divergence": ("#/divergences/1", ".hex"),
    }  # fmt: skip
    for name, (address, there) in views.items():
        tab.goto(f"{still.page.url}/{address}")
        tab.locator(there).first.wait_for()
        wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{name} is {wide} pixels too wide"
        assert tab.evaluate(CONTRAST) == [], name  # WCAG 2.2, 1.4.3
        if folder:
            tab.wait_for_timeout(700)
            file = Path(folder) / f"page-{name}-{size}-{'dark' if dark else 'light'}.png"
            tab.screenshot(path=file, full_page=True)
