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

# TCP flags (RFC 9293, 3.1) that no ordinary segment has: URG, RST, SYN, FIN.
EXTRAORDINARY = cython.declare(cython.int, 0x27)
ACK = cython.declare(cython.int, 0x10)

# A payload that no frame of an Ethernet of 1500 bytes carries: such a frame may leave in parts.
LARGE = cython.declare(cython.uint, 1460)


@cython.freelist(1024)
@cython.trashcan(True)
@cython.cclass
class Frame:
    """A frame that waits. On the secondary's side of a stream it stands for the bytes that it alone brought.

    buf[start:end] is the frame, its virtio-net header first, behind `headroom` bytes of the link's framing;
    buf[data:data + size] its payload; `seq` the place of the first of these; `done` how many have left already;
    `parts` the fragments it came in, or None; `more` is set on a piece behind which others of the same frame follow;
    `gone` on a datagram that was matched out of order; `stale` on what the secondary may have sent before the last
    checkpoint. There is no __init__: C zeroes all of it, and frames are made by the million.
    """

    start = cython.declare(cython.Py_ssize_t, visibility="public")
    end = cython.declare(cython.Py_ssize_t, visibility="public")
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
    gone = cython.declare(cython.bint, visibility="public")
    stale = cython.declare(cython.bint, visibility="public")
    time = cython.declare(cython.double, visibility="public")
    order = cython.declare(cython.ulonglong, visibility="public")
    lease = cython.declare(object, visibility="public")
    buf = cython.declare(bytearray, visibility="public")
    parts = cython.declare(object, visibility="public")
    next = cython.declare("Frame", visibility="public")

    @cython.ccall
    def frames(self) -> cython.uint:
        """How many frames of the wire this is."""
        return 1 if self.parts is None else len(self.parts)

    @cython.ccall
    def weight(self) -> cython.uint:
        """How many bytes these frames have."""
        part: Frame
        size: cython.uint = 0
        if self.parts is None:
            return self.end - self.start
        for part in self.parts:
            size += part.end - part.start
        return size

    def detach(self) -> None:
        """Copy the frame out of the buffer it shares, so that a long wait does not keep the whole buffer."""
        if self.lease is None:
            return
        begin = self.start - self.headroom
        self.buf = self.buf[begin : self.end]
        self.data -= begin
        self.end -= begin
        self.start = self.headroom
        self.lease = None


