"""Open pages: `python bench/readers.py PORT COUNT STREAM`. Opens them on "open" on standard input, closes them on
"close", and says "done" then.

Of ten pages five look at the overview, four at the list of connections, and one into the connection STREAM. They take
all that they are sent, and make nothing of it: with MSG_TRUNC it is not even copied (tcp(7)). So what is measured
beside them is what it costs to serve pages, not what it costs to show them. They run only when nobody else wants their
processor (SCHED_IDLE, sched(7)).
"""

import os
import socket
import sys
import threading
import urllib.parse

VIEWS = "", "connections", "", "connections", "streams", "", "connections", "", "connections", ""
PAUSE = 0.1  # seconds between two readings
ROOM = 4 << 20  # bytes


def opened(port: int, view: str, stream: str) -> socket.socket:
    """A page that has been asked for."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    sock.connect(("127.0.0.1", port))
    query = f"streams={urllib.parse.quote(stream)}" if view == "streams" else view
    sock.sendall(f"GET /api/live?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    sock.setblocking(False)
    return sock


def drain(sock: socket.socket, nothing: bytearray) -> None:
    """Take what has come. EOFError: the page was dropped."""
    try:
        if not sock.recv_into(nothing, 0, socket.MSG_TRUNC):
            raise EOFError("a page was dropped")
    except BlockingIOError:
        pass


def keep_reading(pages: list[socket.socket], lock: threading.Lock) -> None:
    """Take whatever comes, now and then, for ever."""
    nothing = bytearray(ROOM)
    pause = threading.Event()
    while not pause.wait(PAUSE):
        with lock:
            for sock in pages:
                drain(sock, nothing)


def main() -> None:
    """Do as told on standard input."""
    port, count, stream = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pages: list[socket.socket] = []
    lock = threading.Lock()
    threading.Thread(target=keep_reading, args=(pages, lock), daemon=True).start()
    for line in sys.stdin:
        with lock:
            for sock in pages:
                sock.close()
            pages[:] = [opened(port, VIEWS[n % len(VIEWS)], stream) for n in range(count)] if line == "open\n" else []
        print("done", flush=True)


if __name__ == "__main__":
    main()
