"""The README: its example prints what it says, its commands exist, its files are there."""

import re
import subprocess
import sys

from support.pages import ROOT, program

README = ROOT / "README.md"


def test_the_example_prints_what_the_readme_says() -> None:
    code, printed = program(README)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (printed, "")


def test_the_first_screen_names_the_two_commands() -> None:
    first = "\n".join(README.read_text().splitlines()[:24])
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in first
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)", README.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
