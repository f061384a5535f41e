"""An FTP server, pyftpdlib's, that two replicas can run: nothing it says depends on chance or timing.

    python -m coloproxy.lab.servers.ftp '{"addresses": [...], "files": FOLDER, "seed": N}'

The port of a data connection follows from the client's, whereas servers usually take any that is free. What a client
stores is compared with the content that belongs to the seed, and not kept; SITE VERIFY NAME tells how that went.
"""

import warnings
from typing import Any, ClassVar

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from coloproxy.lab.content import BLOCK, Content, Mismatch, address_of
from coloproxy.lab.servers.order import Order, order

PORT = 21
LOWEST, PORTS = 1024, 64512  # the ports that are nobody's by default


class Stored:
    """What a client stores: a file to be written from its beginning."""

    closed = False

    def __init__(self, name: str, content: Content) -> None:
        self.name = name
        self.size = 0
        self.wrong: str | None = None
        self._content = content

    def write(self, chunk: bytes) -> None:
        data = bytearray(chunk)
        for at in range(0, len(data), BLOCK):
            size = min(BLOCK, len(data) - at)
            try:
                self._content.check(address_of(data) + at, size, self.size)
            except Mismatch as error:
                self.wrong = self.wrong or str(error)
            self.size += size

    def close(self) -> None:
        self.closed = True


class Files(AbstractedFS):  # type: ignore[misc]
    """The folder for reading; what is written is only looked at."""

    content: ClassVar[Content]
    stored: ClassVar[dict[str, Stored]] = {}

    def open(self, filename: str, mode: str) -> Any:
        if "w" not in mode:
            return super().open(filename, mode)
        self.stored[filename] = stored = Stored(filename, self.content)
        return stored


class Data(DTPHandler):  # type: ignore[misc]
    """A data connection, in pieces large enough for a fast network."""

    ac_in_buffer_size = BLOCK
    ac_out_buffer_size = 1 << 20


class Handler(FTPHandler):  # type: ignore[misc]
    """A session."""

    abstracted_fs = Files
    dtp_handler = Data
    banner = "lab"
    proto_cmds = FTPHandler.proto_cmds | {
        "SITE VERIFY": {"perm": "w", "auth": True, "arg": True, "help": "Syntax: SITE VERIFY <SP> file-name."}
    }

    def on_connect(self) -> None:
        # One to one: clients that are there at a time have ports of their own, and so have their data connections.
        self.passive_ports = [LOWEST + (self.remote_port + PORTS // 2) % PORTS]

    def respond(self, resp: str, *args: Any, **kwargs: Any) -> None:
        if resp.startswith(("125 ", "150 ")):  # which of the two is a matter of which connection is looked at first
            resp = "150 Here it comes."
        super().respond(resp, *args, **kwargs)

    def ftp_SITE_VERIFY(self, path: str) -> None:
        stored = Files.stored.pop(path, None)
        if stored is None:
            self.respond("550 Nothing of that name was stored.")
        else:
            self.respond(f"213 {stored.size} {stored.wrong or 'right'}")


def main(given: Order) -> None:
    """Serve until killed."""
    warnings.filterwarnings("ignore", "write permissions assigned to anonymous", RuntimeWarning)
    Files.content = Content(given.seed)
    Handler.authorizer = DummyAuthorizer()
    Handler.authorizer.add_anonymous(given.files, perm="elrw")
    loop = IOLoop.instance()
    for address in given.addresses:
        server = FTPServer((address, PORT), Handler, ioloop=loop, backlog=512)
        server.max_cons = 0
    loop.loop()


if __name__ == "__main__":
    main(order())
