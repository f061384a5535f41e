"""The hot path: what nearly all frames are, in order and on a known connection, without a Python object too many.

This file is plain Python; at installation Cython compiles it as it stands. It holds the state that the general path
(`tcp`, `datagram`) works on too: frames, connections, the tables, the accounts and the output. A frame that is not
ordinary is handed to the general path untouched, so switching the fast path off (`Engine.fast = False`) changes the
speed and nothing else.

Sequence numbers are 32 bits wide and wrap (RFC 9293, 3.4). `(a - b) & MASK` is the distance from b to a;
its top bit says that a is before b, which is `before(a, b)`.
"""

from array import array
from typing import Optional

import cython

COMPILED: bool = cython.compiled

MASK = cython.declare(cython.uint, 0xFFFFFFFF)

# Kinds of connection, the values of packet.Kind.
TCP = cython.declare(cython.int, 0)
UDP = cython.declare(cython.int, 1)

# Sides.
PRIMARY = cython.declare(cython.int, 0)

# Columns of the tally: where a side's frames ended. Each has a count of frames and, behind it, one of bytes.
RECEIVED = cython.declare(cython.int, 0)
RELEASED = cython.declare(cython.int, 2)
PASSED = cython.declare(cython.int, 4)
HELD = cython.declare(cython.int, 6)
DROPPED = cython.declare(cython.int, 8)
REFUSED = cython.declare(cython.int, 10)
SIDE = cython.declare(cython.int, 12)

# Lengths of a virtio-net header, a bit for each: 0, 10, 12, 20.
VNET_LENGTHS = cython.declare(cython.uint, 0x101401)

# TCP flags (RFC 9293, 3.1) that no ordinary segment has: URG, RST, SYN, FIN.
EXTRAORDINARY = cython.declare(cython.int, 0x27)
ACK = cython.declare(cython.int, 0x10)

# Bytes of memory counted for each frame that is held, besides its own: what it takes to hold it, often on a connection
# that holds nothing else.
FRAME_COST = cython.declare(cython.ulonglong, 512)

# For how long frames of the primary were held, counted in cells: the first for up to so many seconds, each for twice as
# many as the one before, the last for all that is longer.
SHORTEST_WAIT = cython.declare(cython.double, 0.000064)
WAIT_CELLS = cython.declare(cython.int, 19)

# A payload that no frame of an Ethernet of 1500 bytes carries: such a frame may leave in parts.
LARGE = cython.declare(cython.uint, 1460)

# What became of a frame: it is not for the fast path, it is done with, or it waits in a queue.
GENERAL = cython.declare(cython.int, 0)
DONE = cython.declare(cython.int, 1)
WAITS = cython.declare(cython.int, 2)

# Connections that are found again without asking a dictionary: a power of two, and how far down a hash is shifted.
RECENT = cython.declare(cython.Py_ssize_t, 1 << 14)
RECENT_SHIFT = cython.declare(cython.int, 64 - 14)
FACTOR = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio (Knuth, 6.4)
MASK64 = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)

# A range of the output shorter than this is copied behind its neighbours, into a buffer of so many bytes.
SHORT = cython.declare(cython.Py_ssize_t, 4096)
GATHERED = cython.declare(cython.Py_ssize_t, 64 << 10)

# The classes are not tracked by the cyclic garbage collector: nothing leads from a frame or a connection back to it,
# and there are a million of them. Functions that have nothing to say return 0: -1 stands for an exception.


@cython.final
@cython.no_gc
@cython.freelist(4096)
@cython.cclass
class Frame:
    """A frame that waits. On the secondary's side of a stream it stands for the bytes that it alone brought.

    buf[start:end] is the frame, its virtio-net header first, behind `headroom` bytes of the link's framing;
    buf[data:data + size] its payload; `seq` the place of the first of these; `done` how many have left already;
    `parts` the fragments it came in, or None; `more` is set on a piece behind which others of the same frame follow;
    `stale` on what the secondary may have sent before the last
    checkpoint; `order` numbers those that are held, as they came, from 1. There is no __init__: C zeroes all of it, and
    frames are made by the million.
    """

    start = cython.declare(cython.uint, visibility="public")
    end = cython.declare(cython.uint, visibility="public")
    data = cython.declare(cython.Py_ssize_t, visibility="public")
    headroom = cython.declare(cython.uint, visibility="public")
    vnet_len = cython.declare(cython.uint, visibility="public")
    seq = cython.declare(cython.uint, visibility="public")
    size = cython.declare(cython.uint, visibility="public")
    done = cython.declare(cython.uint, visibility="public")
    ack = cython.declare(cython.uint, visibility="public")
    flags = cython.declare(cython.uint, visibility="public")
    window = cython.declare(cython.uint, visibility="public")
    fin = cython.declare(cython.bint, visibility="public")
    more = cython.declare(cython.bint, visibility="public")
    stale = cython.declare(cython.bint, visibility="public")
    time = cython.declare(cython.double, visibility="public")
    order = cython.declare(cython.ulonglong, visibility="public")
    lease = cython.declare(object, visibility="public")
    buf = cython.declare(bytearray, visibility="public")
    parts = cython.declare(object, visibility="public")
    next = cython.declare("Frame", visibility="public")

    def frames(self) -> int:
        """How many frames of the wire this is."""
        return count_of(self)

    def weight(self) -> int:
        """How many bytes these frames have."""
        return weight_of(self)

    def detach(self) -> None:
        """Copy the frame out of the buffer it shares, so that a long wait does not keep the whole buffer."""
        part: Frame
        if self.parts is not None:
            for part in self.parts:
                part.detach()
        if self.lease is None:
            return
        begin = self.start - self.headroom
        self.buf = self.buf[begin : self.end]
        self.data -= begin
        self.end -= begin
        self.start = self.headroom
        self.lease = None


