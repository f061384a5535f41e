"""The page in a real browser, on a real proxy whose replicas really differ: every view, by mouse and by keys.

COLOPROXY_SCREENSHOTS names a folder for the pictures of the documentation.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from coloproxy.checkpoint.notify import CHECKPOINT, encode
from support import frames
from watch.browsing import SIZES, fits_and_reads
from watch.conftest import Page, pages
from watch.replicas import Scene, play

pytestmark = pytest.mark.browser


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
    expect(tab.locator("main img")).to_have_count(0)
    assert tab.evaluate("window.owned") is None


def test_a_rule_is_shown_before_it_is_added_with_the_token(
    scene: Scene, opened: Callable[..., Tab], tmp_path: Path
) -> None:
    tab = opened(scene.page, at="#/divergences/1")
    tab.get_by_role("button", name="Ignore this kind").click()
    rule = scene.page.get("/api/divergences/1").json["rule_to_ignore"]
    expect(tab.locator(".dialog .rule")).to_have_text(rule)
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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_and_can_be_read(still: Scene, opened: Callable[..., Tab], size: str, dark: bool) -> None:
    tab = opened(still.page, size, dark)
    folder = os.environ.get("COLOPROXY_SCREENSHOTS")
    connection = "#/connections/compare%20tcp%2010.0.0.2%3A22%20%3E%2010.0.0.9%3A43000"
    views = {
        "overview": ("#/overview", "[data-view=overview] .plot canvas"),
        "connections": ("#/connections", "[data-view=connections] tbody tr"), "stream": (connection, ".bars-picture"),
        "divergences": ("#/divergences", "[data-view=divergences] tbody tr"),
        "divergence": ("#/divergences/1", ".hex"),
    }  # fmt: skip
    for name, (address, there) in views.items():
        tab.goto(f"{still.page.url}/{address}")
        tab.locator(there).first.wait_for()
        fits_and_reads(tab, name)
        if folder:
            tab.wait_for_timeout(700)
            file = Path(folder) / f"page-{name}-{size}-{'dark' if dark else 'light'}.png"
            tab.screenshot(path=file, full_page=True)
