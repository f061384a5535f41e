"""What a run is to do. All of it is told here, and the same plan gives the same run."""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from coloproxy.errors import ColoproxyError

WORKLOADS = ("ftp-get", "ftp-put", "http", "many", "rr", "udp", "ping")
COUNTS = {"ftp-get": 1, "ftp-put": 1, "http": 1, "many": 500, "rr": 5000, "udp": 2000, "ping": 200}
SIZES = {"ftp-get": 200 << 20, "ftp-put": 200 << 20, "http": 200 << 20, "udp": 1000, "ping": 56}
LARGEST = {"udp": 65507 - 20, "ping": 65000}  # bytes of a datagram; the IPv6 header is larger by 20
LEGS = ("from-client", "to-client", "to-primary", "from-primary", "to-secondary", "from-secondary")

Name = Literal["ftp-get", "ftp-put", "http", "many", "rr", "udp", "ping"]
Replica = Literal["primary", "secondary"]
Path_ = Literal["direct", "forward", "compare"]
Ports = Literal["tap", "packet"]
Timestamps = Literal["strip", "translate", "keep"]
Ftp = Literal["pyftpdlib", "vsftpd"]
Web = Literal["own", "nginx"]
Leg = Literal["from-client", "to-client", "to-primary", "from-primary", "to-secondary", "from-secondary"]

BINARY = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of which no field can be misspelled."""


class Workload(Struct, frozen=True, kw_only=True):
    """What a client does: `count` transfers, connections, round trips or datagrams, or as many as there is time for
    (`seconds`), `parallel` of them at a time. `size`: bytes of each transfer or datagram. family: 4 or 6."""

    name: Name
    family: Literal[4, 6] = 4
    count: int = 1
    size: int = 0
    parallel: int = 1
    seconds: float | None = None


class Impairment(Struct, frozen=True, kw_only=True):
    """A bad leg: probabilities, milliseconds, bits a second, and the number of frames that may wait."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    rate: str | None = None
    limit: int = 10000


class Fault(Struct, frozen=True, kw_only=True):
    """One byte of each of a replica's TCP streams is changed, at this offset; with `port`, only of those from there."""

    replica: Replica
    offset: int
    port: int | None = None


class Action(Struct, frozen=True, kw_only=True):
    """Something that happens on the way. `at`: the part of the work that is done by then, or `after`: seconds.

    pause: the replica's processes stand still for `seconds`. kill: they are killed and its network is cut; the proxy is
    told of it `seconds` later.
    """

    what: Literal["pause", "kill"]
    replica: Replica
    seconds: float = 0.0
    at: float = 0.5
    after: float | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """A run.

    path: direct (client and server joined), forward (through a plain forwarder), compare (two replicas, the whole
    scheme). ports: how the proxy gets at frames; None: as this machine allows. rate: bits a second of every network
    card. skew: the secondary counts from elsewhere. compare: settings of the comparator. server, client: commands of
    the user's in place of ours. ftp, web: which servers. keep: a folder for topology, events and logs; dump: and
    for captures of every leg. timeout: seconds for the whole work. page: the descriptor of a socket that listens, where
    the proxy serves its page.
    """

    workloads: tuple[Workload, ...] = ()
    path: Path_ = "compare"
    ports: Ports | None = None
    rate: float | None = None
    legs: dict[Leg, Impairment] = {}
    skew: bool = False
    seed: int = 1
    faults: tuple[Fault, ...] = ()
    actions: tuple[Action, ...] = ()
    timestamps: Timestamps = "strip"
    compare: dict[str, Any] = {}
    server: str | None = None
    client: str | None = None
    ftp: Ftp = "pyftpdlib"
    web: Web = "own"
    keep: Path | None = None
    dump: bool = False
    timeout: float = 300.0
    page: int | None = None

    @property
    def replicas(self) -> tuple[Replica, ...]:
        return ("primary", "secondary") if self.path == "compare" else ("primary",)


def check(plan: Plan) -> None:
    """Raises ColoproxyError for a plan that cannot be carried out."""
    if not plan.workloads and not (plan.server and plan.client):
        raise ColoproxyError(f"nothing to do: name a workload ({', '.join(WORKLOADS)}), or give --server and --client.")
    if plan.workloads and (plan.server or plan.client):
        raise ColoproxyError("a workload brings its own server and client: give either it or --server and --client.")
    if plan.path == "direct" and (plan.legs or plan.faults or plan.skew or plan.dump):
        raise ColoproxyError("the direct path has no proxy that could impair, alter, skew or dump: use another path.")
    named = [fault.replica for fault in plan.faults] + [action.replica for action in plan.actions]
    if ("secondary" in named or plan.skew or any("secondary" in leg for leg in plan.legs)) and plan.path != "compare":
        raise ColoproxyError(f"there is no secondary on the {plan.path} path: use --path compare.")
    if plan.path != "compare" and any(action.what == "kill" for action in plan.actions):
        raise ColoproxyError(f"nobody goes on when the {plan.path} path's server is killed: use --path compare.")
    if plan.page is not None and plan.path == "direct":
        raise ColoproxyError("the direct path has no proxy, and no page: use another path.")
    if plan.dump and plan.keep is None:
        raise ColoproxyError("captures need a place to be kept: give --keep DIR.")
    for workload in plan.workloads:
        if workload.size > LARGEST.get(workload.name, workload.size):
            raise ColoproxyError(f"{workload.name}: at most {LARGEST[workload.name]} bytes go into one datagram.")
    if plan.ftp == "vsftpd" and any(each.name == "ftp-put" for each in plan.workloads):
        raise ColoproxyError("ftp-put needs a server that checks what it is sent: use --ftp pyftpdlib.")
    if plan.ftp == "vsftpd" and any(each.name == "ftp-get" and each.parallel > 1 for each in plan.workloads):
        raise ColoproxyError("vsftpd's data ports agree for one client at a time only: use --ftp pyftpdlib.")


