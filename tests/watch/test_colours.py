"""The page's colours, as its style sheet has them: what must be told apart can be, with any kind of colour blindness,
and what must be read can be.

How a colour is seen: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation
of Color Vision Deficiency", IEEE TVCG 15(6), 2009, table 1, severity 1.0; and, for red and green, the method of
F. Viénot, H. Brettel, J. D. Mollon, "Digital video colourmaps for checking the legibility of displays by dichromats",
Color Research and Application 24(4), 1999, with the primaries of sRGB. How far apart: CIEDE2000 (ISO/CIE 11664-6).
"""

import itertools
import math
import re
from pathlib import Path

import pytest

import coloproxy.watch
from coloproxy.watch.report.charts import COLOURS

FOLDER = Path(coloproxy.watch.__file__).parent
Triple = tuple[float, float, float]

# Of linear RGB
SEEN: dict[str, tuple[Triple, Triple, Triple]] = {
    "by all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia, Machado": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia, Machado": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia, Machado": (
        (1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900),
    ),
    "protanopia, Viénot": (
        (0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0),
    ),
    "deuteranopia, Viénot": (
        (0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0),
    ),
}  # fmt: skip


def palettes(sheet: str) -> dict[str, dict[str, str]]:
    """The variables of a style sheet, light and dark."""
    light, dark = re.findall(r":root \{(.*?)\}", (FOLDER / sheet).read_text(), re.S)[:2]
    found = {"light": dict(re.findall(r"--([\w-]+): (#\w+);", light))}
    found["dark"] = found["light"] | dict(re.findall(r"--([\w-]+): (#\w+);", dark))
    return found


def linear(colour: str) -> Triple:
    """Of #rgb or #rrggbb (IEC 61966-2-1)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    values = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return r, g, b


def seen(colour: Triple, how: str) -> Triple:
    """How it is seen, as linear RGB."""
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, colour)))) for row in SEEN[how])
    return r, g, b


def lab(colour: Triple) -> Triple:
    """CIELAB under D65."""
    matrix = (0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)
    x, y, z = (sum(m * c for m, c in zip(row, colour)) / white for row, white in zip(matrix, (0.95047, 1.0, 1.08883)))
    fx, fy, fz = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def ciede2000(one: Triple, two: Triple) -> float:
    """As G. Sharma, W. Wu, E. N. Dalal write it down (Color Research and Application 30(1), 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    c7 = ((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2) ** 7
    g = 1.5 - 0.5 * math.sqrt(c7 / (c7 + 25**7))
    c1, c2 = math.hypot(g * a1, b1), math.hypot(g * a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, g * a)) % 360 if (a or b) else 0.0 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    if turn == -180:
        turn = 180.0
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    if c1 * c2 and abs(h1 - h2) > 180:
        mean_h = (h1 + h2 + 360) / 2 % 360 if h1 + h2 < 360 else (h1 + h2 - 360) / 2
    elif c1 * c2:
        mean_h = (h1 + h2) / 2
    t = 1.0
    for factor, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63)):
        t += factor * math.cos(math.radians(times * mean_h + shift))
    m7 = mean_c**7
    rotation = -2 * math.sqrt(m7 / (m7 + 25**7)) * math.sin(math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2))))
    dl = (l2 - l1) / (1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * mean_c)
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2)) / (1 + 0.015 * mean_c * t)
    return math.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh)


def apart(one: str, two: str, how: str) -> float:
    return ciede2000(lab(seen(linear(one), how)), lab(seen(linear(two), how)))


def contrast(one: str, two: str) -> float:
    """Of luminances (WCAG 2.2, contrast ratio)."""
    low, high = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("one", "two", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.1848, -84.8006), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_are_those_of_the_published_data(one: Triple, two: Triple, difference: float) -> None:
    assert ciede2000(one, two) == pytest.approx(difference, abs=1e-4)
    assert ciede2000(two, one) == pytest.approx(difference, abs=1e-4)


LEAST = 10.0  # between what must be told apart; 1 can just be noticed
TOLD_APART = {
    "connections, bars": ("primary", "secondary", "difference"),
    "plots": ("flow", "tail", "checkpoint"),
    "plot of what is held": ("primary", "secondary", "checkpoint", "difference"),
    "states": ("good", "warn", "bad", "muted"),
    "wires of the overview": ("primary", "secondary", "good"),
    "wires that are off": ("primary", "secondary", "muted"),
    "primary's, of one side only": ("primary", "primary-soft"),
    "secondary's, of one side only": ("secondary", "secondary-soft"),
}
TEXT = ("text", "muted", "accent", "primary", "secondary-text", "good", "warn", "bad", "difference")
DRAWN = ("primary", "secondary", "flow", "tail", "checkpoint", "difference", "good", "warn", "bad", "muted")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("how", SEEN)
@pytest.mark.parametrize("group", TOLD_APART)
def test_what_must_be_told_apart_can_be(theme: str, how: str, group: str) -> None:
    palette = palettes("page/page.css")[theme]
    for one, two in itertools.combinations(TOLD_APART[group], 2):
        assert apart(palette[one], palette[two], how) >= LEAST, (one, two)


def test_the_test_would_find_colours_that_are_confused() -> None:
    assert apart("#9a6200", "#b4410a", "by all") > LEAST
    assert apart("#9a6200", "#b4410a", "deuteranopia, Machado") < 2
    assert apart("#9a6200", "#b4410a", "deuteranopia, Viénot") < 2


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sheet", ["page/page.css", "report/report.css"])
def test_text_can_be_read(sheet: str, theme: str) -> None:
    palette = palettes(sheet)[theme]
    grounds = [palette[name] for name in ("surface", "ground", "raised")]
    for name in set(TEXT) & palette.keys():
        assert min(contrast(palette[name], ground) for ground in grounds) >= 4.5, name  # WCAG 2.2, 1.4.3
    for name in ("good", "warn", "bad", "difference"):
        if f"{name}-soft" in palette:
            assert contrast(palette[name], palette[f"{name}-soft"]) >= 4.5, name
    for name in ("primary-soft", "secondary-soft"):  # the names of the replicas, in SVG
        if name in palette:
            assert contrast(palette["text"], palette[name]) >= 4.5, name
    for name in ("accent", "difference"):  # the surface's colour on it: buttons, the first difference
        if name in palette:
            assert contrast(palette["surface"], palette[name]) >= 4.5, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_drawn_can_be_seen(theme: str) -> None:
    palette = palettes("page/page.css")[theme]
    for name in DRAWN:
        assert contrast(palette[name], palette["surface"]) >= 3, name  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("how", SEEN)
def test_the_reasons_of_a_report_can_be_told_apart(theme: str, how: str) -> None:
    sheet, palette = (FOLDER / "report/report.css").read_text(), palettes("report/report.css")[theme]
    fills = dict(re.findall(r"\.(c\d|rest) \{ fill: ([^;]+);", sheet))
    assert len(fills) == COLOURS + 1
    colours = {name: palette[value[6:-1]] if value.startswith("var") else value for name, value in fills.items()}
    for one, two in itertools.combinations(colours, 2):
        assert apart(colours[one], colours[two], how) >= LEAST, (one, two)
