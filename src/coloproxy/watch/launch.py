"""The process that serves metrics and the page: started beside the proxy, and again if it ends before its time."""

import importlib.util
import ipaddress
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

from coloproxy.compare.events import Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.log import EventLog
from coloproxy.watch.beacon import Beacon
from coloproxy.watch.channel import Channel
from coloproxy.watch.host import Host

NEEDED = ("prometheus_client", "starlette", "uvicorn")
LOOPBACK = "127.0.0.1"
FIRST_RETRY, LAST_RETRY = 1.0, 60.0  # seconds after which it is started again
LAST_WORDS = 2.0  # seconds that it has to end


class TakenError(ColoproxyError):
    """An address at which nothing can listen now."""


class Service:
    """Listens at `address` at once; raises ColoproxyError if that cannot be. control: a file with the token that
    control needs, made if it is not there; without it, nothing can be changed through the page. Names that the page is
    reached by, besides addresses and this machine's own: hosts.
    """

    def __init__(self, address: str, control: str | None = None, hosts: list[str] | None = None) -> None:
        equipped()
        self._token = token(Path(control)) if control is not None else None
        self._hosts = hosts or []
        self._socket = listen(address)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._retry = FIRST_RETRY
        self._closed = False

    @property
    def url(self) -> str:
        """Where the page is."""
        return url(self._socket)

    @property
    def public(self) -> bool:
        """Whether other machines may reach it."""
        return not ipaddress.ip_address(self._socket.getsockname()[0]).is_loopback

    def show(self, host: Host, log: EventLog) -> None:
        """Show this host from now on."""
        self._host, self._log = host, log
        self._beacon = Beacon(host, token=self._token, hosts=self._hosts)
        self._start()

    def close(self) -> None:
        """End it, for good."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()
        self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(LAST_WORDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self) -> None:
        if self._closed:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            fds = theirs.fileno(), self._socket.fileno()
            command = [sys.executable, "-m", "coloproxy.watch.service", *map(str, fds)]
            try:
                # In a session of its own: a terminal's interrupt is for the proxy, which ends it with the channel.
                self._process = subprocess.Popen(
                    command, pass_fds=fds, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                ours.close()
                self._again(str(error.strerror))
                return
        self._channel = Channel(ours, self._host.loop, self._beacon.asked, self._lost)
        self._beacon.speak(self._channel)

    def _lost(self) -> None:
        self._beacon.silence()
        self._channel = None
        if self._process is not None:
            self._process.kill()
            self._again(f"status {self._process.wait()}")

    def _again(self, why: str) -> None:
        text = f"the process that serves {self.url} ended ({why}); it is started again in {self._retry:.0f} s"
        self._log.write(Warned(time=self._host.clock.now(), text=text))
        self._host.loop.after(self._retry, self._start)
        self._retry = min(2 * self._retry, LAST_RETRY)


def equipped() -> None:
    """Raises ColoproxyError if the libraries that the page needs are not installed."""
    missing = [name.replace("_", "-") for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ColoproxyError(f"--http needs {', '.join(missing)}: pip install 'coloproxy[http]'.")


def url(sock: socket.socket) -> str:
    """The page's address at this socket."""
    host, port = sock.getsockname()[:2]
    local = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}/" if ":" in local else f"http://{local}:{port}/"


def listen(text: str) -> socket.socket:
    """A socket that listens at HOST:PORT, at PORT of the loopback, or already: fd:NUMBER is a descriptor of one that
    this process was started with. Raises ColoproxyError, TakenError if it may be possible later."""
    if (number := text.removeprefix("fd:")) != text:
        return inherited(number, text)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ColoproxyError(f"http = {text!r} is no good: write HOST:PORT, or PORT alone for {LOOPBACK}.")
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]  # fmt: skip
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
            sock.listen(128)
        except OSError:
            sock.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TakenError(f"http = {text!r}: cannot listen there: {why}; name another address.") from None
    return sock


def inherited(number: str, text: str) -> socket.socket:
    """The socket of this descriptor. Raises ColoproxyError if it is none that listens."""
    try:
        sock = socket.socket(fileno=int(number))
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return sock
        sock.detach()
    except (OSError, ValueError):
        pass
    raise ColoproxyError(f"http = {text!r}: there is no socket that listens; name the descriptor of one.")


def token(path: Path) -> str:
    """The token in a file that only its owner may read; made if it is not there. Raises ColoproxyError."""
    try:
        made = secrets.token_urlsafe(24)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(made + "\n")
        return made
    except FileExistsError:
        pass
    except OSError as error:
        raise ColoproxyError(f"control file {path}: {error.strerror}; name one that can be made.") from None
    try:
        if path.stat().st_mode & 0o077:
            raise ColoproxyError(f"control file {path}: others may read it; chmod 600 it, or name another.")
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ColoproxyError(f"control file {path}: {error}; name one that can be read.") from None
    if len(found) < 16:
        raise ColoproxyError(f"control file {path}: a token has at least 16 characters; remove it to have one made.")
    return found
