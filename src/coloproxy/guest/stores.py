"""Where the record of the lease is: a file, for two agents on one machine, or etcd."""

import base64
import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.guest.lease import Decide, Record, Store, UnreachableError

FORMS = "write file:PATH, or etcd:URL,URL,..."
PATIENCE = 0.4  # seconds for the answer of one member of etcd
TRIES = 8  # changes by others in between


def store(text: str, name: str, lasting: float) -> Store:
    """What the file names. name: the guest's; lasting: seconds of a lease. Raises ColoproxyError."""
    kind, _, place = text.partition(":")
    if kind == "file" and place:
        return FileStore(Path(place), lasting)
    if kind == "etcd" and place:
        return EtcdStore(place.split(","), name, lasting)
    raise ColoproxyError(f"lease = {text!r} is no lease: {FORMS}.")


class Kept(msgspec.Struct, frozen=True):
    """What the file holds. until: seconds of CLOCK_BOOTTIME, which all of one machine share."""

    record: Record = Record()
    until: float = 0.0


class FileStore:
    """A file with a lock (flock(2)). It decides between processes of one machine, and of no more."""

    def __init__(self, path: Path, lasting: float) -> None:
        self._path = path
        self._lasting = lasting

    def change(self, decide: Decide) -> Record:
        with self._locked() as file:
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            text = file.read()
            try:
                kept = msgspec.json.decode(text, type=Kept) if text else Kept()
            except msgspec.DecodeError as error:
                raise UnreachableError(f"lease file {self._path}: {error}; remove it, if nobody lives.") from None
            record = decide(kept.record, now < kept.until)
            new = msgspec.json.encode(Kept(record, now + self._lasting))
            os.pwrite(file.fileno(), new.ljust(len(text)), 0)  # JSON may end in blanks
            os.fsync(file.fileno())
            return record

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Any]:
        try:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        except OSError as error:
            raise UnreachableError(f"lease file {self._path}: {error.strerror}; name a writable one.") from None


class EtcdStore:
    """Two keys of etcd: the record, which stays, and one that goes with its lease (etcd's API v3, through its JSON
    gateway). Whichever member answers will do."""

    def __init__(self, urls: list[str], name: str, lasting: float) -> None:
        try:
            from etcd3gw import Etcd3Client
        except ImportError:
            raise ColoproxyError("lease = etcd needs the package etcd3gw: pip install 'coloproxy[guest]'.") from None
        self._clients = [Etcd3Client(timeout=PATIENCE, api_path="/v3/", **_parts(url)) for url in urls]
        self._seconds = max(1, round(lasting))
        if self._seconds != lasting:
            raise ColoproxyError(f"timing: lease: etcd counts whole seconds, and {lasting * 1000:g} ms is none.")
        self._record = f"/coloproxy/{name}/record"
        self._alive = f"/coloproxy/{name}/alive"
        self._lease: int | None = None

    def change(self, decide: Decide) -> Record:
        why = ""
        for client in list(self._clients):
            try:
                record = self._change(client, decide)
            except ColoproxyError:
                raise
            except Exception as error:  # of requests, of urllib3, of etcd's own: none of them tells us more
                why = str(error) or type(error).__name__
                self._clients = [*self._clients[1:], self._clients[0]]  # the others are asked first from now on
                continue
            return record
        raise UnreachableError(f"no member of etcd answers ({why.splitlines()[0][:200] if why else 'nothing said'}).")

    def _change(self, client: Any, decide: Decide) -> Record:
        for _ in range(TRIES):
            found, revision, lasts = self._read(client)
            record = decide(found, lasts)
            put = [_put(self._record, msgspec.json.encode(record)), _put(self._alive, b"", self._leased(client))]
            compare = {"key": _text(self._record), "target": "MOD", "result": "EQUAL", "mod_revision": revision}
            if client.transaction({"compare": [compare], "success": put, "failure": []}).get("succeeded"):
                return record
        raise UnreachableError("etcd: the record is changed all the time by others.")

    def _read(self, client: Any) -> tuple[Record, int, bool]:
        """The record, its revision, whether its lease lasts: of one moment."""
        ask = [{"request_range": {"key": _text(key)}} for key in (self._record, self._alive)]
        record, alive = client.transaction({"compare": [], "success": ask, "failure": []})["responses"]
        found = record["response_range"].get("kvs")
        lasts = bool(alive["response_range"].get("kvs"))
        if not found:
            return Record(), 0, lasts
        return (
            msgspec.json.decode(base64.b64decode(found[0]["value"]), type=Record), int(found[0]["mod_revision"]), lasts,
        )  # fmt: skip

    def _leased(self, client: Any) -> int:
        """A lease that begins now."""
        if self._lease is not None:
            answer = client.post(client.get_url("/lease/keepalive"), json={"ID": self._lease})
            if int(answer["result"].get("TTL", 0)) > 0:
                return self._lease
        self._lease = int(client.post(client.get_url("/lease/grant"), json={"TTL": self._seconds, "ID": 0})["ID"])
        return self._lease


def _parts(url: str) -> dict[str, Any]:
    """A URL as the client wants it. Raises ColoproxyError."""
    scheme, _, place = url.partition("://")
    host, _, port = place.strip("/").rpartition(":")
    if scheme not in ("http", "https") or not host or not port.isdecimal():
        raise ColoproxyError(f"lease: {url!r} is no URL of a member of etcd, as http://192.0.2.1:2379.")
    return {"protocol": scheme, "host": host, "port": int(port)}


def _put(key: str, value: bytes, lease: int = 0) -> dict[str, Any]:
    return {"request_put": {"key": _text(key), "value": base64.b64encode(value).decode(), "lease": lease}}


def _text(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
