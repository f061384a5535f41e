"""The hot path: ordinary segments of known connections, translated where they lie.

This file is plain Python; at installation Cython compiles it as it stands. It holds the state that the general path
works on too: connections, the tables, the accounts. A frame that is not ordinary is handed to the general path
untouched, so switching the fast path off (`Engine.fast = False`) changes the speed and nothing else.

Numbers are 32 bits wide and wrap. A connection's `offset` is the secondary's number minus the primary's.
"""

from array import array

import cython

COMPILED: bool = cython.compiled

MASK = cython.declare(cython.uint, 0xFFFFFFFF)

# Sources.
PRIMARY = cython.declare(cython.int, 0)
SECONDARY = cython.declare(cython.int, 1)
CLIENT = cython.declare(cython.int, 2)

# Columns of the tally: where a source's frames ended. Each has a count of frames and, behind it, one of bytes.
RECEIVED = cython.declare(cython.int, 0)
PASSED = cython.declare(cython.int, 2)
TRANSLATED = cython.declare(cython.int, 4)
HELD = cython.declare(cython.int, 6)
DROPPED = cython.declare(cython.int, 8)
SOURCE = cython.declare(cython.int, 10)

# TCP flags (RFC 9293, 3.1).
SYN = cython.declare(cython.int, 0x02)
ACK = cython.declare(cython.int, 0x10)
EXTRAORDINARY = cython.declare(cython.int, 0x07)  # RST, SYN, FIN

# TCP options (RFC 9293, 3.1; RFC 2018; RFC 7323).
END = cython.declare(cython.int, 0)
NOP = cython.declare(cython.int, 1)
SACK = cython.declare(cython.int, 5)
TIMESTAMPS = cython.declare(cython.int, 8)


@cython.freelist(1024)
@cython.cclass
class Connection:
    """What is known of one connection between the replicas and a client of theirs.

    `key` finds it by what a replica sends, `client_key` by what the client sends. `known`: both replicas' numbers are,
    and `offset` is their difference; `stamped`: timestamps are translated too, by `ts_offset`. `fast`: ordinary
    segments need nothing but translation. p_isn, s_isn, client_isn: the numbers of the SYNs; next_isn: that of a SYN
    of the client that may begin the key anew; p_stamp, s_stamp: the timestamps in the replicas' last SYNs; s_fin: the
    place behind the secondary's FIN, as the primary numbers it; each None until seen. `raw_syn`: the secondary's SYN
    went by as it was, before the primary's number was known, and is to go on doing so. `waiting`: frames that wait for
    the numbers.

    As the primary numbers them: `client_ack`, the client's largest acknowledgement, with its last window and the place
    behind its last byte, once it was `heard`; `p_next` and `s_next`, the places up to which nothing of the replicas'
    streams is missing, once they `said` something; `gaps` the ranges that came behind a gap, of each; `p_gap`, `s_gap`
    whether there are any. `model`: an acknowledgement of the client's to make others of, and its virtio-net header's
    length; `sack`: whether it may have SACK blocks.
    """

    key = cython.declare(bytes, visibility="public")
    client_key = cython.declare(bytes, visibility="public")
    state = cython.declare(cython.int, visibility="public")
    fast = cython.declare(cython.bint, visibility="public")
    known = cython.declare(cython.bint, visibility="public")
    stamped = cython.declare(cython.bint, visibility="public")
    raw_syn = cython.declare(cython.bint, visibility="public")
    offset = cython.declare(cython.uint, visibility="public")
    ts_offset = cython.declare(cython.uint, visibility="public")
    since = cython.declare(cython.double, visibility="public")
    last = cython.declare(cython.double, visibility="public")
    p_isn = cython.declare(object, visibility="public")
    s_isn = cython.declare(object, visibility="public")
    client_isn = cython.declare(object, visibility="public")
    next_isn = cython.declare(object, visibility="public")
    p_stamp = cython.declare(object, visibility="public")
    s_stamp = cython.declare(object, visibility="public")
    s_fin = cython.declare(object, visibility="public")
    heard = cython.declare(cython.bint, visibility="public")
    p_said = cython.declare(cython.bint, visibility="public")
    s_said = cython.declare(cython.bint, visibility="public")
    p_gap = cython.declare(cython.bint, visibility="public")
    s_gap = cython.declare(cython.bint, visibility="public")
    sack = cython.declare(cython.bint, visibility="public")
    p_next = cython.declare(cython.uint, visibility="public")
    client_ack = cython.declare(cython.uint, visibility="public")
    client_next = cython.declare(cython.uint, visibility="public")
    client_window = cython.declare(cython.uint, visibility="public")
    s_next = cython.declare(cython.uint, visibility="public")
    gaps = cython.declare(list, visibility="public")
    model = cython.declare(object, visibility="public")
    waiting = cython.declare(object, visibility="public")
    endpoints = cython.declare(object, visibility="public")

    def __init__(self, key: bytes, client_key: bytes, now: float) -> None:
        self.key = key
        self.client_key = client_key
        self.since = self.last = now
        self.waiting = self.endpoints = None
        self.begin(None)

    def begin(self, client_isn: object) -> None:
        """Forget what was learned: another connection begins on the key."""
        self.state = 0
        self.fast = self.known = self.stamped = self.raw_syn = False
        self.offset = self.ts_offset = 0
        self.heard = self.p_said = self.s_said = self.p_gap = self.s_gap = self.sack = False
        self.client_ack = self.client_next = self.client_window = self.p_next = self.s_next = 0
        self.gaps = [[], []]
        self.model = None
        self.p_isn = self.s_isn = self.next_isn = self.p_stamp = self.s_stamp = self.s_fin = None
        self.client_isn = client_isn


