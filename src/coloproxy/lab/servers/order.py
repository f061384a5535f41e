"""What a server of ours is told, as its one argument in JSON."""

import sys

import msgspec


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The addresses to listen at, the folder of files to serve, and the seed of their content."""

    addresses: list[str]
    files: str
    seed: int


def order() -> Order:
    """Of this process."""
    return msgspec.json.decode(sys.argv[1], type=Order)
