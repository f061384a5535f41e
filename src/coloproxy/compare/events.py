"""Everything a comparator, and the process around it, has to say: one record a happening, one JSON object a line.

The records are the schema: `coloproxy compare --events-schema` prints it as JSON Schema, made from these types.
Times are seconds on the clock that was passed in as `now`; bytes are written as hexadecimal text.
"""

import enum

import msgspec


class Side(enum.IntEnum):
    """Which replica a frame came from."""

    PRIMARY = 0
    SECONDARY = 1

    @property
    def label(self) -> str:
        return self.name.lower()


class Reason(enum.StrEnum):
    """Why a checkpoint is needed."""

    TCP_PAYLOAD = "tcp_payload"
    TCP_OVERLAP = "tcp_overlap"
    TCP_FIN = "tcp_fin"
    TCP_RST = "tcp_rst"
    TCP_SYN_OPTIONS = "tcp_syn_options"
    TCP_RESTART = "tcp_restart"
    TCP_ACK_TIMEOUT = "tcp_ack_timeout"
    TCP_PACKET = "tcp_packet"
    UDP_PAYLOAD = "udp_payload"
    UDP_LENGTH = "udp_length"
    ICMP_PAYLOAD = "icmp_payload"
    ICMP_LENGTH = "icmp_length"
    OTHER_PAYLOAD = "other_payload"
    OTHER_LENGTH = "other_length"
    TIMEOUT_PRIMARY_ONLY = "timeout_primary_only"
    TIMEOUT_SECONDARY_ONLY = "timeout_secondary_only"
    FRAGMENT_OVERLAP = "fragment_overlap"
    QUEUE_LIMIT = "queue_limit"
    MEMORY_LIMIT = "memory_limit"


