"""What a comparator may be told. Every value has the default that is right for live replicas."""

from typing import Annotated, Literal

import msgspec

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
MillisecondsOrNone = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one comparator. Times are milliseconds, sizes are bytes, limits count frames or connections.

    tcp_match: "sequence" compares streams place by place; "packet" whole packets, as was done before 2018.
    isn: "shared" when both replicas number their bytes alike (live, behind a rewriter);
        "relative" when each keeps its own initial sequence number (two captures).
    ack_rule: "clamp" lowers acknowledgements to what both replicas have; "hold" keeps such frames back, unaltered.
    prefix_release: let the verified beginning of a large frame leave as a frame of its own.
    on_divergence: "hold" keeps what differs until a checkpoint; "release" reports it, lets the primary's leave and goes
        on comparing; "alarm" reports it, and that connection passes uncompared from then on; "cut" reports it and
        resets a TCP connection, and is "alarm" for everything else.
    reorder_grace: how long the oldest datagram may lack its partner while the other side has unmatched ones.
    retry_after: a checkpoint that nobody reported complete within this time is asked for again.
    max_held_bytes: of one side, 512 counted for each frame besides its own: as much memory as holding it may take.
    min_interval: the least time between two requests.
    epoch_grace: for how long after a checkpoint frames of the old epoch may still trickle in from the secondary.
    """

    tcp_match: Literal["sequence", "packet"] = "sequence"
    isn: Literal["shared", "relative"] = "shared"
    ack_rule: Literal["clamp", "hold"] = "clamp"
    prefix_release: bool = True
    malformed: Literal["pass", "refuse"] = "pass"
    on_divergence: Literal["hold", "release", "alarm", "cut"] = "hold"
    compare_timeout: Milliseconds = 3000
    expired_scan_cycle: Milliseconds = 1000
    reorder_grace: MillisecondsOrNone = 10
    retry_after: Milliseconds = 5000
    min_interval: MillisecondsOrNone = 0
    epoch_grace: MillisecondsOrNone = 20
    max_queue_size: Count = 1024
    max_held_bytes: Count = 64 << 20
    max_connections: Count = 131072
    max_fragment_bytes: Count = 4 << 20
    fragment_timeout: Milliseconds = 30000
