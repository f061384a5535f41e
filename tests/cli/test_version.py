"""What the command says of itself."""

import subprocess
import sys

import coloproxy


def test_the_version_is_printed() -> None:
    done = subprocess.run([sys.executable, "-m", "coloproxy", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"coloproxy {coloproxy.__version__}\n"
