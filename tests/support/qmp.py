"""QEMU's monitor for tests that need no agent: a connection for each call."""

import json
import socket
from pathlib import Path
from typing import Any


def qmp(path: Path, *orders: tuple[str, dict[str, Any]]) -> Any:
    """What QEMU returns for the last of some orders."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as lines:
        sock.connect(str(path))
        lines.readline()
        answer: dict[str, Any] = {}
        for name, arguments in (("qmp_capabilities", {}), *orders):
            sock.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
            while "return" not in (answer := json.loads(lines.readline())):
                assert "error" not in answer, answer
        return answer["return"]
