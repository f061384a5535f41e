"""Whatever becomes of an answer of the page's, who asked hears that the proxy is lost, and why."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from coloproxy.watch.client import Client, Lost

HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: 100\r\n\r\n"
TOLD = b'event: mark\ndata: {"wall": 1}\n\n'
Serve = Callable[..., Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that says this once, whatever it is asked, and then hangs up, or resets the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def start(text: bytes, reset: bool = False) -> Client:
        def answer() -> None:
            sock, _ = listener.accept()
            sock.recv(1 << 16)
            sock.sendall(text)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return Client(str(listener.getsockname()[1]))

    yield start
    for thread in threads:
        thread.join()
    listener.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "closed connection"), (SIZED + b"[1, 2", "IncompleteRead"), (HEAD + b"\r\n<html>", "not a proxy's"),
        (HEAD + b"\r\n\xff\xfe\xff", "not a proxy's"), (b"HTTP/1.1 503 No\r\n\r\n", "status 503"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none(serve: Serve, text: bytes, why: str) -> None:
    with pytest.raises(Lost, match=why):
        serve(text).ask("api/now")


def test_an_answer_that_is_cut_off(serve: Serve) -> None:
    with pytest.raises(Lost):
        serve(SIZED + b"[1, 2", reset=True).ask("api/history")


@pytest.mark.parametrize("half", [b"", b"event: pic", b'event: picture\ndata: {"pic'])
@pytest.mark.parametrize("reset", [False, True])
def test_what_was_told_whole_is_heard_and_a_half_word_is_not(serve: Serve, half: bytes, reset: bool) -> None:
    text = TOLD + half
    told = serve(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(text), text), reset)
    heard = []
    with contextlib.suppress(Lost):
        for each in told.live(connections=False):
            heard.append(each)
    assert heard == [("mark", {"wall": 1})] or (reset and not heard)
