"""The topology file: ports, elements and wires, as TOML."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from coloproxy import tables
from coloproxy.compare import config as comparator
from coloproxy.errors import ColoproxyError
from coloproxy.rewrite import config as rewriter

Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Time = Annotated[float, msgspec.Meta(ge=0.0)]
Number32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]

CALLED = "topology file"

VnetHdr = bool | Literal[10, 12, 20]

NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:bit)?(?:/s)?", re.ASCII)
DEVICE = re.compile(r"[^\s/%]{1,15}")  # the kernel's rules, dev_valid_name() in net/core/dev.c
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says so when it is told something it does not know."""


class PortConfig(Strict, frozen=True, kw_only=True):
    """A port; one of tap, packet, socket, vhost_user and capture says of which kind.

    tap: name of a TAP device, made if it is not there. packet: name of a device for a packet socket. netns: the network
    namespace that the device is in, by name or path. vhost_user: an address for a guest's network card. offload: let
    the device, or the card, leave segmentation and checksums to whoever receives. socket: an address for QEMU's
    framing. vnet_hdr: that framing has virtio-net headers; their length, if frames are to leave with this one.
    untaken: what is done with frames that nobody takes. capture: a file to play.
    """

    tap: str | None = None
    packet: str | None = None
    socket: str | None = None
    vhost_user: str | None = None
    capture: str | None = None
    netns: str | None = None
    offload: bool = True
    vnet_hdr: VnetHdr = False
    untaken: Literal["wait", "drop"] = "wait"


class Element(Strict, frozen=True, kw_only=True, tag_field="type"):
    """What is done with frames; `type` says what."""


class Mirror(Element, frozen=True, kw_only=True, tag="mirror"):
    """Sends on what comes in, and the same to `copy`."""


class Redirector(Element, frozen=True, kw_only=True, tag="redirector"):
    """Sends what comes in to the socket `outdev`, and sends on what the socket `indev` brings, as QEMU's
    filter-redirector. vnet_hdr, untaken: as in PortConfig."""

    indev: str | None = None
    outdev: str | None = None
    vnet_hdr: VnetHdr = False
    untaken: Literal["wait", "drop"] = "wait"


class Switch(Element, frozen=True, kw_only=True, tag="switch"):
    """Sends on what comes in by `out`, and after a failover to the secondary by `after`; drops it where that is not
    wired."""


class Strip(Element, frozen=True, kw_only=True, tag="strip"):
    """Takes the timestamps option out of SYNs: no end of the connection will use it."""


class Rewriter(rewriter.Config, Element, frozen=True, kw_only=True, tag="rewriter"):
    """Translates between the secondary's numbers and the primary's. Channels: client, secondary and, where the
    primary's frames can be seen, primary.

    copies: a checkpoint makes the secondary a copy of the primary. False where that can only be pretended, as with
    ordinary processes that say the same: the secondary keeps its numbers, and is brought up to where the primary is.
    """

    copies: bool = True


class ComparatorElement(comparator.Config, Element, frozen=True, kw_only=True, tag="comparator"):
    """Releases what both replicas said. Inputs: primary, secondary. notify_dev: where checkpoints are asked for;
    vnet_hdr: what is said to us there has a second word for a length, as with QEMU's vnet_hdr_support.
    rules: a rules file. evidence: a folder for captures of what differed."""

    notify_dev: str | None = None
    vnet_hdr: bool = False
    rules: str | None = None
    evidence: str | None = None


class Buffer(Element, frozen=True, kw_only=True, tag="buffer"):
    """Keeps what comes in and lets all of it go on every `interval` microseconds, as QEMU's filter-buffer. limit:
    frames that may wait; what is more is lost."""

    interval: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    limit: Annotated[int, msgspec.Meta(ge=1)] = 10000


class Dump(Element, frozen=True, kw_only=True, tag="dump"):
    """Writes what passes into a pcapng file."""

    file: str
    maxlen: Annotated[int, msgspec.Meta(ge=1)] = 65536