@cython.cclass
class Engine:
    """Tables, accounts, and the ordinary frame's way through them.

    general(source, buf, start, end, vnet_len, now) -> column: takes any frame that is not ordinary, alters it in
    place, and says where it ended.
    recovery: is told of what a replica repeats or lacks: repeated(connection), disorder(connection, side, seq, end),
        ask(connection, side).
    """

    by_replica = cython.declare(dict, visibility="public")
    by_client = cython.declare(dict, visibility="public")
    fast = cython.declare(cython.bint, visibility="public")
    general = cython.declare(object, visibility="public")
    recovery = cython.declare(object, visibility="public")
    tally = cython.declare(cython.ulonglong[::1], visibility="public")
    r_recent = cython.declare(Connection)
    c_recent = cython.declare(Connection)

    def __init__(self, general: object, recovery: object) -> None:
        self.by_replica = {}
        self.by_client = {}
        self.fast = True
        self.general = general
        self.recovery = recovery
        self.tally = array("Q", [0] * (3 * 10))
        self.r_recent = None
        self.c_recent = None

    # The way through

    def translate(
        self,
        source: cython.int,
        buf: bytearray,
        index: cython.uint[::1],
        count: cython.Py_ssize_t,
        now: cython.double,
    ) -> int:
        """Translate `count` frames of one source in place; `index` holds (start, end, vnet_len) for each.

        Returns how many go on: the index then names these, in order, and no others.
        """
        i: cython.Py_ssize_t
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        vnet_len: cython.uint
        column: cython.int
        kept: cython.Py_ssize_t = 0
        room: cython.Py_ssize_t = len(buf)
        fast: cython.bint = self.fast
        for i in range(count):
            start = index[3 * i]
            end = index[3 * i + 1]
            vnet_len = index[3 * i + 2]
            if not start < end <= room:
                raise ValueError("frame outside its buffer")
            column = self.ordinary(source, buf, start, end, vnet_len, now) if fast else 0
            if column == 0:
                column = self.general(source, buf, start, end, vnet_len, now)
            self.count(source, RECEIVED, 1, end - start)
            self.count(source, column, 1, end - start)
            if column in (HELD, DROPPED):
                continue
            if kept != i:
                index[3 * kept] = start
                index[3 * kept + 1] = end
                index[3 * kept + 2] = vnet_len
            kept += 1
        return kept

    @cython.ccall
    def count(
        self, source: cython.int, column: cython.int, frames: cython.longlong, size: cython.longlong
    ) -> cython.void:
        """Add to an account."""
        self.tally[source * SOURCE + column] += frames
        self.tally[source * SOURCE + column + 1] += size

    @cython.cfunc
    def ordinary(
        self,
        source: cython.int,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        now: cython.double,
    ) -> cython.int:
        """Take the frame if it is ordinary: unfragmented IPv4 without options, or IPv6 without extension headers,
        carrying TCP or UDP. Returns where it ended; 0: nothing was done with it."""
        ip: cython.Py_ssize_t = start + vnet_len + 14
        room: cython.Py_ssize_t = end - ip
        key: cython.Py_ssize_t
        key_len: cython.Py_ssize_t
        l4: cython.Py_ssize_t
        size: cython.Py_ssize_t
        length: cython.Py_ssize_t
        protocol: cython.int
        if room < 28 or not (vnet_len == 0 or vnet_len == 10 or vnet_len == 12 or vnet_len == 20):
            return 0
        if buf[ip - 2] == 0x08 and buf[ip - 1] == 0x00:
            # Version 4, header of 20 bytes; neither "more fragments" nor an offset.
            if buf[ip] != 0x45 or buf[ip + 6] & 0x3F or buf[ip + 7]:
                return 0
            length = buf[ip + 2] << 8 | buf[ip + 3]
            l4 = ip + 20
            protocol = buf[ip + 9]
            key = ip + 12
            key_len = 12
        elif buf[ip - 2] == 0x86 and buf[ip - 1] == 0xDD:
            if room < 48 or buf[ip] >> 4 != 6:
                return 0
            length = 40 + (buf[ip + 4] << 8 | buf[ip + 5])
            l4 = ip + 40
            protocol = buf[ip + 6]
            key = ip + 8
            key_len = 36
        else:
            return 0
        size = ip + length - l4
        if length > room:
            return 0
        if protocol == 6:
            return self.ordinary_tcp(
                source, buf, key, key_len, l4, size, vnet_len != 0 and buf[start] & 1 != 0, now
            )  # fmt: skip
        if protocol == 17 and size >= 8:
            length = buf[l4 + 4] << 8 | buf[l4 + 5]
            if 8 <= length <= size:
                return PASSED
        return 0

    @cython.cfunc
    def ordinary_tcp(
        self,
        source: cython.int,
        buf: bytearray,
        key: cython.Py_ssize_t,
        key_len: cython.Py_ssize_t,
        l4: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
        partial: cython.bint,
        now: cython.double,
    ) -> cython.int:
        """Translate a segment of `size` bytes at buf[l4:]; `partial`: its checksum needs no change."""
        c: Connection
        options: cython.Py_ssize_t
        flags: cython.int
        change: cython.uint = 0
        if size < 20:
            return 0
        options = (buf[l4 + 12] >> 4) * 4 - 20
        flags = buf[l4 + 13]
        if options < 0 or options > size - 20:
            return 0
        if source == PRIMARY and (flags & SYN or self.recovery is None):
            return 0 if flags & SYN else PASSED
        if flags & EXTRAORDINARY or not flags & ACK:
            return 0
        c = self.find(source, buf, key, key_len)
        if c is None:
            return PASSED
        if not c.fast:
            return 0
        if source == PRIMARY:
            self.primary_says(c, read32(buf, l4 + 4), size - 20 - options)
            return PASSED
        c.last = now
        if source == SECONDARY:
            self.secondary_says(c, read32(buf, l4 + 4) - c.offset & MASK, size - 20 - options)
        else:
            self.client_says(
                c, read32(buf, l4 + 4), size - 20 - options, read32(buf, l4 + 8), buf[l4 + 14] << 8 | buf[l4 + 15]
            )
        if c.offset == 0 and not c.stamped:
            return TRANSLATED
        if source == SECONDARY:
            change = shift(buf, l4 + 4, l4, -c.offset & MASK)
            if options and c.stamped:
                change += shift_options(buf, l4, options, 0, 0, -c.ts_offset & MASK)
        else:
            change = shift(buf, l4 + 8, l4, c.offset)
            if options:
                change += shift_options(buf, l4, options, c.offset, 4, c.ts_offset if c.stamped else 0)
        if change and not partial:
            amend(buf, l4 + 16, change)
        return TRANSLATED

    @cython.ccall
    def client_says(
        self, c: Connection, seq: cython.uint, size: cython.uint, ack: cython.uint, window: cython.uint
    ) -> cython.void:
        """Remember what a segment of the client's acknowledges; `size` places long, FIN included."""
        end: cython.uint = (seq + size) & MASK
        if not c.heard or before(c.client_ack, ack):
            c.client_ack = ack
        if not c.heard or before(c.client_next, end):
            c.client_next = end
        c.client_window = window
        c.heard = True
        if c.s_gap:
            self.recovery.ask(c, SECONDARY)
        if c.p_gap:
            self.recovery.ask(c, PRIMARY)

    @cython.ccall
    def primary_says(self, c: Connection, seq: cython.uint, size: cython.uint) -> cython.void:
        """Remember how far the primary has come."""
        end: cython.uint = (seq + size) & MASK
        if size == 0:
            return
        if not c.p_said or (seq == c.p_next and not c.p_gap):
            c.p_next = end
            c.p_said = True
        else:
            self.recovery.disorder(c, PRIMARY, seq, end)

    @cython.ccall
    def secondary_says(self, c: Connection, seq: cython.uint, size: cython.uint) -> cython.void:
        """Remember how far the secondary has come, and notice when it says what the client has acknowledged."""
        end: cython.uint = (seq + size) & MASK
        if size == 0:
            return
        if not c.s_said or (seq == c.s_next and not c.s_gap):
            c.s_next = end
            c.s_said = True
        else:
            self.recovery.disorder(c, SECONDARY, seq, end)
        if c.heard and not before(c.client_ack, end):
            self.recovery.repeated(c)

    @cython.cfunc
    def find(
        self, source: cython.int, buf: bytearray, key: cython.Py_ssize_t, key_len: cython.Py_ssize_t
    ) -> Connection:  # fmt: skip
        """The connection whose key, as this source has it, is buf[key:key + key_len], or None. Frames come in runs."""
        recent: Connection = self.c_recent if source == CLIENT else self.r_recent
        table: dict = self.by_client if source == CLIENT else self.by_replica
        if recent is not None and equal_key(
            recent.client_key if source == CLIENT else recent.key, buf, key, key_len
        ):  # fmt: skip
            return recent
        if cython.compiled:
            found = table.get(cython.cast(cython.p_char, buf)[key : key + key_len])
        else:
            found = table.get(bytes(buf[key : key + key_len]))
        if found is None:
            return None
        recent = cython.cast(Connection, found)
        if source == CLIENT:
            self.c_recent = recent
        else:
            self.r_recent = recent
        return recent

    # The tables

    def add(self, c: Connection) -> None:
        """Enter a connection."""
        self.by_replica[c.key] = c
        self.by_client[c.client_key] = c

    def forget(self, c: Connection) -> None:
        """Take a connection out of the tables."""
        c.fast = False
        if self.r_recent is c:
            self.r_recent = None
        if self.c_recent is c:
            self.c_recent = None
        del self.by_replica[c.key]
        del self.by_client[c.client_key]

    def aged(self, now: cython.double, lifetimes: list) -> list:
        """The connections that have been silent for longer than their state allows; seconds by state."""
        c: Connection
        limit: cython.double
        found: list = []
        for c in self.by_replica.values():
            limit = lifetimes[c.state]
            if now - c.last >= limit:
                found.append(c)
        return found

    def first_to_go(self, ranks: list, wanted: cython.Py_ssize_t) -> list:
        """Up to `wanted` connections to forget: of the lowest rank (by state) first, of these the longest silent."""
        c: Connection
        found: list = []
        for c in self.by_replica.values():
            found.append((ranks[c.state], c.last, len(found), c))
        found.sort()
        return [entry[3] for entry in found[:wanted]]

    def copied(self) -> int:
        """The secondary is a copy of the primary: all its numbers are. Returns how many connections had other ones."""
        c: Connection
        differed: cython.Py_ssize_t = 0
        for c in self.by_replica.values():
            if c.offset or not c.known:
                differed += 1
            c.offset = c.ts_offset = 0
            c.s_said = c.s_gap = False
            c.gaps[SECONDARY] = []
            c.stamped = c.raw_syn = False
            c.known = True
            c.s_isn = c.p_isn
            c.s_stamp = c.p_stamp
        return differed


