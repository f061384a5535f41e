"""What a rewriter knows of its connections, to be sent to another agent or kept over a restart."""

from coloproxy.rewrite.engine import Connection
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.table import COPIED


def taken(rewriter: Rewriter) -> list[list[object]]:
    """Of each connection: its keys, as hexadecimal text, when it began, and what a copy of the replica needs."""
    return [
        [c.key.hex(), c.client_key.hex(), c.since, *(getattr(c, name) for name in COPIED)]
        for c in rewriter.connections()
        if c.known and (c.offset or c.ts_offset)
    ]


def given(rewriter: Rewriter, connections: list[list[object]]) -> None:
    """Have a rewriter know them. Raises ValueError for what is not from `taken`."""
    for key, client_key, since, *values in connections:
        c = Connection(bytes.fromhex(str(key)), bytes.fromhex(str(client_key)), float(str(since)))
        for name, value in zip(COPIED, values, strict=True):
            setattr(c, name, value)
        rewriter.know(c)
