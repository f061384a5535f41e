"""Where QEMU is right: the plays in which it and coloproxy must do the same.

A `Domain` follows a play and says of the next frame whether it leads out, and for which of the reasons in `reasons`.
For that it keeps QEMU's queues as QEMU does and, beside them, what a comparator ought to know. It foretells nothing:
whether QEMU and coloproxy do the same within the domain is for the two to show.
"""

from reasons import Reason
from said import Datagram, Passing, Said, Segment
from streams import Stream
from talks import Talk, our_key, their_key

# The reasons for which a play may leave the domain.
LIMITS = frozenset({
    Reason.ACK_RULE, Reason.BEGINNING, Reason.CONNECTION_KEY, Reason.CONTRADICTION, Reason.CONTROL_FLAGS,
    Reason.DATAGRAM_BYTES, Reason.HEALING, Reason.LIFO_OUTPUT, Reason.NEW_CONNECTION, Reason.NEWEST_FIRST,
    Reason.OTHER_HEADERS, Reason.PADDING, Reason.PURE_ACK, Reason.RELEASE_ORDER, Reason.STALE_SECONDARY,
    Reason.STREAM_POSITION, Reason.SYN_OPTIONS, Reason.VNET_LENGTH, Reason.ZERO_MARK,
})  # fmt: skip
MOST_HELD = 50, 70_000  # frames and bytes of the primary: released together, they fit the output's socket buffer


class Domain:
    """A play so far. `logged`: what the two write into their logs is to be equal too."""

    def __init__(self, logged: bool = False) -> None:
        self.logged = logged
        self.streams: dict[int, Stream] = {}
        self.talks: dict[tuple[object, ...], Talk] = {}

    def take(self, side: str, said: Said) -> Reason | None:
        """The replica `side` says this. A reason: it leads out of the domain, and must not be said."""
        if side == "p" and self._crowded(said):
            return Reason.LIFO_OUTPUT
        if isinstance(said, Segment):
            known = self.streams.get(said.connection)
            stream = known.copy() if known else Stream(logged=self.logged)
            reason = stream.take(side, said)
            if reason is None:
                self.streams[said.connection] = stream
            return reason
        if isinstance(said, Datagram):
            return self._datagram(side, said)
        assert isinstance(said, Passing)
        return None

    def _crowded(self, said: Said) -> bool:
        """Whether the primary holds so much that QEMU could not write it without pausing."""
        held = [said, *(held.said for stream in self.streams.values() for held in stream.p)]
        held += [datagram for talk in self.talks.values() for datagram in talk.p]
        payloads = sum(len(getattr(each, "payload", b"")) for each in held)
        return len(held) > MOST_HELD[0] or (payloads > MOST_HELD[1] and len(held) > 1)

    def _datagram(self, side: str, said: Datagram) -> Reason | None:
        key, own = their_key(said), our_key(said)
        for their, talk in self.talks.items():
            if any((their == key) != (our_key(held) == own) for held in (*talk.p, *talk.s)):
                return Reason.CONNECTION_KEY
        return self.talks.setdefault(key, Talk(logged=self.logged)).take(side, said)

    def checkpoint(self) -> None:
        """A checkpoint is made."""
        for stream in self.streams.values():
            stream.checkpoint()
        self.talks.clear()

    @property
    def diverged(self) -> bool:
        """Whether a checkpoint is needed."""
        return any(stream.diverged for stream in self.streams.values()) or any(
            talk.p and talk.s for talk in self.talks.values()
        )