@cython.cfunc
@cython.inline
def read32(buf: bytearray, at: cython.Py_ssize_t) -> cython.uint:
    return (
        cython.cast(cython.uint, buf[at]) << 24
        | cython.cast(cython.uint, buf[at + 1]) << 16
        | cython.cast(cython.uint, buf[at + 2]) << 8
        | cython.cast(cython.uint, buf[at + 3])
    )


@cython.cfunc
@cython.inline
def before(a: cython.uint, b: cython.uint) -> cython.bint:
    """Whether place a comes before place b."""
    return ((a - b) & MASK) >> 31 != 0


@cython.cfunc
@cython.inline
def shift(buf: bytearray, at: cython.Py_ssize_t, l4: cython.Py_ssize_t, by: cython.uint) -> cython.uint:
    """Add to the number at buf[at:]; returns what to add to the complement of the checksum (RFC 1624, equation 3): 0
    only if nothing was changed.

    Words are counted from l4: a number that begins within one has its bytes summed in the other order (RFC 1071, 2B).
    """
    old: cython.uint = read32(buf, at)
    new: cython.uint = (old + by) & MASK
    change: cython.uint
    if by == 0:
        return 0
    buf[at] = new >> 24
    buf[at + 1] = new >> 16 & 0xFF
    buf[at + 2] = new >> 8 & 0xFF
    buf[at + 3] = new & 0xFF
    old = ~old & MASK
    change = (old >> 16) + (old & 0xFFFF) + (new >> 16) + (new & 0xFFFF)
    if (at - l4) & 1:
        change = fold(change)
        change = (change << 8 | change >> 8) & 0xFFFF
    return change + 0xFFFF


