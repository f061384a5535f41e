"""Real proxies with their pages."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from support.process import Running
from support.wire import PATIENCE
from watch.browsing import SIZES, chromium


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Page(Running):
    """A proxy with `--http`. `token` is what control needs, if it was started so."""

    def __init__(self, folder: Path, *options: str, **settings: object) -> None:
        super().__init__(folder, "--http", "0", *options, **settings)  # type: ignore[arg-type]
        self.until(lambda: "the page is at" in self.errors())
        found = re.search(r"http://\S+:(\d+)/", self.errors())
        assert found is not None
        self.url, self.port = found[0].removesuffix("/"), int(found[1])
        self.until(lambda: self.get("/healthz").status == 200)

    def get(self, path: str, headers: dict[str, str] | None = None, post: bytes | None = None) -> Answer:
        """Ask; with `post`, as a POST of it."""
        request = urllib.request.Request(self.url + path, data=post, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())
        except urllib.error.URLError:
            return Answer(0, {}, b"")

    def told(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """What the API says, once it says this."""
        self.until(lambda: condition(self.get(path).json))
        return self.get(path).json


@contextmanager
def pages(folder: Path) -> Iterator[Callable[..., Page]]:
    """Starts `coloproxy compare --http` with options, any number of times; ends them with the block."""
    started: list[Page] = []

    def start(*options: str, **settings: object) -> Page:
        place = folder / str(len(started))
        place.mkdir()
        started.append(Page(place, *options, **settings))
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            each.kill()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Starts proxies with pages; ends them with the test."""
    with pages(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone with the module, for its driver keeps an event loop that runs."""
    with chromium() as made:
        yield made


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens a page; if it is `silent`, without an answer. A script that fails, or something that the policy forbids,
    fails the test."""
    problems: list[str] = []
    contexts = []

    def open_page(page: Page, size: str = "wide", dark: bool = False, at: str = "", silent: bool = False) -> Tab:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        tab = context.new_page()
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda said: problems.append(said.text) if "Content Security" in said.text else None)
        if silent:
            tab.route("**/api/**", lambda _: None)
        tab.goto(f"{page.url}/{at}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not problems
