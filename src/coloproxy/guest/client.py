"""What a command says to an agent: a line on its control socket, answered by a line of JSON."""

import json
import socket
import time
from typing import Any

from coloproxy.errors import ColoproxyError
from coloproxy.guest.config import File

PATIENCE = 5.0  # seconds for an answer

Status = dict[str, Any]


def ask(file: File, host: str, command: str) -> Status:
    """Have an agent of this machine do something. Raises ColoproxyError if it is not there, or says no."""
    path = file.place(host) / "control"
    try:
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as lines:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            sock.sendall(command.encode() + b"\n")
            answer: Status = json.loads(lines.readline())
    except (OSError, ValueError):
        raise ColoproxyError(f"the agent of {host} does not answer at {path}; is it running?") from None
    if not answer.pop("ok"):
        raise ColoproxyError(f"{host}: {answer['error']}")
    return answer


def statuses(file: File) -> dict[str, Status]:
    """Of each agent that answers on this machine."""
    found = {}
    for host in file.host:
        try:
            found[host] = ask(file, host, "status")
        except ColoproxyError:
            continue
    return found


def having(file: File, role: str) -> str:
    """The host whose agent has this role. Raises ColoproxyError if none of this machine has."""
    found = statuses(file)
    of_it = [host for host, status in found.items() if status["role"] == role]
    if of_it:  # one that is deciding may turn out not to have it any more
        return min(of_it, key=lambda host: found[host]["state"] in ("deciding", "taking over"))
    said = ", ".join(f"{host} is {status['state']}" for host, status in found.items()) or "no agent answers here"
    raise ColoproxyError(f"no {role} is here: {said}.")


def until(file: File, host: str, states: set[str], seconds: float, *, not_in: frozenset[str] = frozenset()) -> Status:
    """Wait for a state. Raises ColoproxyError if one of `not_in` comes instead, or none in time."""
    end = time.monotonic() + seconds
    while True:
        status = ask(file, host, "status")
        if status["state"] in states:
            return status
        if status["state"] in not_in or time.monotonic() > end:
            why = f": {status['detail']}" if status["detail"] else "; see its events."
            raise ColoproxyError(f"{host} is {status['state']}, not {' or '.join(sorted(states))}{why}")
        time.sleep(0.02)
