"""Who may live: a record that is changed by one agent at a time, and a time for which the change holds.

The record says who has the guest as it is now. While two have it, neither may go on without the other unless it writes
that it is the only one: of two that try, one succeeds, at once. While one has it, its lease must be renewed, and no
other may start the guest before that has run out; an agent that cannot renew stops its guest's output earlier.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from coloproxy.errors import ColoproxyError

UNHEARD = 2  # changes that one agent may have made without having heard of it
NOT_WHOLE = (
    "the disk of {host} is not whole: {host} was lost while what its guest had written as a secondary was merged into"
    " it; put another image in its place, then remove the lease's record."
)


class Record(msgspec.Struct, frozen=True):
    """generation: one more with each change; members: the hosts that have the guest as it is now; had: while there are
    none, those that had it last, whose disks are as it left them; merging: the one of them whose disk was a
    secondary's, and may not have all of it yet."""

    generation: int = 0
    members: tuple[str, ...] = ()
    had: tuple[str, ...] = ()
    merging: str = ""


class RefusedError(ColoproxyError):
    """The record says that another has the guest."""


class UnreachableError(ColoproxyError):
    """The record can neither be read nor written now."""


Decide = Callable[[Record, bool], Record]
"""(the record, whether its lease lasts) -> the new one. Raises RefusedError."""


class Store(Protocol):
    """Where the record is."""

    def change(self, decide: Decide) -> Record:
        """Change the record, and have its lease begin anew; what it says now.

        Raises RefusedError, or UnreachableError: then it may have been changed or not.
        """
        ...


def take(host: str, written: bool = False) -> Decide:
    """Start the guest: nobody may have it, unless the lease has run out. written: it has a disk that is written, and is
    started from what it wrote last."""

    def decide(record: Record, lasts: bool) -> Record:
        if record.members and lasts and record.members != (host,):
            raise RefusedError(f"the lease says that {' and '.join(record.members)} has the guest; end it there first.")
        last = record.members or record.had
        if written and last and host not in last:
            raise RefusedError(f"the disk of {host} is old: {' and '.join(last)} had the guest last; start it there.")
        if written and record.merging == host:
            raise RefusedError(NOT_WHOLE.format(host=host))
        return Record(record.generation + 1, (host,))

    return decide


def pair(host: str, other: str, generation: int) -> Decide:
    """A second one has the guest now."""

    def decide(record: Record, _lasts: bool) -> Record:
        wanted = Record(generation + 1, (host, other), merging=_of(host, record))
        if record != wanted and (record.generation, record.members) != (generation, (host,)):
            raise _refused(host, record)
        return wanted

    return decide


def claim(host: str, generation: int, merging: bool = False) -> Decide:
    """Go on alone: this one must have the guest as it is now. `generation` is the last that it heard of; behind it may
    be two of its own, a pair's and this one's, whose answers were lost. merging: its disk becomes whole only then."""

    def decide(record: Record, _lasts: bool) -> Record:
        if record.members == (host,) and generation < record.generation <= generation + UNHEARD:
            return record
        if host not in record.members or record.generation not in (generation, generation + 1):
            raise _refused(host, record)
        return Record(record.generation + 1, (host,), merging=host if merging else _of(host, record))

    return decide


def whole(host: str, generation: int) -> Decide:
    """The disk has all that the guest has written."""

    def decide(record: Record, _lasts: bool) -> Record:
        if host not in record.members or record.generation != generation:
            raise _refused(host, record)
        return msgspec.structs.replace(record, merging="") if record.merging == host else record

    return decide


def renew(host: str, generation: int) -> Decide:
    """Nothing has changed but by this one itself, of which it may not have heard yet: what it wrote names it first."""

    def decide(record: Record, _lasts: bool) -> Record:
        ours = record.members[:1] == (host,) and generation < record.generation <= generation + UNHEARD
        if host not in record.members or not (ours or record.generation == generation):
            raise _refused(host, record)
        return record

    return decide


def give_up(host: str, generation: int) -> Decide:
    """The guest is ended."""

    def decide(record: Record, _lasts: bool) -> Record:
        if record.generation != generation or host not in record.members:
            raise _refused(host, record)
        return Record(generation + 1, (), record.members, record.merging)

    return decide


def _of(host: str, record: Record) -> str:
    """Another one's disk is copied anew before it counts."""
    return host if record.merging == host else ""


def _refused(host: str, record: Record) -> RefusedError:
    return RefusedError(f"the lease says that {' and '.join(record.members) or 'nobody'} has the guest, not {host}.")
