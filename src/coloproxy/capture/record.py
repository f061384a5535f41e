"""One captured frame."""

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """A frame as a capture holds it.

    time_ns: nanoseconds since 1970-01-01 UTC. linktype: the LINKTYPE_ number (tcpdump.org/linktypes.html) that says how
    `data` begins. original_length: bytes the frame had on the wire. comment: pcapng comments, joined by newlines.
    interface: pcapng's name of the interface or, nameless, its number; empty in a classic pcap.
    """

    time_ns: int
    linktype: int
    data: bytes
    original_length: int
    comment: str | None = None
    interface: str = ""

    @property
    def cut(self) -> bool:
        """Whether the capture kept only the beginning of the frame (its snapshot length)."""
        return len(self.data) < self.original_length