@cython.final
@cython.no_gc
@cython.cclass
class Connection:
    """Both replicas' state of one connection, in the numbers of the primary.

    Three queues, linked through `Frame.next`: p_* the primary's frames with payload, by place; s_* the secondary's
    bytes that are not verified yet, by place, without overlap; a_* the primary's pure acknowledgements that wait.
    `control` holds the primary's SYN and RST frames that wait. All places before `verified` are equal.
    `p_fast` and `s_fast` are set while nothing but ordinary segments in order comes from that side; `owes` while the
    client has not been told all that the primary acknowledged. `moved` is when `verified` last did.
    """

    # What every frame touches, together in few lines of the processor's cache.
    near = cython.declare(cython.ulonglong)
    ports = cython.declare(cython.uint)
    key_len = cython.declare(cython.uint)
    kind = cython.declare(cython.int, visibility="public")
    p_fast = cython.declare(cython.bint, visibility="public")
    s_fast = cython.declare(cython.bint, visibility="public")
    started = cython.declare(cython.bint, visibility="public")
    p_scale = cython.declare(cython.int, visibility="public")
    s_scale = cython.declare(cython.int, visibility="public")
    p_next = cython.declare(cython.uint, visibility="public")
    s_next = cython.declare(cython.uint, visibility="public")
    shift = cython.declare(cython.uint, visibility="public")
    verified = cython.declare(cython.uint, visibility="public")
    diverged = cython.declare(object, visibility="public")
    p_head = cython.declare(Frame, visibility="public")
    p_tail = cython.declare(Frame, visibility="public")
    s_head = cython.declare(Frame, visibility="public")
    s_tail = cython.declare(Frame, visibility="public")
    a_head = cython.declare(Frame, visibility="public")
    p_ack = cython.declare(cython.uint, visibility="public")
    s_ack = cython.declare(cython.uint, visibility="public")
    p_right = cython.declare(cython.uint, visibility="public")
    s_right = cython.declare(cython.uint, visibility="public")
    p_acked = cython.declare(cython.bint, visibility="public")
    s_acked = cython.declare(cython.bint, visibility="public")
    owes = cython.declare(cython.bint, visibility="public")
    client_acked = cython.declare(cython.bint, visibility="public")
    client_ack = cython.declare(cython.uint, visibility="public")
    client_right = cython.declare(cython.uint, visibility="public")
    last = cython.declare(cython.double, visibility="public")
    moved = cython.declare(cython.double, visibility="public")
    p_count = cython.declare(cython.uint, visibility="public")
    s_count = cython.declare(cython.uint, visibility="public")
    p_bytes = cython.declare(cython.uint, visibility="public")
    s_bytes = cython.declare(cython.uint, visibility="public")
    verified_bytes = cython.declare(cython.ulonglong, visibility="public")
    # The rest.
    key = cython.declare(bytes, visibility="public")
    endpoints = cython.declare(object, visibility="public")
    rule = cython.declare(object, visibility="public")
    index = cython.declare(object, visibility="public")
    control = cython.declare(object, visibility="public")
    template = cython.declare(object, visibility="public")
    successor = cython.declare(object, visibility="public")
    p_syn = cython.declare(object, visibility="public")
    s_syn = cython.declare(object, visibility="public")
    a_tail = cython.declare(Frame, visibility="public")
    first = cython.declare(cython.uint, visibility="public")
    partial = cython.declare(cython.bint, visibility="public")
    p_moved = cython.declare(cython.bint, visibility="public")
    s_moved = cython.declare(cython.bint, visibility="public")
    p_rst = cython.declare(cython.bint, visibility="public")
    s_rst = cython.declare(cython.bint, visibility="public")
    closed = cython.declare(cython.bint, visibility="public")
    since = cython.declare(cython.double, visibility="public")
    s_rst_time = cython.declare(cython.double, visibility="public")
    s_syn_time = cython.declare(cython.double, visibility="public")
    slot = cython.declare(cython.Py_ssize_t)

    def __init__(self) -> None:
        self.near = self.ports = self.key_len = self.slot = 0
        self.key = b""
        self.kind = 0
        self.endpoints = self.rule = self.diverged = self.index = self.control = self.template = None
        self.successor = self.p_syn = self.s_syn = None
        self.p_head = self.p_tail = self.s_head = self.s_tail = self.a_head = self.a_tail = None
        self.p_count = self.s_count = self.p_bytes = self.s_bytes = 0
        self.verified = self.first = self.shift = self.p_next = self.s_next = 0
        self.p_ack = self.s_ack = self.client_ack = self.p_right = self.s_right = self.client_right = 0
        self.p_scale = self.s_scale = -1
        self.p_fast = self.s_fast = self.started = self.p_acked = self.s_acked = self.client_acked = self.owes = False
        self.partial = self.p_moved = self.s_moved = self.p_rst = self.s_rst = self.closed = False
        self.since = self.last = self.moved = self.s_rst_time = self.s_syn_time = 0.0
        self.verified_bytes = 0

    def __dealloc__(self) -> None:
        """Take the queues apart: else each frame would free the next, within its own freeing, to the stack's end."""
        unlink(self.p_head)
        unlink(self.s_head)
        unlink(self.a_head)


