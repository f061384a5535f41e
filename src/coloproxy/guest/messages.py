"""What two agents say to each other beside frames, as JSON within the framing of their connection."""

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="say"):
    """One of these."""


class Hello(Message, frozen=True, tag="hello"):
    """Who this is, and for which guest; in what state, from how new a coloproxy."""

    guest: str
    host: str
    state: str
    version: str


class Beat(Message, frozen=True, tag="beat"):
    """A sign of life, and the state. said: when, by the clock of who says it."""

    state: str
    said: float


class Heard(Message, frozen=True, tag="heard"):
    """The answer to that, at once."""

    said: float


class Receive(Message, frozen=True, tag="receive"):
    """Start QEMU for a copy. generation: of the lease; disk: bytes of the one that is written, 0 for none."""

    generation: int
    disk: int = 0


class Ready(Message, frozen=True, tag="ready"):
    """QEMU waits for the copy; `text` says why not, if it does not."""

    text: str = ""


class Numbers(Message, frozen=True, tag="numbers"):
    """Connections of the guest whose numbers are not those their clients know: of each, what a rewriter knows."""

    connections: list[list[object]]


class Paired(Message, frozen=True, tag="paired"):
    """The lease names both."""

    generation: int


class Running(Message, frozen=True, tag="running"):
    """The copy runs, and hears what clients say."""


class Stopped(Message, frozen=True, tag="stopped"):
    """The secondary's guest has stopped for a checkpoint; all it had said is in front of this."""


class Loaded(Message, frozen=True, tag="loaded"):
    """It runs again, as a copy; all it says from now on is behind this."""


class Yielded(Message, frozen=True, tag="yielded"):
    """The primary gives up its guest: the secondary is to live."""


class Parted(Message, frozen=True, tag="parted"):
    """The copy is of no use any more; `text` says why."""

    text: str


Any = Hello | Beat | Heard | Receive | Ready | Numbers | Running | Paired | Stopped | Loaded | Yielded | Parted

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Any).decode
