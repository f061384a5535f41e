"""An HTTP server that two replicas can run: its answers have no date, and no other header that may differ.

python -m coloproxy.lab.servers.http '{"addresses": [...], "files": FOLDER, "seed": N}'
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from coloproxy.lab.servers.order import Order, order

PORT = 80


class Handler(BaseHTTPRequestHandler):
    """Sends a file of the folder."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: ClassVar[Path]

    def do_GET(self) -> None:
        try:
            file = (self.folder / Path(self.path).name).open("rb")
        except OSError:
            self.send_response_only(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with file:
            self.send_response_only(200)
            self.send_header("Content-Length", str(file.seek(0, 2)))
            self.end_headers()
            file.seek(0)
            self.connection.sendfile(file)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """One address, a thread for each connection."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self, address: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, PORT), Handler)

    def server_bind(self) -> None:
        """Without looking for a name of the address, which takes time."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), PORT

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that ended early is the client's affair."""


def main(given: Order) -> None:
    """Serve until killed."""
    Handler.folder = Path(given.files)
    threads = [threading.Thread(target=Server(address).serve_forever) for address in given.addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(order())
