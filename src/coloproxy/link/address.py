"""Where a socket of the proxy is: `unix:PATH` or `tcp:HOST:PORT`, with `,server` to listen there."""

import contextlib
import os
import socket
import stat
from typing import NamedTuple

from coloproxy.errors import ColoproxyError

LONGEST_PATH = 107  # bytes of a unix socket's path (unix(7): sun_path has 108, the last is NUL)
FORMS = "write unix:PATH or tcp:HOST:PORT (an IPv6 address in brackets), with ,server behind it to listen"

SockAddr = str | tuple[str, int] | tuple[str, int, int, int]


class Address(NamedTuple):
    """One end of a connection. `path` for unix, `host` and `port` for tcp."""

    text: str
    server: bool
    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def place(self) -> tuple[str, str, int]:
        """What two sockets of one proxy may not have in common."""
        return os.path.abspath(self.path) if self.path else "", self.host, self.port


def parse_address(text: str) -> Address:
    """Read an address. Raises ColoproxyError, saying what is wrong with it."""
    rest, comma, option = text.partition(",")
    if comma and option != "server":
        raise _bad(text, f"'{option}' is no option; the only one is ,server")
    kind, colon, place = rest.partition(":")
    if not colon or kind not in ("unix", "tcp"):
        raise _bad(text, FORMS)
    if kind == "unix":
        if not place or "\0" in place:
            raise _bad(text, "the path is missing" if not place else "a path has no NUL in it")
        if len(os.fsencode(place)) > LONGEST_PATH:
            raise _bad(text, f"a unix socket's path has at most {LONGEST_PATH} bytes; use a shorter one")
        return Address(text, bool(comma), path=place)
    host, port = _host_and_port(text, place)
    return Address(text, bool(comma), host=host, port=port)


def _host_and_port(text: str, place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or (":" in host) != bracketed:
        raise _bad(text, "write tcp:HOST:PORT, an IPv6 address in brackets")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _bad(text, f"'{port}' is no port; ports are 1 to 65535")
    return host, int(port)


def _bad(text: str, why: str) -> ColoproxyError:
    return ColoproxyError(f"address '{text}': {why}.")


def resolve(address: Address) -> list[tuple[socket.AddressFamily, SockAddr]]:
    """The socket addresses an address stands for, best first. Raises ColoproxyError if the host is not known."""
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE if address.server else 0
        )
    except (socket.gaierror, UnicodeError) as error:
        raise _bad(address.text, f"the host cannot be found ({error}); name one that can, or its address") from None
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]


def listen(address: Address) -> socket.socket:
    """A listening socket there; a socket file that nobody listens on any more is replaced.

    Raises ColoproxyError if that is not possible, as when another process listens there.
    """
    family, sockaddr = resolve(address)[0]
    if family == socket.AF_UNIX:
        _remove_stale(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
        sock.listen(4)
    except OSError as error:
        sock.close()
        raise _bad(address.text, f"cannot listen there: {error.strerror}") from None
    return sock


def _remove_stale(address: Address) -> None:
    try:
        mode = os.lstat(address.path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _bad(address.text, f"cannot listen there: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise _bad(address.text, "a file that is not a socket is there; name another path or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address.path)
            return
        except FileNotFoundError:
            return
        except OSError:
            pass  # somebody is there, if not one who would talk to us
    raise _bad(address.text, "another process listens there; stop it or name another path")
