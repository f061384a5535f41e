"""A real browser, and what every view of the page must be in it."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Page as Tab

from support.wire import PATIENCE

# A lost connection is taken up again after some seconds, and browser, proxy and other tests share the processors.
expect.set_options(timeout=PATIENCE * 1000)

SIZES = {"wide": (1280, 900), "middle": (820, 1100), "phone": (360, 740)}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
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


TOO_WIDE = """selector => Math.max(
    0, ...[...document.querySelectorAll(selector)].map((box) => box.scrollWidth - box.clientWidth))"""
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


def fits_and_reads(tab: Tab, name: str) -> None:
    """Nothing is cut off to the right, nor within a list, and all text stands out (WCAG 2.2, 1.4.3)."""
    for box in ("html", ".table-box"):
        wide = tab.evaluate(TOO_WIDE, box)
        assert wide == 0, f"{name}: {box} is {wide} pixels too wide"
    assert tab.evaluate(CONTRAST) == [], name
