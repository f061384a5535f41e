"""What a client is told."""

import msgspec

from coloproxy.lab.plan import Workload


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The work, the address to go to, the seed of the content, and the seconds in which something must happen."""

    workload: Workload
    address: str
    seed: int
    timeout: float