@cython.final
@cython.cclass
class Engine:
    """Tables, accounts, output, and the ordinary frame's way through them.

    Callbacks into the general path, all plain Python:
    general(side, buf, start, end, vnet_len, headroom, lease, now): takes any frame that is not ordinary;
    differs(connection, place, frame_p, frame_s) -> bool: the two say different things at this place; True if frame_s
        does not count and is gone;
    settle(connection, frame) -> bool: a verified frame that may not leave as it is, or not as the next; True if it
        left, and then nothing refers to it any more;
    owed(connection): the secondary acknowledged more, and the client has not been told all;
    tracer(connection, frame_p, frame_s, place, n): told of every n bytes found equal and, without frame_s, of every
        release; or None.

    While `measuring`, `waits` counts for how long the primary's frames were held, in cells, and `waited` is the sum in
    seconds; `now` is the time that counts for it.
    """

    tcp = cython.declare(dict, visibility="public")
    udp = cython.declare(dict, visibility="public")
    icmp = cython.declare(dict, visibility="public")
    icmpv6 = cython.declare(dict, visibility="public")
    other = cython.declare(dict, visibility="public")
    non_ip = cython.declare(dict, visibility="public")
    fast = cython.declare(cython.bint, visibility="public")
    ack_rule = cython.declare(cython.bint, visibility="public")
    general = cython.declare(object, visibility="public")
    differs = cython.declare(object, visibility="public")
    settle = cython.declare(object, visibility="public")
    owed = cython.declare(object, visibility="public")
    tracer = cython.declare(object, visibility="public")
    tally = cython.declare(object, visibility="public")
    cells = cython.declare(cython.ulonglong[::1])
    order = cython.declare(cython.ulonglong, visibility="public")
    verified_bytes = cython.declare(cython.ulonglong, visibility="public")
    waits = cython.declare(object, visibility="public")
    wait_cells = cython.declare(cython.ulonglong[::1])
    waited = cython.declare(cython.double, visibility="public")
    now = cython.declare(cython.double, visibility="public")
    measuring = cython.declare(cython.bint, visibility="public")
    max_queue = cython.declare(cython.uint)
    max_held = cython.declare(cython.ulonglong)
    p_crowded = cython.declare(cython.int, visibility="public")
    s_crowded = cython.declare(cython.int, visibility="public")
    output = cython.declare(list, visibility="public")
    partials = cython.declare(list, visibility="public")
    recent = cython.declare(list)
    gathered = cython.declare(bytearray)
    gathered_start = cython.declare(cython.Py_ssize_t)
    gathered_end = cython.declare(cython.Py_ssize_t)
    out_buf = cython.declare(bytearray)
    out_start = cython.declare(cython.Py_ssize_t)
    out_end = cython.declare(cython.Py_ssize_t)
    out_lease = cython.declare(object)

    def __init__(
        self, general: object, differs: object, settle: object, owed: object, max_queue: int, max_held: int
    ) -> None:
        self.tcp = {}
        self.udp = {}
        self.icmp = {}
        self.icmpv6 = {}
        self.other = {}
        self.non_ip = {}
        self.fast = True
        self.ack_rule = True
        self.general = general
        self.differs = differs
        self.settle = settle
        self.owed = owed
        self.tracer = None
        self.tally = self.cells = array("Q", [0] * (2 * 12))
        self.order = 0
        self.verified_bytes = 0
        self.waits = self.wait_cells = array("Q", [0] * WAIT_CELLS)
        self.waited = self.now = 0.0
        self.measuring = False
        self.max_queue = max_queue
        self.max_held = max_held
        self.p_crowded = self.s_crowded = 0
        self.output = []
        self.partials = []
        self.recent = [None] * RECENT
        self.gathered = bytearray(GATHERED)
        self.gathered_start = self.gathered_end = 0
        self.out_buf = None
        self.out_start = self.out_end = 0
        self.out_lease = None

    # The way in

    def receive(
        self,
        side: cython.int,
        buf: bytearray,
        index: cython.uint[::1],
        count: cython.Py_ssize_t,
        headroom: cython.uint,
        lease: object,
        now: cython.double,
    ) -> None:
        """Take `count` frames of one side; `index` holds (start, end, vnet_len) for each."""
        i: cython.Py_ssize_t
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        vnet_len: cython.uint
        fate: cython.int = GENERAL
        size: cython.ulonglong = 0
        room: cython.Py_ssize_t = len(buf)
        fast: cython.bint = self.fast
        f: Frame = fresh(buf, headroom, lease, now)  # used again and again until one has to wait
        self.now = now
        for i in range(count):
            start = index[3 * i]
            end = index[3 * i + 1]
            vnet_len = index[3 * i + 2]
            if not (headroom <= start < end <= room):
                raise ValueError("frame outside its buffer")
            size += end - start
            if fast:
                f.start = start
                f.end = end
                f.vnet_len = vnet_len
                fate = self.ordinary(side, f)
            if fate == GENERAL:
                self.general(side, buf, start, end, vnet_len, headroom, lease, now)
            elif fate == WAITS:
                f = fresh(buf, headroom, lease, now)
        self.cells[side * SIDE + RECEIVED] += count
        self.cells[side * SIDE + RECEIVED + 1] += size

    @cython.cfunc
    @cython.exceptval(-1)
    def ordinary(self, side: cython.int, f: Frame) -> cython.int:
        """Take the frame if it is ordinary: unfragmented IPv4 without options, or IPv6 without extension headers,
        carrying TCP or UDP of a known connection. What became of it; GENERAL: nothing was done with it."""
        buf: bytearray = f.buf
        ip: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, f.start) + f.vnet_len + 14
        room: cython.Py_ssize_t = f.end - ip
        header: cython.p_uchar
        ethertype: cython.uint
        protocol: cython.uint
        key: cython.Py_ssize_t
        l4: cython.Py_ssize_t
        length: cython.Py_ssize_t
        if room < 28 or f.vnet_len > 20 or not VNET_LENGTHS >> f.vnet_len & 1:
            return GENERAL
        header = span(buf, ip - 2, 2 + 28)
        ethertype = word(header, 0)
        if ethertype == 0x0800:
            # Version 4, header of 20 bytes; neither "more fragments" nor an offset (RFC 791, 3.1).
            if header[2] != 0x45 or word(header, 8) & 0x3FFF:
                return GENERAL
            length = word(header, 4)
            protocol = header[11]
            key = ip + 12
            l4 = ip + 20
        elif ethertype == 0x86DD:
            # Version 6 (RFC 8200, 3).
            if room < 48 or header[2] >> 4 != 6:
                return GENERAL
            length = 40 + word(header, 6)
            protocol = header[8]
            key = ip + 8
            l4 = ip + 40
        else:
            return GENERAL
        if length > room:
            return GENERAL
        if protocol == 6:
            return self.ordinary_tcp(side, f, buf, key, l4, ip + length)
        if protocol == 17:
            return self.ordinary_udp(side, f, buf, key, l4, ip + length)
        return GENERAL

    @cython.cfunc
    def find(
        self, table: dict, kind: cython.int, buf: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t
    ) -> Optional[Connection]:  # noqa: UP045  # fmt: skip
        """The connection whose key is buf[at:end]. Most were seen recently, and are known by the ports and what is in
        front of them, eight bytes of the addresses."""
        tail: cython.p_uchar = span(buf, end - 12, 12)
        near: cython.ulonglong = cython.cast(cython.ulonglong, long_word(tail, 0)) << 32 | long_word(tail, 4)
        ports: cython.uint = long_word(tail, 8)
        slot: cython.Py_ssize_t = ((near * FACTOR + ports) * FACTOR & MASK64) >> RECENT_SHIFT  # Knuth, 6.4
        c: Optional[Connection] = self.recent[slot]  # noqa: UP045
        if (
            c is not None and c.near == near and c.ports == ports and c.kind == kind and c.key_len == end - at
            and (c.key_len == 12 or equal_key(c.key, buf, at, end - at))
        ):  # fmt: skip
            return c
        if cython.compiled:
            c = table.get(cython.cast(cython.p_char, buf)[at:end])
        else:
            c = table.get(bytes(buf[at:end]))
        if c is not None:
            self.recent[slot] = c
            c.near, c.ports, c.key_len, c.slot = near, ports, end - at, slot
        return c

    # TCP

    @cython.cfunc
    @cython.exceptval(-1)
    def ordinary_tcp(
        self,
        side: cython.int,
        f: Frame,
        buf: bytearray,
        key: cython.Py_ssize_t,
        l4: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.int:
        """A segment without options of note, in order, of a connection that nothing extraordinary happens to."""
        c: Optional[Connection]  # noqa: UP045
        flags: cython.uint
        header: cython.p_uchar
        seq: cython.uint
        ack: cython.uint
        window: cython.uint
        right: cython.uint
        data: cython.Py_ssize_t
        size: cython.Py_ssize_t
        progress: cython.bint = False
        waits: cython.bint
        if end - l4 < 20:
            return GENERAL
        header = span(buf, l4, 20)
        data = l4 + (header[12] >> 4) * 4
        flags = header[13]
        if data < l4 + 20 or data > end or flags & EXTRAORDINARY or not flags & ACK:
            return GENERAL
        c = self.find(self.tcp, TCP, buf, key, l4 + 4)
        if c is None or not (c.p_fast if side == PRIMARY else c.s_fast):
            return GENERAL
        seq = long_word(header, 4)
        ack = long_word(header, 8)
        window = word(header, 14)
        size = end - data
        if side == PRIMARY:
            right = (ack + (window << c.p_scale)) & MASK if c.p_scale >= 0 else 0
            if size == 0:
                if self.ack_rule and not self.covered(c, ack, right):
                    return GENERAL
                self.see_primary(c, ack, right)
                self.saw_client(c, ack, right)
                self.release(f)
                c.last = f.time
                return DONE
            if seq != c.p_next:
                return GENERAL
            self.see_primary(c, ack, right)
            c.p_next = (seq + size) & MASK
        else:
            seq = (seq - c.shift) & MASK
            if size and seq != c.s_next:
                return GENERAL
            if size == 0 and c.owes and c.s_acked and ack == c.s_ack and before(ack, c.p_ack):
                return GENERAL  # perhaps it lacks something that the primary has
            right = (ack + (window << c.s_scale)) & MASK if c.s_scale >= 0 else 0
            progress = self.see_secondary(c, ack, right)
            if size == 0:
                self.count(1, DROPPED, 1, f.end - f.start)
                c.last = f.time
                if progress and c.owes:
                    self.match(c)
                    self.owed(c)
                return DONE
            c.s_next = (seq + size) & MASK
        c.last = f.time
        f.data = data
        f.seq = seq
        f.size = size
        f.ack = ack
        f.flags = flags
        f.window = window
        f.order = 0
        self.link(c, side, f)
        self.match(c)
        waits = (c.p_tail if side == PRIMARY else c.s_tail) is f
        if waits:
            self.hold(c, side, f)
        if progress and c.owes:
            self.owed(c)
        return WAITS if waits else DONE

    @cython.ccall
    @cython.exceptval(-1)
    def covered(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.bint:
        """Whether the secondary has acknowledged `ack` and opened its window to `right` too."""
        if not c.s_acked or before(c.s_ack, ack):
            return False
        return c.p_scale < 0 or c.s_scale < 0 or not before(c.s_right, right)

    @cython.ccall
    @cython.exceptval(-1)
    def see_primary(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.int:
        """Remember the primary's largest acknowledgement and right window edge."""
        if not c.p_acked or before(c.p_ack, ack):
            c.p_ack = ack
        if c.p_scale >= 0 and (not c.p_acked or before(c.p_right, right)):
            c.p_right = right
        c.p_acked = True
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def see_secondary(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.bint:
        """Remember the secondary's largest acknowledgement and right window edge. Whether either advanced."""
        progress: cython.bint = not c.s_acked
        if not c.s_acked or before(c.s_ack, ack):
            c.s_ack = ack
            progress = True
        if c.s_scale >= 0 and (not c.s_acked or before(c.s_right, right)):
            c.s_right = right
            progress = True
        c.s_acked = True
        return progress

    @cython.ccall
    @cython.exceptval(-1)
    def saw_client(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.int:
        """Remember the largest acknowledgement and right window edge that left for the client."""
        if not c.client_acked or before(c.client_ack, ack):
            c.client_ack = ack
        if not c.client_acked or before(c.client_right, right):
            c.client_right = right
        c.client_acked = True
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def match(self, c: Connection) -> cython.bint:
        """Compare both streams from `verified` on as far as both are here; release what is verified.

        False: they differ (the general path was told), or have not begun.
        """
        p: Frame = c.p_head
        s: Frame = c.s_head
        began: cython.uint = c.verified
        v: cython.uint = began
        p_at: cython.uint
        s_at: cython.uint
        n: cython.uint
        if c.diverged is not None or not c.started:
            return False
        while p is not None:
            p_at = (v - p.seq) & MASK
            if p_at >> 31:
                break  # bytes of the primary are missing in front of this frame
            if p_at >= p.size + p.fin:
                c.verified = v
                if not self.leave(c, p):
                    break
                p = c.p_head
                continue
            if s is None:
                break
            s_at = (v - s.seq) & MASK
            if s_at >> 31:
                break  # bytes of the secondary are missing
            if s_at >= s.size + s.fin:
                self.use_up(c)
                s = c.s_head
                continue
            if p_at < p.size and s_at < s.size:
                n = min(p.size - p_at, s.size - s_at)
                if not equal_bytes(p.buf, p.data + p_at, s.buf, s.data + s_at, n):
                    c.verified = v
                    self.enter(c)
                    if not self.differs(c, v, p, s):
                        return False
                    s = c.s_head
                    continue
                v = (v + n) & MASK
                c.verified_bytes += n
                self.verified_bytes += n
                if self.tracer is not None:
                    self.tracer(c, p, s, v, n)
            elif p_at == p.size and s_at == s.size:
                v = (v + 1) & MASK  # both end here: FIN takes a place (RFC 9293, 3.4)
                c.closed = True
            else:
                c.verified = v
                self.enter(c)
                if not self.differs(c, v, p, s):
                    return False
                s = c.s_head
                continue
            if (v - s.seq) & MASK >= s.size + s.fin:
                self.use_up(c)
                s = c.s_head
        c.verified = v
        if v != began:
            c.moved = c.last
        if (
            p is not None and p.size > LARGE and not c.partial and not before(v, p.seq)
            and ((v - p.seq) & MASK) > p.done
        ):  # fmt: skip
            c.partial = True
            self.partials.append(c)
        return True

    @cython.cfunc
    @cython.exceptval(-1)
    def enter(self, c: Connection) -> cython.int:
        """Hold the frame that has just come, the last in its queue: the general path finds all in the accounts."""
        if c.p_tail is not None:
            self.hold(c, PRIMARY, c.p_tail)
        if c.s_tail is not None:
            self.hold(c, 1, c.s_tail)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def leave(self, c: Connection, p: Frame) -> cython.bint:
        """Release the first frame of the primary's queue, all of which is verified."""
        right: cython.uint = (p.ack + (p.window << c.p_scale)) & MASK if c.p_scale >= 0 else 0
        if p.done or p.parts is not None or c.a_head is not None or (
            self.ack_rule and p.flags & ACK and not self.covered(c, p.ack, right)
        ):  # fmt: skip
            self.enter(c)
            if not self.settle(c, p):
                return False
            self.take_primary(c)
            return True
        if p.flags & ACK:
            self.saw_client(c, p.ack, right)
        if self.tracer is not None:
            self.tracer(c, p, None, 0, 0)
        self.take_primary(c)
        self.release(p)
        return True

    @cython.ccall
    @cython.exceptval(-1)
    def refresh(self, c: Connection) -> cython.int:
        """Find where each side's queue ends: a segment that begins there overlaps nothing that is held, and needs no
        more than to be put behind it, unless a FIN is in the queue. p_fast, s_fast: whether none is."""
        f: Frame = c.p_head
        end: cython.uint
        c.p_next = c.s_next = c.verified
        c.p_fast = c.s_fast = True
        while f is not None:
            end = end_of(f)
            if before(c.p_next, end):
                c.p_next = end
            if f.fin:
                c.p_fast = False
            f = f.next
        f = c.s_head
        while f is not None:
            c.s_next = end_of(f)
            if f.fin:
                c.s_fast = False
            f = f.next
        return 0

    @cython.ccall
    def beginning(self, c: Connection, place: cython.uint) -> Optional[Frame]:  # noqa: UP045
        """The last frame in the primary's queue that begins at or before this place."""
        found: Optional[Frame] = None  # noqa: UP045
        f: Optional[Frame] = c.p_head  # noqa: UP045
        if c.p_tail is not None and not before(place, c.p_tail.seq):
            return c.p_tail
        while f is not None and not before(place, f.seq):
            found = f
            f = f.next
        return found

    @cython.ccall
    def overlapping(self, c: Connection, place: cython.uint) -> Optional[Frame]:  # noqa: UP045
        """The first frame in the primary's queue that ends behind this place."""
        f: Optional[Frame] = c.p_head  # noqa: UP045
        while f is not None and not before(place, end_of(f)):
            f = f.next
        return f

    @cython.ccall
    def in_front(self, c: Connection, place: cython.uint) -> Optional[Frame]:  # noqa: UP045
        """The last frame in the secondary's queue that ends at or before this place."""
        found: Optional[Frame] = None  # noqa: UP045
        f: Optional[Frame] = c.s_head  # noqa: UP045
        if c.s_tail is not None and not before(place, end_of(c.s_tail)):
            return c.s_tail
        while f is not None and not before(place, end_of(f)):
            found = f
            f = f.next
        return found

    # UDP

    @cython.cfunc
    @cython.exceptval(-1)
    def ordinary_udp(
        self,
        side: cython.int,
        f: Frame,
        buf: bytearray,
        key: cython.Py_ssize_t,
        l4: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> cython.int:
        """Datagrams that arrive in the same order on both sides, and those that are the first to arrive."""
        c: Optional[Connection]  # noqa: UP045
        other: Frame
        size: cython.Py_ssize_t
        if end - l4 < 8:
            return GENERAL
        size = word(span(buf, l4, 8), 4)
        if size < 8 or size > end - l4:
            return GENERAL
        c = self.find(self.udp, UDP, buf, key, l4 + 4)
        if c is None or not (c.p_fast and c.s_fast):
            return GENERAL
        f.data = l4 + 8
        f.size = size - 8
        other = c.s_head if side == PRIMARY else c.p_head
        if other is None:
            f.order = 0
            self.append(c, side, f)
            c.last = f.time
            return WAITS
        if (c.p_head if side == PRIMARY else c.s_head) is not None or not same_datagram(f, other):
            return GENERAL
        if side == PRIMARY:
            self.use_up(c)
            self.release(f)
        else:
            self.take_primary(c)
            self.release(other)
            self.count(1, DROPPED, 1, f.end - f.start)
        c.verified_bytes += f.size
        self.verified_bytes += f.size
        c.last = f.time
        return DONE

    # Queues and accounts

    @cython.ccall
    @cython.exceptval(-1)
    def append(self, c: Connection, side: cython.int, f: Frame) -> cython.int:
        """Put a frame at the end of a side's queue."""
        self.link(c, side, f)
        return self.hold(c, side, f)

    @cython.cfunc
    @cython.exceptval(-1)
    def link(self, c: Connection, side: cython.int, f: Frame) -> cython.int:
        """`append` without the accounts: the frame may be on its way out at once."""
        if side == PRIMARY:
            if c.p_tail is None:
                c.p_head = f
            else:
                c.p_tail.next = f
            c.p_tail = f
        else:
            if c.s_tail is None:
                c.s_head = f
            else:
                c.s_tail.next = f
            c.s_tail = f
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def hold(self, c: Connection, side: cython.int, f: Frame) -> cython.int:
        """Enter a frame that was put in a queue into the accounts, unless it is there already. Pieces count with the
        last one of their frame."""
        size: cython.uint
        if f.more or f.order:
            return 0
        self.order += 1
        f.order = self.order
        size = weight_of(f)
        self.count(side, HELD, count_of(f), size)
        if side == PRIMARY:
            c.p_count += 1
            c.p_bytes += size
            if c.p_count == self.max_queue:
                self.p_crowded += 1
        else:
            c.s_count += 1
            c.s_bytes += size
            if c.s_count == self.max_queue:
                self.s_crowded += 1
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def unhold(self, c: Connection, side: cython.int, f: Frame) -> cython.int:
        """Undo `hold`: the frame is leaving its queue."""
        size: cython.longlong
        frames: cython.longlong
        if f.more or not f.order:
            return 0
        size = weight_of(f)
        frames = count_of(f)
        self.count(side, HELD, -frames, -size)
        if side == PRIMARY:
            if c.p_count == self.max_queue:
                self.p_crowded -= 1
            c.p_count -= 1
            c.p_bytes -= size
            if self.measuring:
                self.wait_over(self.now - f.time, frames)
        else:
            if c.s_count == self.max_queue:
                self.s_crowded -= 1
            c.s_count -= 1
            c.s_bytes -= size
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def wait_over(self, seconds: cython.double, frames: cython.longlong) -> cython.int:
        """Frames of the primary leave their queue after so long."""
        cell: cython.int = 0
        bound: cython.double = SHORTEST_WAIT
        while cell < WAIT_CELLS - 1 and seconds > bound:
            bound *= 2
            cell += 1
        self.wait_cells[cell] += frames
        self.waited += seconds * frames
        return 0

    @cython.ccall
    def take_primary(self, c: Connection) -> Frame:
        """Take the first frame out of the primary's queue."""
        f: Frame = c.p_head
        c.p_head = f.next
        if c.p_head is None:
            c.p_tail = None
        f.next = None
        self.unhold(c, PRIMARY, f)
        return f

    @cython.ccall
    @cython.exceptval(-1)
    def use_up(self, c: Connection) -> cython.int:
        """Drop the first of the secondary's queue: it has served its purpose."""
        f: Frame = c.s_head
        c.s_head = f.next
        if c.s_head is None:
            c.s_tail = None
        f.next = None
        self.unhold(c, 1, f)
        if not f.more:
            self.count(1, DROPPED, count_of(f), weight_of(f))
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def take_out(self, c: Connection, f: Frame) -> cython.int:
        """`use_up` for one that may stand anywhere in the queue."""
        front: Frame = c.s_head
        if front is f:
            return self.use_up(c)
        while front is not None and front.next is not f:
            front = front.next
        if front is None:
            raise ValueError("not in the queue")
        front.next = f.next
        if c.s_tail is f:
            c.s_tail = front
        f.next = None
        self.unhold(c, 1, f)
        if not f.more:
            self.count(1, DROPPED, count_of(f), weight_of(f))
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def count(
        self, side: cython.int, column: cython.int, frames: cython.longlong, size: cython.longlong
    ) -> cython.int:
        """Add to an account."""
        self.cells[side * SIDE + column] += frames
        self.cells[side * SIDE + column + 1] += size
        return 0

    # The way out

    @cython.cfunc
    @cython.exceptval(-1)
    def release(self, f: Frame) -> cython.int:
        """Let one of the primary's frames leave as it came."""
        self.count(PRIMARY, RELEASED, 1, f.end - f.start)
        return self.send(f.buf, f.start, f.end, f.vnet_len, f.headroom, f.lease)

    @cython.ccall
    @cython.exceptval(-1)
    def send(
        self,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        headroom: cython.uint,
        lease: object,
    ) -> cython.int:
        """Add a frame to the output; with headroom, frames that lie one behind the other leave as one range."""
        if headroom == 0:
            self.flush()
            self.output.append((buf, start, end, vnet_len, lease))
            return 0
        if buf is self.out_buf and start - headroom == self.out_end:
            self.out_end = end
            return 0
        self.close()
        self.out_buf = buf
        self.out_start = start - headroom
        self.out_end = end
        self.out_lease = lease
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def send_made(self, frame: bytes, vnet_len: cython.int) -> cython.int:
        """Add a frame that the comparator made or altered to the output."""
        self.flush()
        self.output.append((frame, 0, len(frame), vnet_len, None))
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def close(self) -> cython.int:
        """End the range that is being collected. A long one leaves from where it is, a short one is copied behind those
        before it: that costs less than an output of its own."""
        size: cython.Py_ssize_t = self.out_end - self.out_start
        if self.out_buf is None:
            return 0
        if size >= SHORT:
            self.flush_gathered()
            self.output.append((self.out_buf, self.out_start, self.out_end, -1, self.out_lease))
        else:
            if self.gathered_end + size > len(self.gathered):
                self.flush_gathered()
                self.gathered = bytearray(GATHERED)
                self.gathered_start = self.gathered_end = 0
            copy_bytes(self.gathered, self.gathered_end, self.out_buf, self.out_start, size)
            self.gathered_end += size
        self.out_buf = None
        self.out_lease = None
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def flush_gathered(self) -> cython.int:
        """What was copied together becomes an output."""
        if self.gathered_end > self.gathered_start:
            self.output.append((self.gathered, self.gathered_start, self.gathered_end, -1, None))
            self.gathered_start = self.gathered_end
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def flush(self) -> cython.int:
        """End everything that is being collected."""
        self.close()
        return self.flush_gathered()

    @cython.ccall
    @cython.exceptval(-1)
    def full(self, side: cython.int) -> cython.bint:
        """Whether a side's held frames have come to a limit."""
        crowded: cython.int = self.p_crowded if side == PRIMARY else self.s_crowded
        frames: cython.ulonglong = self.cells[side * SIDE + HELD]
        return crowded > 0 or self.cells[side * SIDE + HELD + 1] + frames * FRAME_COST >= self.max_held

    def take_output(self) -> list:
        """Everything released since the last call, in order."""
        self.flush()
        output = self.output
        self.output = []
        return output

    def forget(self, table: dict, c: Connection) -> None:
        """Take a connection out of its table."""
        c.p_fast = c.s_fast = False
        if self.recent[c.slot] is c:
            self.recent[c.slot] = None
        if table.get(c.key) is c:
            del table[c.key]

    def overdue(self, beside: list, before: cython.double, limit: cython.int) -> list:
        """Up to `limit` connections, of the tables and of those beside, that hold or wait for something since the time
        `before` or longer. A stream that moves on waits for nothing: a replica that recovers from loss is slow, not
        silent."""
        c: Connection
        found: list = []
        for table in (self.tcp, self.udp, self.icmp, self.icmpv6, self.other, self.non_ip, beside):
            for c in table.values() if isinstance(table, dict) else table:
                if c.diverged is None and (
                    (c.p_head is not None and c.p_head.time <= before and c.moved <= before)
                    or (c.s_head is not None and c.s_head.time <= before and c.moved <= before)
                    or (c.a_head is not None and c.a_head.time <= before)
                    or (c.control is not None and c.control[0].time <= before)
                    or (c.s_rst and not c.p_rst and c.s_rst_time <= before)
                    or (c.s_syn is not None and not c.started and c.s_syn_time <= before)
                ):
                    found.append(c)
                    if len(found) >= limit:
                        return found
        return found

    def survey(self, beside: list, unprotected_rule: object, limit: cython.Py_ssize_t) -> tuple:
        """All connections, those of the tables and those beside, counted: when the oldest came of what is held of the
        primary's and of the secondary's (None: nothing is), how many hold something, how many diverged, how many have
        this rule; and up to `limit` of those that hold something or diverged."""
        c: Connection
        nothing: cython.double = float("inf")
        primary: cython.double = nothing
        secondary: cython.double = nothing
        waiting: cython.Py_ssize_t = 0
        diverged: cython.Py_ssize_t = 0
        unprotected: cython.Py_ssize_t = 0
        found: list = []
        for table in (self.tcp, self.udp, self.icmp, self.icmpv6, self.other, self.non_ip, beside):
            for c in table.values() if isinstance(table, dict) else table:
                if c.rule is unprotected_rule:
                    unprotected += 1
                if c.diverged is not None:
                    diverged += 1
                elif not (c.p_count or c.s_count):
                    continue
                if c.p_count or c.s_count:
                    waiting += 1
                if c.p_head is not None and c.p_head.time < primary:
                    primary = c.p_head.time
                if c.a_head is not None and c.a_head.time < primary:
                    primary = c.a_head.time
                if c.control is not None and c.control[0].time < primary:
                    primary = c.control[0].time
                if c.s_head is not None and c.s_head.time < secondary:
                    secondary = c.s_head.time
                if len(found) < limit:
                    found.append(c)
        return (
            None if primary == nothing else primary, None if secondary == nothing else secondary, waiting, diverged,
            unprotected, found,
        )  # fmt: skip

    def aged(self, before: cython.double) -> list:
        """Closed TCP connections that hold nothing and were last heard of before then."""
        c: Connection
        found: list = []
        for c in self.tcp.values():
            if c.closed and c.last <= before and not (c.p_count or c.s_count or c.successor):
                found.append(c)
        return found

    def idlest(self, table: dict, wanted: cython.Py_ssize_t) -> list:
        """Up to `wanted` connections to forget, the longest idle first: of those that hold no frame of the primary,
        nor do those that follow them on their key, first the closed, then those that hold nothing, then those of which
        the secondary alone says something, and last those that wait for a checkpoint."""
        c: Connection
        busy: cython.bint
        ranked: list = []
        for c in table.values():
            if not primary_waits(c):
                busy = c.s_count != 0 or c.successor is not None
                ranked.append((c.diverged is not None, busy, not c.closed, c.last, len(ranked), c))
        ranked.sort()
        return [entry[5] for entry in ranked[:wanted]]

    def detach(self) -> None:
        """Copy all that is held out of the buffers it came in."""
        c: Connection
        f: Frame
        for table in (self.tcp, self.udp, self.icmp, self.icmpv6, self.other, self.non_ip):
            for c in table.values():
                if c.p_count or c.s_count:
                    detach_queue(c.p_head)
                    detach_queue(c.s_head)
                    detach_queue(c.a_head)
                    if c.control is not None:
                        for f in c.control:
                            f.detach()

    def new_epoch(self, connections: list, keep: cython.bint) -> list:
        """Make the secondary's half of each connection a copy of the primary's. Returns the primary's held frames,
        unordered, as (order of arrival, connection, frame).

        keep: what the secondary has sent beyond the primary's place stays; otherwise all of its is dropped.
        What is left to the caller: to release these, and to drop what is held elsewhere.
        """
        c: Connection
        frames: list = []
        for c in connections:
            self.rebase(c, frames, keep)
        return frames

    @cython.cfunc
    @cython.exceptval(-1)
    def rebase(self, c: Connection, frames: list, keep: cython.bint) -> cython.int:
        f: Frame
        following: Frame
        while c.p_head is not None:
            f = self.take_primary(c)
            frames.append((f.order, c, f))
            if c.kind == TCP and (not c.started or before(c.verified, end_of(f))):
                c.verified = end_of(f)
                c.started = True
                if f.fin:
                    c.closed = True
        f = c.a_head
        c.a_head = c.a_tail = None
        while f is not None:
            self.unhold(c, PRIMARY, f)
            frames.append((f.order, c, f))
            following = f.next
            f.next = None
            f = following
        if c.control is not None:
            for f in c.control:
                self.unhold(c, PRIMARY, f)
                frames.append((f.order, c, f))
            c.control = None
        while c.s_head is not None and not (
            keep and before(c.verified, end_of(c.s_head))
        ):  # fmt: skip
            self.use_up(c)
        if not keep:
            c.shift = 0
        c.s_ack, c.s_acked, c.s_right, c.s_scale = c.p_ack, c.p_acked, c.p_right, c.p_scale
        c.s_syn, c.s_rst = c.p_syn, c.p_rst
        c.closed = c.closed or c.p_rst
        c.diverged = c.index = None
        c.partial = False
        # The next segment of either side goes the general way, which sets these.
        c.p_fast = c.s_fast = False
        return 0


@cython.cfunc
def fresh(buf: bytearray, headroom: cython.uint, lease: object, now: cython.double) -> Frame:
    """A frame somewhere in this buffer."""
    f: Frame = Frame.__new__(Frame)
    f.buf = buf
    f.headroom = headroom
    f.lease = lease
    f.time = now
    return f


@cython.cfunc
@cython.inline
@cython.exceptval(0xFFFFFFFF, check=True)
def count_of(f: Frame) -> cython.uint:
    """How many frames of the wire this is."""
    return 1 if f.parts is None else len(f.parts)


@cython.cfunc
@cython.inline
@cython.exceptval(0xFFFFFFFF, check=True)
def weight_of(f: Frame) -> cython.uint:
    """How many bytes these frames have."""
    return f.end - f.start if f.parts is None else weight_of_parts(f.parts)


@cython.cfunc
@cython.exceptval(0xFFFFFFFF, check=True)
def weight_of_parts(parts: list) -> cython.uint:
    part: Frame
    size: cython.uint = 0
    for part in parts:
        size += part.end - part.start
    return size


@cython.cfunc
@cython.exceptval(-1)
def same_datagram(a: Frame, b: Frame) -> cython.bint:
    """Whether two datagrams, none of them in fragments, have the same payload."""
    whole: cython.bint = a.parts is None and b.parts is None
    return whole and a.size == b.size and equal_bytes(a.buf, a.data, b.buf, b.data, a.size)


@cython.cfunc
@cython.exceptval(-1)
def detach_queue(f: Optional[Frame]) -> cython.int:  # noqa: UP045
    while f is not None:
        f.detach()
        f = f.next
    return 0


@cython.cfunc
@cython.exceptval(-1)
def primary_waits(c: Optional[Connection]) -> cython.bint:  # noqa: UP045
    """Whether a connection, or one that follows it on its key, holds a frame of the primary."""
    while c is not None:
        if c.p_count:
            return True
        c = c.successor
    return False


@cython.cfunc
@cython.exceptval(-1)
def unlink(f: Optional[Frame]) -> cython.int:  # noqa: UP045
    """Take a queue apart from its head on."""
    following: Frame
    while f is not None:
        following = f.next
        f.next = None
        f = following
    return 0


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def before(a: cython.uint, b: cython.uint) -> cython.bint:
    """Whether place a comes before place b."""
    return ((a - b) & MASK) >> 31 != 0


@cython.cfunc
@cython.inline
@cython.exceptval(0xFFFFFFFF, check=True)
def end_of(f: Frame) -> cython.uint:
    """The place behind a frame's last, FIN included."""
    return (f.seq + f.size + f.fin) & MASK


@cython.cfunc
@cython.inline
def span(buf: bytearray, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.p_uchar:
    """buf[at:at + n], to read from. C's pointers know no bounds, so they are checked here, once for a whole header."""
    if at < 0 or at + n > len(buf):
        raise IndexError("read outside a frame")
    if cython.compiled:
        return cython.cast(cython.p_uchar, PyByteArray_AS_STRING(buf)) + at  # noqa: F821
    return buf[at : at + n]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def word(p: cython.p_uchar, i: cython.Py_ssize_t) -> cython.uint:
    """The 16-bit number at p[i], big endian. Nothing here can fail: `span` has checked."""
    return p[i] << 8 | p[i + 1]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def long_word(p: cython.p_uchar, i: cython.Py_ssize_t) -> cython.uint:
    """The 32-bit number at p[i]."""
    return cython.cast(cython.uint, p[i]) << 24 | p[i + 1] << 16 | p[i + 2] << 8 | p[i + 3]


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def equal_bytes(
    a: bytearray, i: cython.Py_ssize_t, b: bytearray, j: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.bint:
    """Whether a[i:i + n] == b[j:j + n]. memcmp knows no bounds, so they are checked here."""
    if i < 0 or j < 0 or n < 0 or i + n > len(a) or j + n > len(b):
        raise IndexError("comparison outside a frame")
    if cython.compiled:
        return memcmp(PyByteArray_AS_STRING(a) + i, PyByteArray_AS_STRING(b) + j, n) == 0  # noqa: F821
    return a[i : i + n] == b[j : j + n]


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def equal_key(key: bytes, buf: bytearray, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.bint:
    """Whether buf[at:at + n] == key."""
    if len(key) != n or at < 0 or at + n > len(buf):
        return False
    if cython.compiled:
        return memcmp(PyBytes_AS_STRING(key), PyByteArray_AS_STRING(buf) + at, n) == 0  # noqa: F821
    return buf[at : at + n] == key


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def copy_bytes(
    to: bytearray, i: cython.Py_ssize_t, source: bytearray, j: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.int:
    """to[i:i + n] = source[j:j + n]. memcpy knows no bounds, so they are checked here."""
    if i < 0 or j < 0 or n < 0 or i + n > len(to) or j + n > len(source):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        memcpy(PyByteArray_AS_STRING(to) + i, PyByteArray_AS_STRING(source) + j, n)  # noqa: F821
    else:
        to[i : i + n] = source[j : j + n]
    return 0