@cython.cclass
class Connection:
    """Both replicas' state of one connection, in the numbers of the primary.

    Three queues, linked through `Frame.next`: p_* the primary's frames with payload, by place; s_* the secondary's
    bytes that are not verified yet, by place, without overlap; a_* the primary's pure acknowledgements that wait.
    `control` holds the primary's SYN and RST frames that wait. All places before `verified` are equal.
    `p_fast` and `s_fast` are set while nothing but ordinary segments in order comes from that side; `owes` while the
    client has not been told all that the primary acknowledged.
    """

    key = cython.declare(bytes, visibility="public")
    kind = cython.declare(cython.int, visibility="public")
    p_scale = cython.declare(cython.int, visibility="public")
    s_scale = cython.declare(cython.int, visibility="public")
    endpoints = cython.declare(object, visibility="public")
    rule = cython.declare(object, visibility="public")
    diverged = cython.declare(object, visibility="public")
    index = cython.declare(object, visibility="public")
    control = cython.declare(object, visibility="public")
    template = cython.declare(object, visibility="public")
    successor = cython.declare(object, visibility="public")
    p_syn = cython.declare(object, visibility="public")
    s_syn = cython.declare(object, visibility="public")
    p_head = cython.declare(Frame, visibility="public")
    p_tail = cython.declare(Frame, visibility="public")
    s_head = cython.declare(Frame, visibility="public")
    s_tail = cython.declare(Frame, visibility="public")
    a_head = cython.declare(Frame, visibility="public")
    a_tail = cython.declare(Frame, visibility="public")
    p_count = cython.declare(cython.uint, visibility="public")
    s_count = cython.declare(cython.uint, visibility="public")
    p_bytes = cython.declare(cython.uint, visibility="public")
    s_bytes = cython.declare(cython.uint, visibility="public")
    verified = cython.declare(cython.uint, visibility="public")
    first = cython.declare(cython.uint, visibility="public")
    shift = cython.declare(cython.uint, visibility="public")
    p_next = cython.declare(cython.uint, visibility="public")
    s_next = cython.declare(cython.uint, visibility="public")
    p_ack = cython.declare(cython.uint, visibility="public")
    s_ack = cython.declare(cython.uint, visibility="public")
    client_ack = cython.declare(cython.uint, visibility="public")
    p_right = cython.declare(cython.uint, visibility="public")
    s_right = cython.declare(cython.uint, visibility="public")
    p_fast = cython.declare(cython.bint, visibility="public")
    s_fast = cython.declare(cython.bint, visibility="public")
    started = cython.declare(cython.bint, visibility="public")
    p_acked = cython.declare(cython.bint, visibility="public")
    s_acked = cython.declare(cython.bint, visibility="public")
    client_acked = cython.declare(cython.bint, visibility="public")
    client_right = cython.declare(cython.uint, visibility="public")
    owes = cython.declare(cython.bint, visibility="public")
    partial = cython.declare(cython.bint, visibility="public")
    p_moved = cython.declare(cython.bint, visibility="public")
    s_moved = cython.declare(cython.bint, visibility="public")
    p_rst = cython.declare(cython.bint, visibility="public")
    s_rst = cython.declare(cython.bint, visibility="public")
    closed = cython.declare(cython.bint, visibility="public")
    since = cython.declare(cython.double, visibility="public")
    last = cython.declare(cython.double, visibility="public")
    s_rst_time = cython.declare(cython.double, visibility="public")
    s_syn_time = cython.declare(cython.double, visibility="public")
    verified_bytes = cython.declare(cython.ulonglong, visibility="public")

    def __init__(self) -> None:
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
        self.since = self.last = self.s_rst_time = self.s_syn_time = 0.0
        self.verified_bytes = 0


