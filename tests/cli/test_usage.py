"""Wrong options are told in one sentence; help is still a page."""

import re
import subprocess
import sys

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coloproxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("compare --foo", r"no such option: --foo; see `.*coloproxy compare --help`\."),
        ("compare --compare-timeout x",
         r"invalid value for '--compare-timeout': it must be a valid integer; see `.*coloproxy compare --help`\."),
        ("demo --runs 0",
         r"invalid value for '--runs': it must be greater than or equal to 1; see `.*coloproxy demo --help`\."),
        ("frobnicate", r"no such command 'frobnicate'; see `.*coloproxy --help`\."),
        ("trace lst", r"no such command 'lst'.* Did you mean 'list'\? See `.*coloproxy trace --help`\."),
        ("diff", r"missing argument 'primary'; see `.*coloproxy diff --help`\."),
        ("explain a b", r"got unexpected extra argument.*; see `.*coloproxy explain --help`\."),
        ("compare --primary-in", r"option '--primary-in' requires an argument; see `.*coloproxy --help`\."),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_sentence_and_status_2(arguments: str, sentence: str) -> None:
    done = run(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("coloproxy: ")
    assert re.fullmatch(f"coloproxy: {sentence}", line), line


@pytest.mark.parametrize("arguments", ["--help", "compare --help", "lab run --help", "trace --help"])
def test_help_is_a_page(arguments: str) -> None:
    done = run(*arguments.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout
    assert "--help" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["lab"], ["guest"], ["trace"]])
def test_a_command_without_arguments_says_what_there_is(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("Usage:") == 1
