"""Real guests: as root, with QEMU, a kernel and busybox; skipped where these are not, unless nothing may be."""

import os
import shutil

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import image
from coloproxy.lab.sandbox import privileged


def missing() -> str | None:
    """Why no guest can run here."""
    if not privileged():
        return "needs root, to make namespaces and devices"
    if shutil.which("qemu-system-x86_64") is None:
        return "qemu-system-x86_64 is not installed"
    try:
        image.installed()
    except ColoproxyError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = missing()
    if why is None or os.environ.get("COLOPROXY_CI"):
        return
    for item in items:
        if item.get_closest_marker("qemu"):
            item.add_marker(pytest.mark.skip(reason=why))
