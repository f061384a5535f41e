"""What the parts of one comparison share."""

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from coloproxy.compare.events import Endpoints
from coloproxy.compare.explain import describe
from coloproxy.offline.judge import Judge
from coloproxy.offline.report import Findings
from coloproxy.packet.parse import Kind

if TYPE_CHECKING:
    from coloproxy.offline.stream import Stream

NAMES = ("primary", "secondary")
CONTEXT = 64  # bytes shown of what only one side has
FRAMES = 32  # frame numbers kept of it


class Shared(msgspec.Struct, kw_only=True):
    """waiting: bytes held back of each side. times: that of the record each side has come to, nanoseconds since 1970.
    begins: when each capture begins; None unless both were taken at one time. over: the sides that have been read to
    their end. broken: those of them that could not be read to the end of the file. used: how often the comparator has
    seen a connection's ends. let_go: streams of which some waits no longer."""

    judge: Judge
    findings: Findings
    begins: tuple[int, int] | None
    waiting: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    times: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    over: list[bool] = msgspec.field(default_factory=lambda: [False, False])
    broken: list[bool] = msgspec.field(default_factory=lambda: [False, False])
    used: Counter[tuple[Kind, bytes]] = msgspec.field(default_factory=Counter)
    let_go: set["Stream"] = msgspec.field(default_factory=set)

    def turn(self, name: "Origin") -> int:
        """How many connections with the same ends the comparator has seen: in other VLANs, or at other times."""
        ends = name.kind, name.ends
        self.used[ends] += 1
        return self.used[ends] - 1

    def began_later(self, side: int, time: int) -> bool:
        """Whether the other side's capture begins only after this time."""
        return self.begins is not None and time < self.begins[1 - side]


class Origin(NamedTuple):
    """One side's name for a connection: its kind, its key as the parser makes it, the rule that has it compared."""

    kind: Kind
    key: bytes
    rule: str

    @property
    def endpoints(self) -> Endpoints:
        return describe(self.kind, self.key)

    @property
    def ends(self) -> bytes:
        """The key without VLAN tags."""
        addresses = 32 if self.long else 8
        return self.key[: addresses + (1 if self.kind == Kind.OTHER else 4)]

    @property
    def long(self) -> bool:
        """Whether the addresses are IPv6's."""
        return len(self.key) >= (33 if self.kind == Kind.OTHER else 36)  # three tags make an IPv4 key no longer than 24
