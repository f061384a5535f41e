"""Real runs of `coloproxy lab`, as root or as an ordinary user, and a look at what they leave."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coloproxy.lab.sandbox import privileged

COMMAND = [sys.executable, "-m", "coloproxy"]
PATIENCE = 60.0
DEVICES = {"e0", "client", "primary", "secondary"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs root is skipped without it, except where nothing may be skipped."""
    if privileged() or os.environ.get("COLOPROXY_CI"):
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root, to make namespaces and devices"))


class Lab:
    """Runs the command in an environment of its own, by which whatever comes of it is known. `words`: which command."""

    def __init__(self, folder: Path, prefix: list[str]) -> None:
        self.folder = folder
        self.words = ["lab"]
        self.tag = f"COLOPROXY_TEST={uuid.uuid4()}"
        name, _, value = self.tag.partition("=")
        self._environment = {**os.environ, name: value, "TMPDIR": str(folder)}
        self._prefix = prefix

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a session of its own, as at a terminal of its own."""
        return subprocess.Popen(
            [*self._prefix, *COMMAND, *self.words, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=self._environment, start_new_session=True,
        )  # fmt: skip

    def command(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        """What a command prints, and says; it must end with this status."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, f"status {process.returncode}: {out}{err}"
        assert "Traceback" not in err
        return out, err

    def run(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """The result of a run."""
        return json.loads(self.command("run", "--json", "--timeout", "50", *arguments, status=status)[0])

    def refused(self, *arguments: str) -> str:
        """The sentence with which a run is refused."""
        out, err = self.command("run", *arguments, status=2)
        assert out == ""
        assert len(err.splitlines()) == 1
        return err.removeprefix("coloproxy: ").strip()

    def processes(self) -> list[int]:
        """All processes that came of this."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if self.tag.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def folders(self) -> list[Path]:
        return sorted(self.folder.glob("coloproxy-lab-*"))

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited in vain; processes: {self.processes()}"
            time.sleep(0.01)

    def check_nothing_left(self) -> None:
        self.until(lambda: not self.processes())
        assert not self.folders()
        assert not DEVICES & set(os.listdir("/sys/class/net"))
        assert not list(Path("/run/netns").glob("*lab*"))

    def end(self) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Runs labs; afterwards nothing of them may be left."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:  # not pytest's, too long for the path of a socket
        found = Lab(Path(folder), [])
        try:
            yield found
            found.check_nothing_left()
        finally:
            found.end()


# An ordinary user who may use our interpreter even if that lies in a folder that is not for everyone: in a mount
# namespace of his own, such a folder is replaced by one that only has the way to the interpreter.
AS_NOBODY = """
base=$1 hidden=$2 view=$3; shift 3
if [ -n "$hidden" ]; then
  mount --bind "$base" "$view" && mount -t tmpfs -o mode=755 none "$hidden" &&
  mkdir -p "$base" && mount --bind "$view" "$base" || exit 99
fi
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""


@pytest.fixture
def users_lab() -> Iterator[Lab]:
    """Runs labs as an ordinary user: the one that we are or, being root, nobody."""
    with tempfile.TemporaryDirectory() as outer:  # not pytest's folder, which is for its owner alone
        Path(outer).chmod(0o711)
        folder = Path(outer, "user")
        folder.mkdir()
        folder.chmod(0o777)
        prefix = as_nobody(Path(outer, "view")) if os.geteuid() == 0 else []
        tried = subprocess.run([*prefix, sys.executable, "-c", "import coloproxy"], capture_output=True, check=False)
        if tried.returncode:
            give_up = pytest.fail if os.environ.get("COLOPROXY_CI") else pytest.skip
            give_up("an ordinary user cannot run our Python")
        found = Lab(folder, prefix)
        try:
            yield found
            found.check_nothing_left()
        finally:
            found.end()


def as_nobody(view: Path) -> list[str]:
    """What stands before a command to have nobody run it; `view`: an unused name."""
    view.mkdir()
    base = Path(os.path.realpath(sys.base_prefix))
    hidden = next((path for path in [*reversed(base.parents), base] if not path.stat().st_mode & 0o001), "")
    return ["unshare", "--mount", "sh", "-c", AS_NOBODY, "sh", str(base), str(hidden), str(view)]
