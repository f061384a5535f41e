"""The settings of `coloproxy compare`, from a TOML file, from the command line, or from both."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coloproxy import tables
from coloproxy.compare.config import Config
from coloproxy.errors import ColoproxyError
from coloproxy.link.address import Address, parse_address
from coloproxy.link.proxy import Role

ROLES: tuple[Role, ...] = ("primary_in", "secondary_in", "outdev", "notify_dev")
PATHS = ("rules", "events", "evidence", "trace_file", "control")


class Settings(Config, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that `coloproxy compare` can be told, besides what its comparator can (`Config`).

    primary_in, secondary_in, outdev, notify_dev: addresses. vnet_hdr: the framing has a word for virtio-net headers.
    rules: a rules file. events: a file for events, "-" for standard output. evidence: a folder for captures.
    trace: patterns of trace events. trace_file: where these go.
    http: where metrics and the page are served. http_host: names that the page may be called by. control: a file with
    the token by which the page may change something.
    """

    primary_in: str | None = None
    secondary_in: str | None = None
    outdev: str | None = None
    notify_dev: str | None = None
    vnet_hdr: bool = False
    rules: str | None = None
    events: str | None = None
    evidence: str | None = None
    trace: list[str] = []
    trace_file: str | None = None
    http: str | None = None
    http_host: list[str] = []
    control: str | None = None

    def config(self) -> Config:
        """The comparator's part."""
        return Config(**{name: getattr(self, name) for name in Config.__struct_fields__})

    def addresses(self) -> dict[Role, Address]:
        """The sockets. Raises ColoproxyError for one that is missing, malformed, or the same as another."""
        found: dict[Role, Address] = {}
        for role in ROLES:
            text = getattr(self, role)
            if text is None:
                if role != "notify_dev":
                    raise ColoproxyError(f"{_key(role)} is missing; give the address of this socket.")
                continue
            try:
                address = parse_address(text)
            except ColoproxyError as error:
                raise ColoproxyError(f"{_key(role)}: {error}") from None
            for other, taken in found.items():
                if taken.place == address.place:
                    both = f"{_key(other)} and {_key(role)}"
                    raise ColoproxyError(f"{both} have one address, {text}; each needs its own.")
            found[role] = address
        return found


def settings(given: Mapping[str, Any], file: Path | None) -> Settings:
    """The settings of the file, overridden by those given on the command line (None: not given).

    Raises ColoproxyError, naming the key, for one that is unknown or whose value is no good.
    """
    if file is not None:
        values = _read(file)
        _convert(values, f"config file {file}")
    else:
        values = {}
    values.update({key: value for key, value in given.items() if value is not None})
    made = _convert(values, "")
    if made.on_divergence == "cut":
        raise ColoproxyError(
            "on-divergence = 'cut' resets both replicas' ends too, which these sockets do not reach: use a topology"
            " (`coloproxy run`), or alarm."
        )
    if made.http is None and (made.control is not None or made.http_host):
        raise ColoproxyError("control and http-host are for the page: give http too, or drop them.")
    if made.notify_dev is not None and made.on_divergence != "hold":
        raise ColoproxyError(
            f"on-divergence = {made.on_divergence!r} is for use without notify-dev, which brings checkpoints; drop one."
        )
    return made


def _read(file: Path) -> dict[str, Any]:
    """The file's keys, spelled like the fields."""
    values: dict[str, Any] = {}
    for key, value in tables.load(file, "config file").items():
        field = key.replace("-", "_")
        if field not in Settings.__struct_fields__:
            near = difflib.get_close_matches(field, Settings.__struct_fields__, 1)
            hint = f"did you mean {_key(near[0])}?" if near else "see `coloproxy compare --help`."
            raise ColoproxyError(f"config file {file}: unknown key {key!r}; {hint}")
        if field in values:
            raise ColoproxyError(f"config file {file}: {key!r} is there twice, in two spellings; keep one.")
        values[field] = value
    return values


def _convert(values: dict[str, Any], where: str) -> Settings:
    for key in PATHS:
        if isinstance(path := values.get(key), str) and (not path or "\0" in path):
            raise ColoproxyError(f"{where}{': ' * bool(where)}{_key(key)} = {path!r} is no good: it names no file.")
    made: Settings = tables.convert(values, Settings, where, _key)
    return made


def _key(field: str) -> str:
    return field.replace("_", "-")
