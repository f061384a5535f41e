"""The messages of vhost-user that a network card needs: a number, a name, what is in it, what answers."""

import struct
from typing import NamedTuple

VERSION = 1
REPLY, NEED_REPLY = 1 << 2, 1 << 3
HEADER = struct.Struct("<III")  # request, flags, size of the payload
LONGEST = 8 + 8 * 32  # bytes of a payload: a memory table
REGIONS = 8  # rows of a memory table
REGION = struct.Struct("<QQQQ")
NO_FD = 1 << 8  # in the number that comes with a descriptor: none does


class Message(NamedTuple):
    """payload, reply: as `struct` has it; None for a reply: none, unless one is asked for. fds: descriptors that may
    come along. handler: the device's method."""

    name: str
    payload: str
    reply: str | None
    handler: str
    fds: int = 0


TABLE = {
    1: Message("GET_FEATURES", "", "<Q", "get_features"),
    2: Message("SET_FEATURES", "<Q", None, "set_features"),
    3: Message("SET_OWNER", "", None, "set_owner"),
    4: Message("RESET_OWNER", "", None, "reset_owner"),
    5: Message("SET_MEM_TABLE", "*", None, "set_mem_table", REGIONS),
    6: Message("SET_LOG_BASE", "<QQ", "", "set_log_base", 1),
    8: Message("SET_VRING_NUM", "<II", None, "set_vring_num"),
    9: Message("SET_VRING_ADDR", "<IIQQQQ", None, "set_vring_addr"),
    10: Message("SET_VRING_BASE", "<II", None, "set_vring_base"),
    11: Message("GET_VRING_BASE", "<II", "<II", "get_vring_base"),
    12: Message("SET_VRING_KICK", "<Q", None, "set_vring_kick", 1),
    13: Message("SET_VRING_CALL", "<Q", None, "set_vring_call", 1),
    14: Message("SET_VRING_ERR", "<Q", None, "set_vring_err", 1),
    15: Message("GET_PROTOCOL_FEATURES", "", "<Q", "get_protocol_features"),
    16: Message("SET_PROTOCOL_FEATURES", "<Q", None, "set_protocol_features"),
    17: Message("GET_QUEUE_NUM", "", "<Q", "get_queue_num"),
    18: Message("SET_VRING_ENABLE", "<II", None, "set_vring_enable"),
}

# Features (virtio 1.2, 6 and 5.1.3; vhost-user).
CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN = 1 << 0, 1 << 1, 1 << 7, 1 << 8, 1 << 9
HOST_TSO4, HOST_TSO6, HOST_ECN, MRG_RXBUF, GUEST_ANNOUNCE = 1 << 11, 1 << 12, 1 << 13, 1 << 15, 1 << 21
LOG_ALL, INDIRECT_DESC, EVENT_IDX = 1 << 26, 1 << 28, 1 << 29
PROTOCOL_FEATURES, VERSION_1 = 1 << 30, 1 << 32
OFFLOADS = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | HOST_TSO4 | HOST_TSO6 | HOST_ECN
FEATURES = MRG_RXBUF | GUEST_ANNOUNCE | LOG_ALL | INDIRECT_DESC | EVENT_IDX | PROTOCOL_FEATURES | VERSION_1
NAMED = {22: "several queue pairs (MQ)", 34: "packed rings (RING_PACKED)"}

LOG_SHMFD, REPLY_ACK = 1 << 1, 1 << 3
PROTOCOL = LOG_SHMFD | REPLY_ACK


def strangers(features: int, offered: int) -> str:
    """The names, or numbers, of features that were not offered."""
    return ", ".join(NAMED.get(bit, f"feature {bit}") for bit in range(64) if (features & ~offered) >> bit & 1)