class Impair(Element, frozen=True, kw_only=True, tag="impair"):
    """A bad network, the same one each time with the same seed. loss, duplicate, reorder: probabilities. delay, jitter:
    milliseconds. rate: bits a second, such as "1G". limit: frames that may wait; what is more is lost."""

    seed: int = 1
    loss: Probability = 0.0
    duplicate: Probability = 0.0
    reorder: Probability = 0.0
    delay: Time = 0.0
    jitter: Time = 0.0
    rate: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 10000

    @property
    def bits_per_second(self) -> float | None:
        """The rate. Raises ColoproxyError if it says none."""
        if self.rate is None:
            return None
        match = RATE.fullmatch(self.rate.strip())
        if match is None or not float(match[1]):
            raise ColoproxyError(f"rate = {self.rate!r} is no good: write bits a second, such as 100M or 1G.")
        return float(match[1]) * UNITS[match[2]]


class Renumber(Element, frozen=True, kw_only=True, tag="renumber"):
    """Has a replica count from elsewhere: its sequence numbers and timestamps are moved. Channels: client, toward the
    replica, and replica, from it."""

    isn: Number32 = 0
    timestamp: Number32 = 0


class Alter(Element, frozen=True, kw_only=True, tag="alter"):
    """Changes one byte of each TCP stream that passes, at this offset."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None


ElementConfig = (
    Mirror | Redirector | Switch | Strip | Rewriter | ComparatorElement | Buffer | Dump | Impair | Renumber | Alter
)


class Topology(Strict, frozen=True, kw_only=True):
    """A whole file. events: a file for events, "-" for standard output. control: an address for commands."""

    wires: Annotated[list[str], msgspec.Meta(min_length=1)]
    port: dict[str, PortConfig] = {}
    element: dict[str, ElementConfig] = {}
    name: str = ""
    events: str | None = None
    control: str | None = None
    trace: list[str] = []
    trace_file: str | None = None


KINDS = ("tap", "packet", "socket", "vhost_user", "capture")
ONLY = {"netns": ("tap", "packet"), "offload": ("tap", "vhost_user"), "vnet_hdr": ("socket",), "untaken": ("socket",)}
PLAIN = PortConfig()


def check(name: str, port: PortConfig) -> str:
    """What kind of port it is. Raises ColoproxyError if that is not one of KINDS, or is told what is not for it."""
    given = [kind for kind in KINDS if getattr(port, kind) is not None]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "none is given"
        raise ColoproxyError(f"port {name}: {said}; give one of {', '.join(KINDS)}.")
    found = given[0]
    for key, kinds in ONLY.items():
        if getattr(port, key) != getattr(PLAIN, key) and found not in kinds:
            raise ColoproxyError(f"port {name}: {key} is for {' and '.join(kinds)}, not for {found}.")
    device = port.tap if found == "tap" else port.packet
    if device is not None and not DEVICE.fullmatch(device):
        raise ColoproxyError(
            f"port {name}: {found} = {device!r} is no device's name: 1 to 15 characters without blanks, / and %."
        )
    return found


def load(path: Path) -> Topology:
    """Read a topology file. Raises ColoproxyError, naming the key, for what is not as it must be."""
    return convert(tables.load(path, CALLED), f"{CALLED} {path}")


def convert(table: dict[str, Any], where: str) -> Topology:
    """A topology from its table. Raises ColoproxyError."""
    plain: Topology = tables.convert({**table, "port": {}, "element": {}}, Topology, where)
    port = {
        name: tables.convert(each, PortConfig, f"{where}: port {name}")
        for name, each in _section(table, "port", where).items()
    }
    element = {
        name: tables.convert(each, ElementConfig, f"{where}: element {name}")
        for name, each in _section(table, "element", where).items()
    }
    for name in port:
        if name in element:
            raise ColoproxyError(f"{where}: '{name}' is a port and an element; each needs a name of its own.")
    return msgspec.structs.replace(plain, port=port, element=element)


def _section(table: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    section = table.get(key, {})
    if not isinstance(section, dict):
        raise ColoproxyError(f"{where}: {key} is no table; write [{key}.NAME].")
    for name in section:
        if not NAME.fullmatch(name):
            raise ColoproxyError(f"{where}: {key} '{name}': a name is a letter, then letters, digits, _ and -.")
    return section
