"""What a rewriter may be told. Every value has the default that is right for live replicas."""

from typing import Literal

import msgspec

from coloproxy.compare.config import Count, Milliseconds


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one rewriter. Times are milliseconds, sizes are bytes, limits count frames or connections.

    timestamps: what is done with TCP's timestamps option (RFC 7323). "strip" takes it out of every SYN, so that no end
        uses it; "translate" shifts it as sequence numbers are; "keep" leaves it alone, which stacks that check what
        is echoed to them (recent ones do) answer with silence.
    idle_timeout: for how long an established connection may be silent before it is forgotten.
    transitory_timeout: the same for one that is opening, closing or closed (twice the maximum segment lifetime of
        RFC 9293, 3.4.2; RFC 5382, 5, asks as much of address translators).
    hold_timeout: for how long a frame waits for the numbers that its translation needs, before it is dropped.
    max_held_frames: frames of one connection that may wait so; max_held_bytes: of all connections.
    """

    timestamps: Literal["strip", "translate", "keep"] = "strip"
    max_connections: Count = 131072
    idle_timeout: Milliseconds = 432_000_000
    transitory_timeout: Milliseconds = 240_000
    hold_timeout: Milliseconds = 5000
    max_held_frames: Count = 64
    max_held_bytes: Count = 4 << 20
