"""Addresses: what they may be, and what is found where they point."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.errors import ColoproxyError
from coloproxy.link.address import listen, parse_address, resolve


@pytest.mark.parametrize(
    ("text", "path", "host", "port", "server"),
    [
        ("unix:/run/p.sock", "/run/p.sock", "", 0, False),
        ("unix:p:1,server", "p:1", "", 0, True),
        ("tcp:127.0.0.1:9001", "", "127.0.0.1", 9001, False),
        ("tcp:host.example:65535,server", "", "host.example", 65535, True),
        ("tcp:[::1]:9004,server", "", "::1", 9004, True),
        ("tcp:[fe80::1%eth0]:1", "", "fe80::1%eth0", 1, False),
    ],
)
def test_an_address_says_where_and_how(text: str, path: str, host: str, port: int, server: bool) -> None:
    address = parse_address(text)
    assert (address.path, address.host, address.port, address.server) == (path, host, port, server)
    assert address.text == text


@pytest.mark.parametrize(
    "text",
    ["", "unix", "unix:", "udp:1.2.3.4:5", "/run/p.sock", "tcp:host", "tcp:host:", "tcp::9001", "tcp:host:0",
     "tcp:host:65536", "tcp:host:x", "tcp:host:+1", "tcp:host:١", "tcp:::1:9001", "tcp:[host]:1", "tcp:[::1]",
     "unix:/p,sever", "unix:/p,server,server",
     "tcp:h:1,wait=off", "unix:" + "x" * 108, "unix:/a\0b"],
)  # fmt: skip
def test_what_is_no_address_is_said_in_a_sentence_that_names_it(text: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        parse_address(text)
    assert str(caught.value).startswith(f"address '{text}': ")
    assert str(caught.value).endswith(".")


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    for candidate in (text, f"tcp:{text}", f"unix:{text}", f"tcp:[{text}]:1"):
        try:
            address = parse_address(candidate)
        except ColoproxyError:
            continue
        assert address.path or (address.host and 1 <= address.port <= 65535)


def test_a_host_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ColoproxyError, match="cannot be found"):
        resolve(parse_address("tcp:no-such-host.invalid:9001"))


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert path.exists()
    with listen(parse_address(f"unix:{path},server")), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_file_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(1)
        with pytest.raises(ColoproxyError, match="another process listens there"):
            listen(parse_address(f"unix:{path},server"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_live_listener_whose_queue_is_full_is_still_alive(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    live, one, two = (socket.socket(socket.AF_UNIX) for _ in range(3))
    with live, one, two:
        live.bind(path)
        live.listen(0)
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(path)
        with pytest.raises(ColoproxyError, match="another process listens there"):
            listen(parse_address(f"unix:{path},server"))


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_is_not_a_socket_is_not_removed(tmp_path: Path, make: object) -> None:
    path = tmp_path / "s"
    make(path)  # type: ignore[operator]
    with pytest.raises(ColoproxyError, match="not a socket"):
        listen(parse_address(f"unix:{path},server"))
    assert path.exists()


def test_a_datagram_socket_file_in_use_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ColoproxyError):
            listen(parse_address(f"unix:{path},server"))
        assert path.exists()


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ColoproxyError, match="No such file"):
        listen(parse_address(f"unix:{tmp_path}/missing/s,server"))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_taken_port_is_an_error(host: str) -> None:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    try:
        taken = socket.create_server((host.strip("[]"), 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken, pytest.raises(ColoproxyError, match="in use"):
        listen(parse_address(f"tcp:{host}:{taken.getsockname()[1]},server"))


def test_two_spellings_of_a_path_are_one_place() -> None:
    here = os.getcwd()
    assert parse_address("unix:x").place == parse_address(f"unix:{here}/./x,server").place
