"""What the proxy tells the process that serves its page, and what that one asks of it: lines of JSON.

The proxy speaks first, `Hello`. Then it tells what happens as it happens, and a `Picture` of itself twice a second.
Times called `wall` are seconds since 1970; bytes are base64.
"""

from typing import Literal

import msgspec

from coloproxy.compare.events import Accounting, ConnectionState, Counts, Event
from coloproxy.compare.rules import Rule


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Who speaks. started: wall. token: what control needs; None: there is no control. timeout: seconds at which
    what is held is a divergence."""

    name: str
    command: Literal["compare", "run", "guest"]
    version: str
    pid: int
    started: float
    compiled: bool
    hosts: list[str] = []
    token: str | None = None
    timeout: float


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A socket or a port. peers: how many it has had. pending: bytes that wait to leave. What a gate does not count
    is None."""

    name: str
    connected: bool
    peers: int | None = None
    pending: int = 0
    received: Counts | None = None
    sent: Counts | None = None
    dropped: Counts | None = None


class Pane(msgspec.Struct, frozen=True, kw_only=True):
    """One comparator. connections, waiting, diverged, unprotected: as in `Survey`. primary_age, secondary_age: seconds
    for which the oldest has waited of what is held of either side."""

    epoch: int
    checkpoint_pending: bool
    survivor: str | None
    connections: int
    waiting: int
    diverged: int
    unprotected: int
    primary_age: float
    secondary_age: float
    accounting: Accounting


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent of a guest's host is doing. host: its own; other: the other's. role: primary, secondary or none.
    peer: the state of the other agent; None: it is not there. generation: of the lease. checkpoints: so many made.
    looks: as in `Protection`; title and why: the state in words."""

    host: str
    other: str
    state: str
    role: str
    peer: str | None
    generation: int
    checkpoints: int
    looks: str
    title: str
    why: str


class Picture(msgspec.Struct, frozen=True, kw_only=True, tag="picture"):
    """The proxy at this moment. lags: how late the loop was with what was due, in cells like an account's waits;
    lagged: their sum in seconds. cpu: seconds of processor time used; memory: bytes resident. lost: messages that found
    no room on their way to the page, by kind. guest: where the proxy is a guest's agent."""

    wall: float
    panes: dict[str, Pane]
    gates: list[Gate]
    lags: list[int]
    lagged: float
    cpu: float
    memory: int
    lost: dict[str, int]
    guest: Guest | None = None


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag="happened"):
    """An event. number: divergences are numbered from 1."""

    wall: float
    event: Event
    number: int | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that is evidence."""

    side: str
    wall: float
    vnet_len: int
    data: bytes


class Evidenced(msgspec.Struct, frozen=True, kw_only=True, tag="evidence"):
    """The frames around the divergence of this number. more: so many that were too large to be told."""

    number: int
    frames: list[Seen]
    more: int = 0


class Row(ConnectionState, frozen=True, kw_only=True):
    """A connection in the list; `key` is what it is asked for by."""

    key: str


class Connections(msgspec.Struct, frozen=True, kw_only=True, tag="connections"):
    """Up to so many connections, those that hold frames first, of `total`."""

    wall: float
    total: int
    listed: list[Row]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Held frames that are neighbours. begin, end: bytes from `verified` on, or of datagrams just their sizes added up.
    age: seconds, of the oldest."""

    begin: int
    end: int
    frames: int
    age: float


class Streams(msgspec.Struct, frozen=True, kw_only=True, tag="streams"):
    """One connection, looked into. Places are counted from `verified`, which has number `seq` and is byte `offset` of
    the stream: released (at most 0) is where what has left ends. primary, secondary: what is held. fins: where either
    stream ends, if that is known. acknowledged: how many bytes of the client's the primary has acknowledged beyond the
    secondary; None: not both have. more: spans that are not told. why: what it waits for, in words."""

    key: str
    wall: float
    gone: bool = False
    ordered: bool = True
    state: ConnectionState | None = None
    rule: str = ""
    seq: int | None = None
    offset: int | None = None
    released: int = 0
    primary: list[Span] = []
    secondary: list[Span] = []
    fins: tuple[int | None, int | None] = (None, None)
    acknowledged: int | None = None
    more: int = 0
    why: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """To a request: the rules in force afterwards, by comparator; or why that could not be done."""

    request: int
    rules: dict[str, list[Rule]] = {}
    error: str | None = None


Told = Hello | Picture | Happened | Evidenced | Connections | Streams | Answer


class Want(msgspec.Struct, frozen=True, kw_only=True, tag="want"):
    """What is looked at now: the list of connections, and single ones by key."""

    connections: bool = False
    streams: list[str] = []


class AskRules(msgspec.Struct, frozen=True, kw_only=True, tag="rules"):
    """Which rules are in force?"""

    request: int


class AddRule(msgspec.Struct, frozen=True, kw_only=True, tag="add"):
    """Put this rule in front of all others."""

    request: int
    rule: Rule


Asked = Want | AskRules | AddRule
