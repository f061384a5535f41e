"""What an agent remembers over its own restart."""

import os
from pathlib import Path

import msgspec

from coloproxy.errors import ColoproxyError
from coloproxy.guest.machine import Identity
from coloproxy.guest.states import State


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """state; generation: of the lease; qemu: the process; numbers: of connections under other ones."""

    state: State = State.WAITING
    generation: int = 0
    qemu: Identity | None = None
    numbers: list[list[object]] = []


class Memory:
    """A file that is replaced as a whole (rename(2)): it says the old or the new."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Remembered:
        """What was written last. Raises ColoproxyError if it cannot be understood."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return Remembered()
        except (OSError, msgspec.MsgspecError) as error:
            raise ColoproxyError(f"state {self._path}: {error}; end the guest's QEMU, then remove it.") from None

    def write(self, what: Remembered) -> None:
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(what))
        os.replace(new, self._path)
