"""Plays for the rewriter: a client, two replicas whose numbers differ, and what each is to see."""

from array import array

from coloproxy.packet.edit import tcp_checksum_is_right
from coloproxy.packet.parse import Packet, parse
from coloproxy.rewrite.accounts import Accounting, SourceAccount
from coloproxy.rewrite.config import Config
from coloproxy.rewrite.rewriter import Rewriter
from coloproxy.rewrite.sources import Source
from support.frames import ACK, CLIENT, REPLICA, SYN, syn_options, tcp

C_ISN, P_ISN, S_ISN = 100, 1000, 50_000
OFFSET = S_ISN - P_ISN


class Batch:
    """Frames behind one another in one buffer, each behind `headroom` bytes of framing."""

    def __init__(self, frames: list[bytes], vnet_len: int = 0, headroom: int = 4) -> None:
        self.buf, self.index, self.count = bytearray(), array("I"), len(frames)
        self.headroom, self.lease = headroom, object()
        for frame in frames:
            self.buf += bytes(headroom) + frame
            self.index.extend((len(self.buf) - len(frame), len(self.buf), vnet_len))

    def frames(self) -> list[bytes]:
        return [bytes(self.buf[self.index[3 * i] : self.index[3 * i + 1]]) for i in range(self.count)]


def adds_up(account: SourceAccount) -> bool:
    """received = passed + translated + held + dropped, in frames and in bytes."""
    ends = (account.passed, account.translated, account.held, account.dropped)
    return account.received.frames == sum(e.frames for e in ends) and account.received.bytes == sum(
        e.bytes for e in ends
    )


def client(
    payload: bytes = b"", *, seq: int = C_ISN + 1, ack: int = P_ISN + 1, flags: int = ACK, **more: object
) -> bytes:  # fmt: skip
    """A frame of the client's, in the numbers that it knows."""
    more = {"src": CLIENT, "dst": REPLICA, "sport": 40000, "dport": 80, **more}
    return tcp(payload, seq=seq, ack=ack, flags=flags, **more)  # type: ignore[arg-type]


def replica(payload: bytes = b"", *, seq: int, ack: int = C_ISN + 1, flags: int = ACK, **more: object) -> bytes:
    """A frame of a replica's, in that one's own numbers."""
    return tcp(payload, seq=seq, ack=ack, flags=flags, **more)  # type: ignore[arg-type]


CLIENT_SYN = client(seq=C_ISN, ack=0, flags=SYN, options=syn_options())
P_SYN_ACK = replica(seq=P_ISN, flags=SYN | ACK, options=syn_options())
S_SYN_ACK = replica(seq=S_ISN, flags=SYN | ACK, options=syn_options())


class Play:
    """A rewriter with a clock of its own. c, p, s feed it one source's frames and return what goes on at once, taken
    apart; what was released late is in `late`. Checksums and accounts are checked after every step."""

    def __init__(self, *, general: bool = False, **config: object) -> None:
        self.rewriter = Rewriter(Config(**config), now=0.0)  # type: ignore[arg-type]
        if general:
            self.rewriter.use_general_path()
        self.now = 0.0
        self.late: dict[Source, list[bytes]] = {source: [] for source in Source}

    def c(self, *frames: bytes, vnet_len: int = 0) -> list[Packet]:
        return self._translate(Source.CLIENT, frames, vnet_len)

    def p(self, *frames: bytes, vnet_len: int = 0) -> list[Packet]:
        return self._translate(Source.PRIMARY, frames, vnet_len)

    def s(self, *frames: bytes, vnet_len: int = 0) -> list[Packet]:
        return self._translate(Source.SECONDARY, frames, vnet_len)

    def begun(self, *, sees_primary: bool = True) -> "Play":
        """A connection of which all three handshake segments have gone by."""
        self.c(CLIENT_SYN)
        if sees_primary:
            self.p(P_SYN_ACK)
        self.s(S_SYN_ACK)
        assert [packet.ack for packet in self.c(client())] == [S_ISN + 1]
        return self

    def _translate(self, source: Source, frames: tuple[bytes, ...], vnet_len: int) -> list[Packet]:
        batch = Batch(list(frames), vnet_len)
        self.rewriter.translate(source, batch, self.now)
        self.collect()
        return [self.taken_apart(frame, vnet_len) for frame in batch.frames()]

    def collect(self) -> None:
        for source in Source:
            self.late[source] += [frame for frame, _ in self.rewriter.take_released(source)]
        accounting = self.accounting
        for account in (accounting.primary, accounting.secondary, accounting.client):
            assert adds_up(account), account

    def released(self, source: Source, vnet_len: int = 0) -> list[Packet]:
        """What of a source was released late since this was asked last."""
        frames, self.late[source] = self.late[source], []
        return [self.taken_apart(frame, vnet_len) for frame in frames]

    @staticmethod
    def taken_apart(frame: bytes, vnet_len: int) -> Packet:
        packet = parse(frame, 0, len(frame), vnet_len)
        assert packet.fragment is not None or tcp_checksum_is_right(frame, packet)
        return packet

    def after(self, seconds: float) -> "Play":
        """Time passes; what falls due in it is done when it is due."""
        until = self.now + seconds
        while (due := self.rewriter.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.rewriter.tick(self.now)
            self.collect()
            if self.rewriter.next_deadline() == due:
                raise AssertionError(f"tick at {due} left its own deadline behind")
        self.now = until
        return self

    @property
    def accounting(self) -> Accounting:
        return self.rewriter.accounting()

    @property
    def state(self) -> str:
        """The state of the only connection; "" if none is tracked."""
        (tracked,) = self.rewriter.state(self.now) or (None,)
        return tracked.state if tracked else ""

    @property
    def offset(self) -> int | None:
        (tracked,) = self.rewriter.state(self.now)
        return tracked.offset