class Endpoints(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection, as seen from the replica: it is the source, its client the destination."""

    protocol: str
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    identifier: int = 0
    vlan: tuple[int, ...] = ()

    def __str__(self) -> str:
        def end(address: str, port: int) -> str:
            host = f"[{address}]" if ":" in address and port else address
            return f"{host}:{port}" if port else host

        tags = "".join(f" vlan {tag}" for tag in self.vlan)
        ident = f" id {self.identifier}" if self.identifier else ""
        source, destination = end(self.source, self.source_port), end(self.destination, self.destination_port)
        return f"{self.protocol} {source} > {destination}{ident}{tags}"


class Held(msgspec.Struct, frozen=True):
    """What one side of a connection has waiting: frames, bytes, and the age of the oldest in seconds."""

    frames: int = 0
    bytes: int = 0
    oldest_age: float = 0.0


class Divergence(msgspec.Struct, frozen=True, kw_only=True, tag="divergence", tag_field="event"):
    """The replicas differ. `seq` is the primary's number of the first differing place of a TCP stream,
    `stream_offset` its distance from the first byte of the stream seen; `primary` and `secondary` are up to 64 bytes
    around that place, beginning `context_offset` bytes before it; `rule` is the rule that had the connection compared.
    """

    time: float
    epoch: int
    reason: Reason
    connection: Endpoints | None
    detail: str
    rule: str
    seq: int | None = None
    stream_offset: int | None = None
    primary: str = ""
    secondary: str = ""
    context_offset: int = 0
    held_primary: Held = Held()
    held_secondary: Held = Held()


class CheckpointRequested(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint_requested", tag_field="event"):
    """A checkpoint is asked for: the first divergence, in full; `reasons` counts all that are waiting for it;
    `attempt` is 1, and more when an earlier request went unanswered."""

    time: float
    epoch: int
    attempt: int
    reason: Reason
    connection: Endpoints | None
    detail: str
    rule: str
    reasons: dict[str, int]
    seq: int | None = None
    stream_offset: int | None = None
    primary: str = ""
    secondary: str = ""
    context_offset: int = 0
    held_primary: Held = Held()
    held_secondary: Held = Held()


class CheckpointCompleted(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint_completed", tag_field="event"):
    """The secondary is a copy of the primary; `epoch` is the new one. `took` is seconds since the request, if any."""

    time: float
    epoch: int
    released_frames: int
    dropped_frames: int
    took: float | None = None


class CheckpointFailed(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint_failed", tag_field="event"):
    """A checkpoint was tried and came to nothing; nothing was released."""

    time: float
    epoch: int


class FailedOver(msgspec.Struct, frozen=True, kw_only=True, tag="failed_over", tag_field="event"):
    """One replica goes on alone; `released_frames` and `dropped_frames` say what became of the primary's held ones."""

    time: float
    survivor: str
    released_frames: int
    dropped_frames: int


class ConnectionEvicted(msgspec.Struct, frozen=True, kw_only=True, tag="connection_evicted", tag_field="event"):
    """The table was full and a connection was forgotten. `dropped_frames` counts the secondary's held frames lost."""

    time: float
    connection: Endpoints
    idle: float
    dropped_frames: int


class FrameRefused(msgspec.Struct, frozen=True, kw_only=True, tag="frame_refused", tag_field="event"):
    """A frame was not taken: malformed (and told to refuse those), refused by rule, or of a length no frame has."""

    time: float
    side: str
    reason: str
    detail: str
    length: int


class PeerConnected(msgspec.Struct, frozen=True, kw_only=True, tag="peer_connected", tag_field="event"):
    """A socket of the proxy has its peer. `role` is primary_in, secondary_in, outdev or notify_dev."""

    time: float
    role: str
    address: str
    connections: int


class PeerLost(msgspec.Struct, frozen=True, kw_only=True, tag="peer_lost", tag_field="event"):
    """A socket of the proxy lost its peer; `forgotten_bytes` of a half-read frame went with it."""

    time: float
    role: str
    address: str
    reason: str
    forgotten_bytes: int = 0


class Warned(msgspec.Struct, frozen=True, kw_only=True, tag="warning", tag_field="event"):
    """Something is odd but work goes on."""

    time: float
    text: str


class GuestRingBroken(msgspec.Struct, frozen=True, kw_only=True, tag="guest_ring_broken", tag_field="event"):
    """A guest's network driver did what it must not: this ring is left alone until the driver starts it anew. `unsaid`
    warnings of this port were left out before, for they came too often."""

    time: float
    port: str
    ring: str
    text: str
    unsaid: int = 0


class Counts(msgspec.Struct, frozen=True):
    """Frames and their bytes (virtio-net headers included)."""

    frames: int = 0
    bytes: int = 0


class SideAccount(msgspec.Struct, frozen=True):
    """Where one side's frames ended. received = released + passed + held + dropped + refused, at any moment."""

    received: Counts = Counts()
    released: Counts = Counts()
    passed: Counts = Counts()
    held: Counts = Counts()
    dropped: Counts = Counts()
    refused: Counts = Counts()


class Accounting(msgspec.Struct, frozen=True):
    """Both sides' accounts. `made` are frames the comparator made itself: parts of large ones, late acknowledgements.
    `malformed` and `divergences` count by reason; `clamped` are released frames whose acknowledgement was lowered.
    `waits` says for how long the primary's frames were held, where that is measured: cell by cell how many, the first
    for up to 64 microseconds, each further one for up to twice as long as the one before, the last for longer; frames
    that left at once are in none. `waited` is the sum in seconds."""

    primary: SideAccount = SideAccount()
    secondary: SideAccount = SideAccount()
    made: Counts = Counts()
    clamped: int = 0
    checkpoints_requested: int = 0
    checkpoints_completed: int = 0
    connections_opened: int = 0
    connections_evicted: int = 0
    verified_bytes: int = 0
    malformed: dict[str, int] = {}
    divergences: dict[str, int] = {}
    waits: list[int] = []
    waited: float = 0.0


class ConnectionState(msgspec.Struct, frozen=True, kw_only=True):
    """One connection as it stands. `verified` is the place (TCP sequence number) up to which both sides agree;
    `verified_bytes` how much that is; `diverged` the reason it waits for a checkpoint, if it does. `unprotected`: it
    has diverged, and passes uncompared since."""

    connection: Endpoints
    held_primary: Held
    held_secondary: Held
    idle: float
    verified: int | None = None
    verified_bytes: int = 0
    diverged: Reason | None = None
    unprotected: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True, tag="state", tag_field="event"):
    """The comparator at this moment; `connections` lists at most `limit` of them, those that hold frames first."""

    time: float
    epoch: int
    checkpoint_pending: bool
    connection_count: int
    connections: list[ConnectionState]
    accounting: Accounting


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag="summary", tag_field="event"):
    """The last line: the whole accounting. `outdev_bytes` left through the output socket; `unsent_bytes` did not."""

    time: float
    accounting: Accounting
    connections: int
    epoch: int
    refused_lengths: dict[str, int] = {}
    outdev_bytes: int = 0
    unsent_bytes: int = 0