def workload(
    text: str, family: Literal[4, 6], count: int | None, size: int | None, parallel: int, seconds: float | None
) -> Workload:
    """A workload from NAME or NAME:SIZE, with what is usual where nothing is said. Raises ColoproxyError."""
    name, colon, own_size = text.partition(":")
    if name not in WORKLOADS:
        raise ColoproxyError(f"workload '{name}' is unknown; there are {', '.join(WORKLOADS)}.")
    if colon:
        size = bytes_of(own_size)
    return Workload(
        name=name,  # type: ignore[arg-type]
        family=family,
        count=COUNTS[name] if count is None else count,
        size=SIZES.get(name, 1) if size is None else size,
        parallel=parallel,
        seconds=seconds,
    )


# Values as a user writes them


def bytes_of(text: str) -> int:
    """A size such as 200M, in binary units. Raises ColoproxyError."""
    return int(_number(text, BINARY, "size", "200M or 1G"))


def bits_of(text: str) -> float:
    """A rate such as 1G, in decimal units, as networks have them. Raises ColoproxyError."""
    return _number(text, DECIMAL, "rate", "100M or 1G")


def _number(text: str, units: dict[str, int], what: str, example: str) -> float:
    match = NUMBER.fullmatch(text)
    if match is None or not float(match[1]):
        raise ColoproxyError(
            f"{what} '{text}' is no good: write a number above 0, then k, M, G or nothing, as {example}."
        )
    return float(match[1]) * units[match[2]]


def impairment(text: str) -> tuple[list[Leg], Impairment]:
    """The legs and what is wrong with them, from LEG:KEY=VALUE,...; a leg is one of LEGS, or client, primary,
    secondary for both directions, or left out for all. Raises ColoproxyError."""
    name, colon, rest = text.rpartition(":")
    legs: list[Leg] = [leg for leg in LEGS if not colon or leg == name or leg.partition("-")[2] == name]  # type: ignore[misc]
    if not legs:
        known = ", ".join([*dict.fromkeys(leg.partition("-")[2] for leg in LEGS), *LEGS])
        raise ColoproxyError(f"impairment '{text}': no leg '{name}'; there are {known}.")
    values: dict[str, float | int | str] = {}
    for pair in rest.split(","):
        key, equals, value = pair.partition("=")
        if key not in Impairment.__struct_fields__ or not equals:
            wrong = f"'{key}' is no key" if equals else f"'{pair}' is no KEY=VALUE"
            raise ColoproxyError(f"impairment '{text}': {wrong}; keys are {', '.join(Impairment.__struct_fields__)}.")
        if key == "rate":
            bits_of(value)
        values[key] = value if key == "rate" else _quantity(text, key, value)
    return legs, Impairment(**values)  # type: ignore[arg-type]


def _quantity(text: str, key: str, value: str) -> float | int:
    """A probability (0.01 or 1%), milliseconds, or a whole number."""
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        raise ColoproxyError(f"impairment '{text}': {key} = '{value}' is no number.") from None
    if number < 0 or (key in ("loss", "duplicate", "reorder") and number > 1):
        raise ColoproxyError(f"impairment '{text}': {key} = '{value}' is out of range.")
    return int(number) if key == "limit" else number


def fault(text: str) -> Fault:
    """A fault, from REPLICA:OFFSET or REPLICA:OFFSET@PORT. Raises ColoproxyError."""
    match = re.fullmatch(r"(primary|secondary):(\d+)(?:@(\d+))?", text)
    if match is None:
        raise ColoproxyError(f"fault '{text}' is no good: write REPLICA:OFFSET[@PORT], as secondary:1000.")
    return Fault(replica=match[1], offset=int(match[2]), port=int(match[3]) if match[3] else None)  # type: ignore[arg-type]


def action(what: Literal["pause", "kill"], text: str) -> Action:
    """An action, from REPLICA[:SECONDS][@WHEN], where WHEN is 30% of the work, or seconds as in 1.5s.

    Raises ColoproxyError.
    """
    match = re.fullmatch(r"(primary|secondary)(?::(\d+(?:\.\d+)?))?(?:@(\d+(?:\.\d+)?)(%|s))?", text)
    if match is None or (what == "pause" and not match[2]):
        form = "REPLICA:SECONDS[@WHEN]" if what == "pause" else "REPLICA[:SECONDS][@WHEN]"
        raise ColoproxyError(f"--{what} '{text}' is no good: write {form}, as secondary:1.5@30% or secondary:1.5@2s.")
    made = Action(what=what, replica=match[1], seconds=float(match[2] or 0))  # type: ignore[arg-type]
    if match[4] == "%":
        if float(match[3]) > 100:
            raise ColoproxyError(f"--{what} '{text}' is no good: there is no more than 100% of the work.")
        return msgspec.structs.replace(made, at=float(match[3]) / 100)
    return msgspec.structs.replace(made, after=float(match[3])) if match[4] else made