@cython.cfunc
def shift_options(
    buf: bytearray,
    l4: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    sack: cython.uint,
    field: cython.Py_ssize_t,
    stamp: cython.uint,
) -> cython.uint:
    """Add to what the options in the `size` bytes behind the fixed header say: `sack` to the edges of SACK blocks,
    `stamp` to the timestamps' value (field 0) or echo (field 4)."""
    change: cython.uint = 0
    at: cython.Py_ssize_t = l4 + 20
    end: cython.Py_ssize_t = at + size
    edge: cython.Py_ssize_t
    kind: cython.int
    length: cython.int
    while at < end:
        kind = buf[at]
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 2 > end:
            break
        length = buf[at + 1]
        if length < 2 or at + length > end:
            break
        if kind == SACK and sack and length % 8 == 2:
            edge = at + 2
            while edge < at + length:
                change += shift(buf, edge, l4, sack)
                edge += 4
        elif kind == TIMESTAMPS and stamp and length == 10:
            change += shift(buf, at + 2 + field, l4, stamp)
        at += length
    return change


@cython.cfunc
@cython.inline
def fold(total: cython.uint) -> cython.uint:
    """A sum of 16-bit words brought back to 16 bits."""
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@cython.cfunc
@cython.inline
def amend(buf: bytearray, at: cython.Py_ssize_t, change: cython.uint) -> cython.void:
    """Bring the checksum at buf[at:] in line (RFC 1624, equation 3)."""
    total: cython.uint = ~(cython.cast(cython.uint, buf[at]) << 8 | buf[at + 1]) & 0xFFFF
    total = ~fold(total + change) & 0xFFFF
    buf[at] = total >> 8
    buf[at + 1] = total & 0xFF


@cython.cfunc
@cython.inline
def equal_key(key: bytes, buf: bytearray, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.bint:
    """Whether buf[at:at + n] == key. memcmp knows no bounds, so they are checked here."""
    if len(key) != n or at < 0 or at + n > len(buf):
        return False
    if cython.compiled:
        return memcmp(cython.cast(cython.p_char, key), cython.cast(cython.p_char, buf) + at, n) == 0  # noqa: F821
    return buf[at : at + n] == key