class Running(msgspec.Struct, frozen=True, kw_only=True, tag="running", tag_field="event"):
    """All ports of a topology are open: frames pass from now on."""

    time: float
    name: str
    ports: list[str]


class PortAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A port's frames: received from outside, sent there, dropped for want of room or of a taker; `pending` bytes
    wait."""

    received: Counts = Counts()
    sent: Counts = Counts()
    dropped: Counts = Counts()
    pending: int = 0


class TopologyState(msgspec.Struct, frozen=True, kw_only=True, tag="topology_state", tag_field="event"):
    """A topology at this moment: what passed its ports, and what its elements count."""

    time: float
    name: str
    ports: dict[str, PortAccount]
    elements: dict[str, dict[str, int]]


class TopologySummary(TopologyState, frozen=True, kw_only=True, tag="topology_summary", tag_field="event"):
    """The last line of a topology's run. `cpu_seconds` is what the process used."""

    cpu_seconds: float = 0.0


class AgentChanged(msgspec.Struct, frozen=True, kw_only=True, tag="agent_changed", tag_field="event"):
    """A guest's agent is in another state: `happened` names what brought it there, `detail` says more."""

    time: float
    guest: str
    host: str
    before: str
    after: str
    happened: str
    detail: str = ""


class CopyProgress(msgspec.Struct, frozen=True, kw_only=True, tag="copy_progress", tag_field="event"):
    """How far the first copy of a guest's disk, if it writes to one, and then of its memory has come, in bytes."""

    time: float
    guest: str
    what: str
    transferred: int
    remaining: int
    total: int


class GuestCheckpoint(msgspec.Struct, frozen=True, kw_only=True, tag="guest_checkpoint", tag_field="event"):
    """A checkpoint of a guest was made. `asked` counts what asked for it; `took` is seconds from the first request
    until the primary ran again, `paused` seconds for which it stood still."""

    time: float
    guest: str
    number: int
    asked: dict[str, int]
    took: float
    paused: float


class TakenOver(msgspec.Struct, frozen=True, kw_only=True, tag="taken_over", tag_field="event"):
    """A guest goes on on this host alone. `steps` are seconds from when the other side counted as lost, in order."""

    time: float
    guest: str
    host: str
    role: str
    why: str
    generation: int
    steps: dict[str, float]


Event = (
    Divergence
    | CheckpointRequested
    | CheckpointCompleted
    | CheckpointFailed
    | FailedOver
    | ConnectionEvicted
    | FrameRefused
    | PeerConnected
    | PeerLost
    | GuestRingBroken
    | Warned
    | State
    | Summary
    | Running
    | TopologyState
    | TopologySummary
    | AgentChanged
    | CopyProgress
    | GuestCheckpoint
    | TakenOver
)