@cython.cclass
class Engine:
    """Tables, accounts, output, and the ordinary frame's way through them.

    Callbacks into the general path, all plain Python:
    general(side, buf, start, end, vnet_len, headroom, lease, now): takes any frame that is not ordinary;
    differs(connection, place, frame_p, frame_s): the two say different things at this place;
    settle(connection, frame) -> bool: a verified frame that may not leave as it is, or not as the next; True if it left;
    owed(connection): the secondary acknowledged more, and the client has not been told all;
    tracer(connection, frame_p, frame_s, place, n): told of every n bytes found equal and, without frame_s, of every
        release; or None.
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
    tally = cython.declare(cython.ulonglong[::1], visibility="public")
    order = cython.declare(cython.ulonglong, visibility="public")
    verified_bytes = cython.declare(cython.ulonglong, visibility="public")
    max_queue = cython.declare(cython.uint, visibility="public")
    p_crowded = cython.declare(cython.int, visibility="public")
    s_crowded = cython.declare(cython.int, visibility="public")
    output = cython.declare(list, visibility="public")
    partials = cython.declare(list, visibility="public")
    p_recent = cython.declare(Connection)
    s_recent = cython.declare(Connection)
    out_buf = cython.declare(bytearray)
    out_start = cython.declare(cython.Py_ssize_t)
    out_end = cython.declare(cython.Py_ssize_t)
    out_lease = cython.declare(object)

    def __init__(self, general: object, differs: object, settle: object, owed: object, max_queue: int) -> None:
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
        self.tally = array("Q", [0] * (2 * 12))
        self.order = 0
        self.verified_bytes = 0
        self.max_queue = max_queue
        self.p_crowded = self.s_crowded = 0
        self.output = []
        self.partials = []
        self.p_recent = None
        self.s_recent = None
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
        size: cython.ulonglong = 0
        room: cython.Py_ssize_t = len(buf)
        fast: cython.bint = self.fast
        for i in range(count):
            start = index[3 * i]
            end = index[3 * i + 1]
            vnet_len = index[3 * i + 2]
            if not (headroom <= start < end <= room):
                raise ValueError("frame outside its buffer")
            size += end - start
            if not fast or not self.ordinary(side, buf, start, end, vnet_len, headroom, lease, now):
                self.general(side, buf, start, end, vnet_len, headroom, lease, now)
        self.tally[side * SIDE + RECEIVED] += count
        self.tally[side * SIDE + RECEIVED + 1] += size

    @cython.cfunc
    def ordinary(
        self,
        side: cython.int,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        headroom: cython.uint,
        lease: object,
        now: cython.double,
    ) -> cython.bint:
        """Take the frame if it is ordinary: unfragmented IPv4 without options, or IPv6 without extension headers,
        carrying TCP or UDP of a known connection. False: nothing was done with it."""
        ip: cython.Py_ssize_t = start + vnet_len + 14
        room: cython.Py_ssize_t = end - ip
        key: cython.Py_ssize_t
        key_len: cython.Py_ssize_t
        l4: cython.Py_ssize_t
        length: cython.Py_ssize_t
        protocol: cython.int
        if room < 28:
            return False
        if buf[ip - 2] == 0x08 and buf[ip - 1] == 0x00:
            # Version 4, header of 20 bytes; neither "more fragments" nor an offset.
            if buf[ip] != 0x45 or buf[ip + 6] & 0x3F or buf[ip + 7]:
                return False
            length = buf[ip + 2] << 8 | buf[ip + 3]
            l4 = ip + 20
            protocol = buf[ip + 9]
            key = ip + 12
            key_len = 12
        elif buf[ip - 2] == 0x86 and buf[ip - 1] == 0xDD:
            if room < 48 or buf[ip] >> 4 != 6:
                return False
            length = 40 + (buf[ip + 4] << 8 | buf[ip + 5])
            l4 = ip + 40
            protocol = buf[ip + 6]
            key = ip + 8
            key_len = 36
        else:
            return False
        if length > room:
            return False
        if protocol == 6:
            return self.ordinary_tcp(
                side, buf, start, end, key, key_len, l4, ip + length, vnet_len, headroom, lease, now
            )
        if protocol == 17:
            return self.ordinary_udp(
                side, buf, start, end, key, key_len, l4, ip + length, vnet_len, headroom, lease, now
            )
        return False

    @cython.cfunc
    def find(
        self, side: cython.int, table: dict, kind: cython.int, buf: bytearray, key: cython.Py_ssize_t,
        key_len: cython.Py_ssize_t,
    ) -> Connection:  # fmt: skip
        """The connection whose key is buf[key:key + key_len], or None. A side's frames come in runs."""
        recent: Connection = self.p_recent if side == PRIMARY else self.s_recent
        if recent is not None and recent.kind == kind and equal_key(recent.key, buf, key, key_len):
            return recent
        if cython.compiled:
            found = table.get(cython.cast(cython.p_char, buf)[key : key + key_len])
        else:
            found = table.get(bytes(buf[key : key + key_len]))
        if found is None:
            return None
        recent = cython.cast(Connection, found)
        if side == PRIMARY:
            self.p_recent = recent
        else:
            self.s_recent = recent
        return recent

    # TCP

    @cython.cfunc
    def ordinary_tcp(
        self,
        side: cython.int,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        key: cython.Py_ssize_t,
        key_len: cython.Py_ssize_t,
        l4: cython.Py_ssize_t,
        l4_end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        headroom: cython.uint,
        lease: object,
        now: cython.double,
    ) -> cython.bint:
        c: Connection
        f: Frame
        flags: cython.uint
        seq: cython.uint
        ack: cython.uint
        window: cython.uint
        right: cython.uint
        data: cython.Py_ssize_t
        size: cython.Py_ssize_t
        progress: cython.bint = False
        if l4_end - l4 < 20:
            return False
        data = l4 + (buf[l4 + 12] >> 4) * 4
        flags = buf[l4 + 13]
        if data < l4 + 20 or data > l4_end or flags & EXTRAORDINARY or not flags & ACK:
            return False
        c = self.find(side, self.tcp, TCP, buf, key, key_len)
        if c is None or not (c.p_fast if side == PRIMARY else c.s_fast):
            return False
        seq = read32(buf, l4 + 4)
        ack = read32(buf, l4 + 8)
        window = buf[l4 + 14] << 8 | buf[l4 + 15]
        size = l4_end - data
        if side == PRIMARY:
            right = (ack + (window << c.p_scale)) & MASK if c.p_scale >= 0 else 0
            if size == 0:
                if self.ack_rule and not self.covered(c, ack, right):
                    return False
                self.see_primary(c, ack, right)
                self.saw_client(c, ack, right)
                self.send(buf, start, end, vnet_len, headroom, lease)
                self.count(PRIMARY, RELEASED, 1, end - start)
                c.last = now
                return True
            if seq != c.p_next:
                return False
            self.see_primary(c, ack, right)
            c.p_next = (seq + size) & MASK
        else:
            seq = (seq - c.shift) & MASK
            if size and seq != c.s_next:
                return False
            right = (ack + (window << c.s_scale)) & MASK if c.s_scale >= 0 else 0
            progress = self.see_secondary(c, ack, right)
            if size == 0:
                self.count(1, DROPPED, 1, end - start)
                c.last = now
                if progress and c.owes:
                    self.match(c)
                    self.owed(c)
                return True
            c.s_next = (seq + size) & MASK
        c.last = now
        f = Frame.__new__(Frame)
        f.lease = lease
        f.buf = buf
        f.start = start
        f.end = end
        f.data = data
        f.headroom = headroom
        f.vnet_len = vnet_len
        f.seq = seq
        f.size = size
        f.ack = ack
        f.flags = flags
        f.window = window
        f.time = now
        self.append(c, side, f)
        self.match(c)
        if progress and c.owes:
            self.owed(c)
        return True

    @cython.ccall
    def covered(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.bint:
        """Whether the secondary has acknowledged `ack` and opened its window to `right` too."""
        if not c.s_acked or before(c.s_ack, ack):
            return False
        return c.p_scale < 0 or c.s_scale < 0 or not before(c.s_right, right)

    @cython.ccall
    def see_primary(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.void:
        """Remember the primary's largest acknowledgement and right window edge."""
        if not c.p_acked or before(c.p_ack, ack):
            c.p_ack = ack
            c.p_acked = True
        if c.p_scale >= 0 and before(c.p_right, right):
            c.p_right = right

    @cython.ccall
    def see_secondary(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.bint:
        """Remember the secondary's largest acknowledgement and right window edge. Whether either advanced."""
        progress: cython.bint = False
        if not c.s_acked or before(c.s_ack, ack):
            c.s_ack = ack
            c.s_acked = True
            progress = True
        if c.s_scale >= 0 and before(c.s_right, right):
            c.s_right = right
            progress = True
        return progress

    @cython.ccall
    def saw_client(self, c: Connection, ack: cython.uint, right: cython.uint) -> cython.void:
        """Remember the largest acknowledgement and right window edge that left for the client."""
        if not c.client_acked:
            c.client_ack = ack
            c.client_right = right
            c.client_acked = True
            return
        if before(c.client_ack, ack):
            c.client_ack = ack
        if before(c.client_right, right):
            c.client_right = right

    @cython.ccall
    def match(self, c: Connection) -> cython.bint:
        """Compare both streams from `verified` on as far as both are here; release what is verified.

        False: they differ (the general path was told), or have not begun.
        """
        p: Frame = c.p_head
        s: Frame = c.s_head
        v: cython.uint = c.verified
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
                    self.differs(c, v, p, s)
                    return False
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
                self.differs(c, v, p, s)
                return False
            if (v - s.seq) & MASK >= s.size + s.fin:
                self.use_up(c)
                s = c.s_head
        c.verified = v
        if (
            p is not None and p.size > LARGE and not c.partial and not before(v, p.seq)
            and ((v - p.seq) & MASK) > p.done
        ):  # fmt: skip
            c.partial = True
            self.partials.append(c)
        return True

    @cython.cfunc
    def leave(self, c: Connection, p: Frame) -> cython.bint:
        """Release the first frame of the primary's queue, all of which is verified."""
        right: cython.uint = (p.ack + (p.window << c.p_scale)) & MASK if c.p_scale >= 0 else 0
        if p.done or p.parts is not None or c.a_head is not None or (
            self.ack_rule and p.flags & ACK and not self.covered(c, p.ack, right)
        ):  # fmt: skip
            if not self.settle(c, p):
                return False
            self.take_primary(c)
            return True
        if p.flags & ACK:
            self.saw_client(c, p.ack, right)
        if self.tracer is not None:
            self.tracer(c, p, None, 0, 0)
        self.take_primary(c)
        self.count(PRIMARY, RELEASED, 1, p.end - p.start)
        self.send(p.buf, p.start, p.end, p.vnet_len, p.headroom, p.lease)
        return True

    @cython.ccall
    def refresh(self, c: Connection) -> cython.void:
        """Find where each side's queue ends: a segment that begins there overlaps nothing that is held, and needs no
        more than to be put behind it, unless a FIN is in the queue. p_fast, s_fast: whether none is."""
        f: Frame = c.p_head
        end: cython.uint
        c.p_next = c.s_next = c.verified
        c.p_fast = c.s_fast = True
        while f is not None:
            end = (f.seq + f.size + f.fin) & MASK
            if before(c.p_next, end):
                c.p_next = end
            if f.fin:
                c.p_fast = False
            f = f.next
        f = c.s_head
        while f is not None:
            c.s_next = (f.seq + f.size + f.fin) & MASK
            if f.fin:
                c.s_fast = False
            f = f.next

    # UDP

    @cython.cfunc
    def ordinary_udp(
        self,
        side: cython.int,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        key: cython.Py_ssize_t,
        key_len: cython.Py_ssize_t,
        l4: cython.Py_ssize_t,
        l4_end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        headroom: cython.uint,
        lease: object,
        now: cython.double,
    ) -> cython.bint:
        """Datagrams that arrive in the same order on both sides, and those that are the first to arrive."""
        c: Connection
        f: Frame
        size: cython.Py_ssize_t
        if l4_end - l4 < 8:
            return False
        size = (buf[l4 + 4] << 8 | buf[l4 + 5]) - 8
        if size < 0 or size + 8 > l4_end - l4:
            return False
        c = self.find(side, self.udp, UDP, buf, key, key_len)
        if c is None or not (c.p_fast and c.s_fast):
            return False
        if side == PRIMARY:
            f = c.s_head
            if f is not None:
                if c.p_head is not None or f.size != size or not equal_bytes(f.buf, f.data, buf, l4 + 8, size):
                    return False
                self.use_up(c)
                c.verified_bytes += size
                self.verified_bytes += size
                c.last = now
                self.count(PRIMARY, RELEASED, 1, end - start)
                self.send(buf, start, end, vnet_len, headroom, lease)
                return True
        else:
            f = c.p_head
            if f is not None:
                if (
                    c.s_head is not None or f.parts is not None or f.size != size
                    or not equal_bytes(f.buf, f.data, buf, l4 + 8, size)
                ):  # fmt: skip
                    return False
                self.take_primary(c)
                c.verified_bytes += size
                self.verified_bytes += size
                c.last = now
                self.count(PRIMARY, RELEASED, 1, f.end - f.start)
                self.send(f.buf, f.start, f.end, f.vnet_len, f.headroom, f.lease)
                self.count(1, DROPPED, 1, end - start)
                return True
        c.last = now
        f = Frame.__new__(Frame)
        f.lease = lease
        f.buf = buf
        f.start = start
        f.end = end
        f.data = l4 + 8
        f.headroom = headroom
        f.vnet_len = vnet_len
        f.size = size
        f.time = now
        self.append(c, side, f)
        return True

    # Queues and accounts

    @cython.ccall
    def append(self, c: Connection, side: cython.int, f: Frame) -> cython.void:
        """Put a frame at the end of a side's queue."""
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
        self.hold(c, side, f)

    @cython.ccall
    def hold(self, c: Connection, side: cython.int, f: Frame) -> cython.void:
        """Enter a frame that was put in a queue into the accounts. Pieces count with the last one of their frame."""
        size: cython.uint
        if f.more:
            return
        self.order += 1
        f.order = self.order
        size = f.weight()
        self.tally[side * SIDE + HELD] += f.frames()
        self.tally[side * SIDE + HELD + 1] += size
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

    @cython.ccall
    def unhold(self, c: Connection, side: cython.int, f: Frame) -> cython.void:
        """Undo `hold`: the frame is leaving its queue."""
        size: cython.uint
        if f.more:
            return
        size = f.weight()
        self.tally[side * SIDE + HELD] -= f.frames()
        self.tally[side * SIDE + HELD + 1] -= size
        if side == PRIMARY:
            if c.p_count == self.max_queue:
                self.p_crowded -= 1
            c.p_count -= 1
            c.p_bytes -= size
        else:
            if c.s_count == self.max_queue:
                self.s_crowded -= 1
            c.s_count -= 1
            c.s_bytes -= size

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
    def use_up(self, c: Connection) -> cython.void:
        """Drop the first of the secondary's queue: it has served its purpose."""
        f: Frame = c.s_head
        c.s_head = f.next
        if c.s_head is None:
            c.s_tail = None
        f.next = None
        self.unhold(c, 1, f)
        if not f.more:
            self.count(1, DROPPED, f.frames(), f.weight())

    @cython.ccall
    def count(
        self, side: cython.int, column: cython.int, frames: cython.longlong, size: cython.longlong
    ) -> cython.void:
        """Add to an account."""
        self.tally[side * SIDE + column] += frames
        self.tally[side * SIDE + column + 1] += size

    # The way out

    @cython.ccall
    def send(
        self,
        buf: bytearray,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        vnet_len: cython.uint,
        headroom: cython.uint,
        lease: object,
    ) -> cython.void:
        """Add a frame to the output; with headroom, frames that lie one behind the other leave as one range."""
        if headroom == 0:
            self.flush()
            self.output.append((buf, start, end, vnet_len, lease))
            return
        if buf is self.out_buf and start - headroom == self.out_end:
            self.out_end = end
            return
        self.flush()
        self.out_buf = buf
        self.out_start = start - headroom
        self.out_end = end
        self.out_lease = lease

    @cython.ccall
    def send_made(self, frame: bytes, vnet_len: cython.int) -> cython.void:
        """Add a frame that the comparator made or altered to the output."""
        self.flush()
        self.output.append((frame, 0, len(frame), vnet_len, None))

    @cython.ccall
    def flush(self) -> cython.void:
        """Close the range that is being collected."""
        if self.out_buf is not None:
            self.output.append((self.out_buf, self.out_start, self.out_end, -1, self.out_lease))
            self.out_buf = None
            self.out_lease = None

    def take_output(self) -> list:
        """Everything released since the last call, in order."""
        self.flush()
        output = self.output
        self.output = []
        return output

    def forget(self, table: dict, c: Connection) -> None:
        """Take a connection out of its table."""
        c.p_fast = c.s_fast = False
        if self.p_recent is c:
            self.p_recent = None
        if self.s_recent is c:
            self.s_recent = None
        if table.get(c.key) is c:
            del table[c.key]

    def overdue(self, beside: list, before: cython.double, limit: cython.int) -> list:
        """Up to `limit` connections, of the tables and of those beside, that hold or wait for something since the time
        `before` or longer."""
        c: Connection
        found: list = []
        for table in (self.tcp, self.udp, self.icmp, self.icmpv6, self.other, self.non_ip, beside):
            for c in table.values() if isinstance(table, dict) else table:
                if c.diverged is None and (
                    (c.p_head is not None and c.p_head.time <= before)
                    or (c.s_head is not None and c.s_head.time <= before)
                    or (c.a_head is not None and c.a_head.time <= before)
                    or (c.control is not None and c.control[0].time <= before)
                    or (c.s_rst and not c.p_rst and c.s_rst_time <= before)
                    or (c.s_syn is not None and not c.started and c.s_syn_time <= before)
                ):
                    found.append(c)
                    if len(found) >= limit:
                        return found
        return found

    def aged(self, before: cython.double) -> list:
        """Closed TCP connections that hold nothing and were last heard of before then."""
        c: Connection
        found: list = []
        for c in self.tcp.values():
            if c.closed and c.last <= before and not (c.p_count or c.s_count or c.successor):
                found.append(c)
        return found

    def idlest(self, table: dict, wanted: cython.Py_ssize_t) -> list:
        """Up to `wanted` connections to forget: none that holds a frame of the primary; closed ones first, then those
        that hold nothing, the longest idle first."""
        c: Connection
        ranked: list = []
        for c in table.values():
            if c.p_count == 0 and c.successor is None and c.diverged is None:
                ranked.append((c.s_count != 0, not c.closed, c.last, len(ranked), c))
        ranked.sort()
        return [entry[4] for entry in ranked[:wanted]]

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
    def rebase(self, c: Connection, frames: list, keep: cython.bint) -> cython.void:
        f: Frame
        while c.p_head is not None:
            f = self.take_primary(c)
            frames.append((f.order, c, f))
            if c.kind == TCP and (not c.started or before(c.verified, (f.seq + f.size + f.fin) & MASK)):
                c.verified = (f.seq + f.size + f.fin) & MASK
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
            keep and before(c.verified, (c.s_head.seq + c.s_head.size + c.s_head.fin) & MASK)
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


@cython.cfunc
def detach_queue(f: Optional[Frame]) -> cython.void:  # noqa: UP045
    while f is not None:
        f.detach()
        f = f.next


@cython.cfunc
@cython.inline
def before(a: cython.uint, b: cython.uint) -> cython.bint:
    """Whether place a comes before place b."""
    return ((a - b) & MASK) >> 31 != 0


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
def equal_bytes(
    a: bytearray, i: cython.Py_ssize_t, b: bytearray, j: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.bint:
    """Whether a[i:i + n] == b[j:j + n]. memcmp knows no bounds, so they are checked here."""
    if i < 0 or j < 0 or n < 0 or i + n > len(a) or j + n > len(b):
        raise IndexError("comparison outside a frame")
    if cython.compiled:
        return memcmp(cython.cast(cython.p_char, a) + i, cython.cast(cython.p_char, b) + j, n) == 0  # noqa: F821
    return a[i : i + n] == b[j : j + n]


@cython.cfunc
@cython.inline
def equal_key(key: bytes, buf: bytearray, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.bint:
    """Whether buf[at:at + n] == key."""
    if len(key) != n or at < 0 or at + n > len(buf):
        return False
    if cython.compiled:
        return memcmp(cython.cast(cython.p_char, key), cython.cast(cython.p_char, buf) + at, n) == 0  # noqa: F821
    return buf[at : at + n] == key
