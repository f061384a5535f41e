"""A split virtqueue (virtio 1.2, 2.7) in a guest's memory, from the device's side: frames out of it, frames into it.

Whatever is read there was written by the guest and may be anything, and may change while it is looked at: every number
is read once, every address is looked up in the table of the guest's memory, every chain ends. RingError says what was
wrong; the ring is then in no state to go on. Like the engine, this file is plain Python that Cython compiles as it
stands; a place in memory is a number, the address at which it is mapped here.
"""

import ctypes
import errno as codes
import threading
from array import array

import cython

COMPILED: bool = cython.compiled

AGAIN: int = codes.EAGAIN
UNFIT: int = -2  # what stops a write: a frame with an offload that the guest's driver has not accepted
VNET_LEN = cython.declare(cython.ulonglong, 10)  # bytes of the virtio-net header behind which frames leave
LARGEST = cython.declare(cython.ulonglong, 10 + 14 + 8 + 65536)  # of a frame: two tags, the largest IP packet
FRAMING: int = 8  # bytes in front of a frame, which make it one of a packet socket's: so it can be sent on as it lies
ROOM: int = FRAMING + 10 + 14 + 8 + 65536  # that one frame may take in a buffer
ETHERNET = cython.declare(cython.ulonglong, 14)
PIECES = cython.declare(cython.Py_ssize_t, 2048)  # of one frame
CHAINS = cython.declare(cython.Py_ssize_t, 256)  # that one frame may fill
PAGE_SHIFT = cython.declare(cython.ulonglong, 12)  # of the log

NEXT = cython.declare(cython.uint, 1)
WRITABLE = cython.declare(cython.uint, 2)
INDIRECT = cython.declare(cython.uint, 4)
TABLE = cython.declare(cython.ulonglong, 1024)  # descriptors that an indirect table may have

NEEDS_CSUM = cython.declare(cython.uint, 1)
TCPV4 = cython.declare(cython.uint, 1)
TCPV6 = cython.declare(cython.uint, 4)
ECN = cython.declare(cython.uint, 0x80)
# Features of the guest's side (virtio 1.2, 5.1.3): what it takes.
GUEST_CSUM = cython.declare(cython.ulonglong, 1 << 1)
GUEST_TSO4 = cython.declare(cython.ulonglong, 1 << 7)
GUEST_TSO6 = cython.declare(cython.ulonglong, 1 << 8)
GUEST_ECN = cython.declare(cython.ulonglong, 1 << 9)

_lock = threading.Lock()


class RingError(Exception):
    """What the guest has done to a ring."""


@cython.cclass
class Memory:
    """Where a guest's memory is mapped here. `regions`: (guest's address, size, address here) of each, not empty; none
    wraps around. `keep`: what must live as long as this does."""

    firsts = cython.declare(cython.ulonglong[::1])
    ends = cython.declare(cython.ulonglong[::1])
    bases = cython.declare(cython.ulonglong[::1])
    count = cython.declare(cython.Py_ssize_t)
    last = cython.declare(cython.Py_ssize_t)
    log = cython.declare(cython.ulonglong)
    log_size = cython.declare(cython.ulonglong)
    keep = cython.declare(object)
    log_keep = cython.declare(object)

    def __init__(self, regions: list, keep: object) -> None:
        self.firsts = array("Q", [first for first, _, _ in regions])
        self.ends = array("Q", [first + size for first, size, _ in regions])
        self.bases = array("Q", [base for _, _, base in regions])
        self.count = len(regions)
        self.last = 0
        self.keep = keep
        self.log = self.log_size = 0
        self.log_keep = None

    def set_log(self, at: cython.ulonglong, size: cython.ulonglong, keep: object) -> None:
        """Where pages that were written are marked: a bit each, `size` bytes; 0: nowhere."""
        self.log, self.log_size, self.log_keep = at, size, keep

    @cython.cfunc
    @cython.exceptval(-1)
    def find(self, address: cython.ulonglong) -> cython.Py_ssize_t:
        """The number of the region that has this address of the guest. Raises RingError if none has."""
        at: cython.Py_ssize_t = self.last
        if self.firsts[at] <= address < self.ends[at]:
            return at
        for at in range(self.count):
            if self.firsts[at] <= address < self.ends[at]:
                self.last = at
                return at
        raise RingError(f"address 0x{address:x} is not in the guest's memory")

    @cython.cfunc
    @cython.exceptval(0)
    def place(self, address: cython.ulonglong, size: cython.ulonglong) -> cython.ulonglong:
        """Where so many bytes of the guest are here. Raises RingError if they are not, or not in one piece."""
        at: cython.Py_ssize_t = self.find(address)
        if size > self.ends[at] - address:
            raise RingError(f"{size} bytes at address 0x{address:x} are not all in the guest's memory")
        return self.bases[at] + (address - self.firsts[at])

    @cython.cfunc
    @cython.exceptval(-1)
    def mark(self, address: cython.ulonglong, size: cython.ulonglong) -> cython.int:
        """Mark the pages of these bytes in the log. Raises RingError if that is too short."""
        page: cython.ulonglong
        for page in range(address >> PAGE_SHIFT, ((address + size - 1) >> PAGE_SHIFT) + 1):
            if page >> 3 >= self.log_size:
                raise RingError(f"the log of written pages has no bit for address 0x{address:x}")
            or8(self.log + (page >> 3), 1 << (page & 7))
        return 0


@cython.cclass
class Ring:
    """One ring. `at`: the index of the next buffers to be taken; `header_len`: bytes of its frames' virtio-net headers;
    `mergeable`: whether a frame may fill several buffers; `events`: whether both sides say up to where they need not be
    told anything, rather than whether; `features`: what the driver has accepted; `logging`: whether pages that are
    written are marked, those of the used ring from the guest's address `log_at` on, if `log_used`; `size`, `refused`:
    bytes moved by the last call, and frames that could not be any."""

    memory = cython.declare(Memory, visibility="public")
    num = cython.declare(cython.uint, visibility="public")
    at = cython.declare(cython.uint, visibility="public")
    header_len = cython.declare(cython.ulonglong, visibility="public")
    mergeable = cython.declare(cython.bint, visibility="public")
    events = cython.declare(cython.bint, visibility="public")
    features = cython.declare(cython.ulonglong, visibility="public")
    logging = cython.declare(cython.bint, visibility="public")
    log_used = cython.declare(cython.bint, visibility="public")
    log_at = cython.declare(cython.ulonglong, visibility="public")
    size = cython.declare(cython.ulonglong, visibility="public")
    refused = cython.declare(cython.Py_ssize_t, visibility="public")
    mask = cython.declare(cython.uint)
    desc = cython.declare(cython.ulonglong)
    avail = cython.declare(cython.ulonglong)
    used = cython.declare(cython.ulonglong)
    used_at = cython.declare(cython.uint)
    silent = cython.declare(cython.bint)
    called = cython.declare(cython.int)  # the used index of which the guest was told last, -1 if that is not known
    # The pieces of the chains at hand, and the chains: head and length.
    pieces = cython.declare(cython.Py_ssize_t)
    places = cython.declare(cython.ulonglong[::1])
    sizes = cython.declare(cython.ulonglong[::1])
    origins = cython.declare(cython.ulonglong[::1])
    heads = cython.declare(cython.ulonglong[::1])
    lengths = cython.declare(cython.ulonglong[::1])
    header = cython.declare(bytearray)
    # Where the next byte of a frame goes: a piece, and how far into it.
    piece = cython.declare(cython.Py_ssize_t)
    offset = cython.declare(cython.ulonglong)

    def __init__(
        self, memory: Memory, num: cython.uint, desc: cython.ulonglong, avail: cython.ulonglong,
        used: cython.ulonglong, at: cython.uint,
    ) -> None:  # fmt: skip
        """num: a power of two, at most 32768. desc, avail, used: where they are here, whole and aligned."""
        self.memory = memory
        self.num, self.mask = num, num - 1
        self.desc, self.avail, self.used = desc, avail, used
        self.at = at & 0xFFFF
        self.used_at = load16(used + 2)
        self.header_len = 12
        self.mergeable = self.events = self.logging = self.log_used = False
        self.called = -1
        self.silent = bool(load16(used) & 1)  # as whoever was here before has left it
        self.features = self.log_at = self.size = 0
        self.refused = 0
        self.pieces = self.piece = 0
        self.offset = 0
        self.places = array("Q", bytes(8 * 2048))
        self.sizes = array("Q", bytes(8 * 2048))
        self.origins = array("Q", bytes(8 * 2048))
        self.heads = array("Q", bytes(8 * 256))
        self.lengths = array("Q", bytes(8 * 256))
        self.header = bytearray(12)

    # What both sides tell each other

    @cython.ccall
    @cython.exceptval(-1)
    def waiting(self) -> cython.Py_ssize_t:
        """How many chains the guest has made available. Raises RingError for more than there can be."""
        found: cython.uint = (load16(self.avail + 2) - self.at) & 0xFFFF
        if found > self.num:
            raise RingError(f"its index jumped by {found}, and the ring has {self.num} entries")
        return found

    def hush(self) -> None:
        """Have the guest not say that something is available; with `events` it is silent after once by itself."""
        if not self.silent and not self.events:
            self.silent = True
            self.tell(0, 1)

    def listen(self) -> bool:
        """Have it say so again, for what follows. True: something is there already."""
        if self.events:
            self.tell(4 + 8 * self.num, load16(self.avail + 2))
            fence()
        elif self.silent:
            self.silent = False
            self.tell(0, 0)
            fence()
        return self.waiting() > 0

    def wants_call(self) -> bool:
        """Whether the guest wants to be told of what was used since it was asked last (virtio 1.2, 2.7.7)."""
        before: cython.int = self.called
        event: cython.uint
        fence()
        self.called = self.used_at
        if not self.events:
            return not load16(self.avail) & 1
        event = load16(self.avail + 4 + 2 * self.num)
        return before < 0 or ((self.used_at - event - 1) & 0xFFFF) < ((self.used_at - before) & 0xFFFF)

    @cython.cfunc
    @cython.exceptval(-1)
    def tell(self, at: cython.ulonglong, value: cython.uint) -> cython.int:
        """Write a word of the used ring that is not an entry or the index."""
        store16(self.used + at, value)
        return self.mark_used(at, 2)

    @cython.cfunc
    @cython.exceptval(-1)
    def mark_used(self, at: cython.ulonglong, size: cython.ulonglong) -> cython.int:
        if self.logging and self.log_used:
            return self.memory.mark(self.log_at + at, size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def give_back(self, head: cython.uint, size: cython.uint) -> cython.int:
        """Write an entry of the used ring, which the guest does not see yet."""
        at: cython.ulonglong = 4 + 8 * (self.used_at & self.mask)
        store32(self.used + at, head)
        store32(self.used + at + 4, size)
        self.used_at = (self.used_at + 1) & 0xFFFF
        self.at = (self.at + 1) & 0xFFFF
        return self.mark_used(at, 8)

    @cython.cfunc
    @cython.exceptval(-1)
    def publish(self) -> cython.int:
        """Let the guest see what was given back."""
        store16(self.used + 2, self.used_at)
        return self.mark_used(2, 2)

    # Chains

    @cython.cfunc
    @cython.exceptval(0xFFFFFFFF)
    def next_head(self, ahead: cython.uint) -> cython.uint:
        """The first descriptor of the chain that is so far ahead."""
        head: cython.uint = load16(self.avail + 4 + 2 * ((self.at + ahead) & self.mask))
        if head >= self.num:
            raise RingError(f"there is no descriptor {head}: the ring has {self.num} entries")
        return head

    @cython.cfunc
    @cython.exceptval(-1)
    def walk(self, head: cython.uint, writable: cython.uint) -> cython.longlong:
        """Append the pieces of a chain; its length in bytes. writable: 0 or WRITABLE, what all of them must be."""
        table: cython.ulonglong = self.desc
        limit: cython.ulonglong = self.num
        left: cython.ulonglong = limit
        at: cython.ulonglong = head
        total: cython.longlong = 0
        address: cython.ulonglong
        place: cython.ulonglong
        size: cython.uint
        flags: cython.uint
        indirect: cython.bint = False
        while True:
            place = table + 16 * at
            address = load64(place)
            size = load32(place + 8)
            flags = load16(place + 12)
            if flags & INDIRECT:
                if indirect or flags & NEXT:
                    raise RingError(f"descriptor {at} leads to an indirect table from where none may")
                limit = left = size >> 4
                if size & 15 or not 0 < limit <= TABLE:
                    raise RingError(f"descriptor {at} leads to an indirect table of {size} bytes")
                table = self.memory.place(address, size)
                at = 0
                indirect = True
                continue
            if flags & WRITABLE != writable:
                raise RingError(f"descriptor {at} is for {'reading' if writable else 'writing'}, and must not be")
            self.append(address, size)
            total += size
            if not flags & NEXT:
                return total
            left -= 1
            if left == 0:
                raise RingError(f"a chain from descriptor {head} has no end")
            at = load16(place + 14)
            if at >= limit:
                raise RingError(f"a chain leads to descriptor {at}, and there are {limit}")

    @cython.cfunc
    @cython.exceptval(-1)
    def append(self, address: cython.ulonglong, size: cython.ulonglong) -> cython.int:
        """A piece of the guest's memory, which may go over from one region to the next."""
        memory: Memory = self.memory
        region: cython.Py_ssize_t
        part: cython.ulonglong
        if size > 0xFFFFFFFFFFFFFFFF - address:
            raise RingError(f"{size} bytes at address 0x{address:x} are more than there can be")
        while size:
            region = memory.find(address)
            part = min(size, memory.ends[region] - address)
            if self.pieces == PIECES:
                raise RingError(f"a frame is in more than {PIECES} pieces")
            self.places[self.pieces] = memory.bases[region] + (address - memory.firsts[region])
            self.sizes[self.pieces] = part
            self.origins[self.pieces] = address
            self.pieces += 1
            address += part
            size -= part
        return 0

    # From the guest

    def take(self, burst: object, at: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Copy frames that the guest sends to burst.buf[at:stop], as many as its index has room for, and give their
        buffers back; returns where they end. Their headers are as long as everywhere else in the end, and each has its
        framing in front: its length and its header's, as QEMU's packet sockets have them.

        Raises ValueError if that is not within the buffer, RingError for what cannot be.
        """
        buf: bytearray = burst.buf
        cells: cython.uint[::1] = burst.index
        most: cython.Py_ssize_t = len(cells) // 3
        count: cython.Py_ssize_t = 0
        ready: cython.Py_ssize_t = self.waiting()
        begun: cython.uint = self.at
        head: cython.uint
        total: cython.ulonglong
        start: cython.Py_ssize_t
        self.size = 0
        self.refused = 0
        burst.count = 0
        if not 0 <= at <= stop <= len(buf):
            raise ValueError("range outside its buffer")
        while ready and count < most and stop - at >= ROOM:
            head = self.next_head(0)
            self.pieces = 0
            total = self.walk(head, 0)
            if self.header_len + ETHERNET <= total <= LARGEST + self.header_len - VNET_LEN:
                start = at + FRAMING
                at = start - cython.cast(cython.Py_ssize_t, self.header_len - VNET_LEN)
                self.gather(buf, at)
                if start != at:
                    move(buf, start, at, VNET_LEN)
                buf[start] &= NEEDS_CSUM  # nothing else is for a driver to say (virtio 1.2, 5.1.6.2)
                at += cython.cast(cython.Py_ssize_t, total)
                buf[start - FRAMING : start] = ((at - start) << 32 | VNET_LEN).to_bytes(FRAMING, "big")
                cells[3 * count] = start
                cells[3 * count + 1] = at
                cells[3 * count + 2] = VNET_LEN
                count += 1
                self.size += at - start
            else:
                self.refused += 1
            self.give_back(head, 0)
            ready -= 1
        if self.at != begun:
            self.publish()
        burst.count = count
        burst.size = self.size
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def gather(self, buf: bytearray, at: cython.Py_ssize_t) -> cython.int:
        """Copy the pieces at hand to where there is room for them."""
        i: cython.Py_ssize_t
        for i in range(self.pieces):
            copy_out(buf, at, self.places[i], self.sizes[i])
            at += cython.cast(cython.Py_ssize_t, self.sizes[i])
        return 0

    # To the guest

    def put_batch(
        self, buf: bytearray, index: cython.uint[::1], first: cython.Py_ssize_t, count: cython.Py_ssize_t
    ) -> tuple:
        """Copy frames first..count of a batch to the guest; returns (how far that went, bytes, why it ended there).

        Why: 0; AGAIN, for want of the guest's buffers; or UNFIT. Raises ValueError for a frame that is not within the
        buffer, RingError for what cannot be.
        """
        begun: cython.uint = self.at
        why: cython.int = 0
        self.size = 0
        self.refused = 0
        while first < count:
            why = self.put(buf, index[3 * first], index[3 * first + 1], index[3 * first + 2])
            if why:
                break
            first += 1
        if self.at != begun:
            self.publish()
        return first, self.size, why

    def put_outputs(self, outputs: list, first: cython.Py_ssize_t) -> tuple:
        """Copy a comparator's outputs from number `first` on; returns as `put_batch` does."""
        begun: cython.uint = self.at
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        vnet_len: cython.Py_ssize_t
        count: cython.Py_ssize_t = len(outputs)
        why: cython.int = 0
        self.size = 0
        self.refused = 0
        while first < count:
            buf, start, end, vnet_len, _ = outputs[first]
            why = self.put(buf, start, end, vnet_len)
            if why:
                break
            first += 1
        if self.at != begun:
            self.publish()
        return first, self.size, why

    @cython.cfunc
    @cython.exceptval(-1)
    def put(
        self, buf: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t, vnet_len: cython.Py_ssize_t
    ) -> cython.int:
        """Copy one frame to the guest; 0, AGAIN or UNFIT. One for which its buffers are too small is refused."""
        need: cython.ulonglong
        total: cython.ulonglong = 0
        chains: cython.Py_ssize_t = 0
        ready: cython.Py_ssize_t
        head: cython.uint
        i: cython.Py_ssize_t
        if not (0 <= vnet_len < end - start and start >= 0 and end <= len(buf)):
            raise ValueError("frame outside its buffer")
        if not self.fits(buf, start, vnet_len):
            return UNFIT
        need = self.header_len + cython.cast(cython.ulonglong, end - start - vnet_len)
        ready = self.waiting()
        self.pieces = 0
        while total < need:
            if chains == ready:
                return AGAIN
            if (chains and not self.mergeable) or chains == CHAINS:
                self.refused += 1
                return 0
            head = self.next_head(chains)
            self.heads[chains] = head
            self.lengths[chains] = cython.cast(cython.ulonglong, self.walk(head, WRITABLE))
            total += self.lengths[chains]
            chains += 1
        self.header[10], self.header[11] = chains & 0xFF, chains >> 8
        self.piece, self.offset = 0, 0
        self.pour(self.header, 0, self.header_len)
        self.pour(buf, start + vnet_len, cython.cast(cython.ulonglong, end - start - vnet_len))
        self.size += cython.cast(cython.ulonglong, end - start)
        for i in range(chains):
            self.give_back(cython.cast(cython.uint, self.heads[i]), min(need, self.lengths[i]))
            need -= min(need, self.lengths[i])
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def fits(self, buf: object, start: cython.Py_ssize_t, vnet_len: cython.Py_ssize_t) -> cython.int:
        """Make the frame's header; whether the driver has accepted what it says is left to it."""
        header: bytearray = self.header
        features: cython.ulonglong = self.features
        kind: cython.uint
        header[:10] = buf[start : start + 10] if vnet_len >= 10 else bytes(10)
        if not features & GUEST_CSUM:
            if header[0] & NEEDS_CSUM:
                return False
            header[0] = 0
        kind = header[1]
        if kind & ECN and not features & GUEST_ECN:
            return False
        kind &= ~ECN
        if kind == 0:
            return True
        return bool(
            (kind == TCPV4 and features & GUEST_TSO4) or (kind == TCPV6 and features & GUEST_TSO6)
        )  # fmt: skip

    @cython.cfunc
    @cython.exceptval(-1)
    def pour(self, buf: object, at: cython.Py_ssize_t, left: cython.ulonglong) -> cython.int:
        """Copy buf[at:] to where the last piece of the frame ended, and mark the pages. There is room for it."""
        part: cython.ulonglong
        while left:
            part = min(left, self.sizes[self.piece] - self.offset)
            copy_in(self.places[self.piece] + self.offset, buf, at, part)
            if self.logging:
                self.memory.mark(self.origins[self.piece] + self.offset, part)
            at += cython.cast(cython.Py_ssize_t, part)
            left -= part
            self.offset += part
            if self.offset == self.sizes[self.piece]:
                self.piece += 1
                self.offset = 0
        return 0


# Memory that another processor writes, too


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def load16(at: cython.ulonglong) -> cython.uint:
    if cython.compiled:
        return cp_load16(at)  # noqa: F821
    return ctypes.c_uint16.from_address(at).value


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def load32(at: cython.ulonglong) -> cython.uint:
    if cython.compiled:
        return cp_load32(at)  # noqa: F821
    return ctypes.c_uint32.from_address(at).value


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def load64(at: cython.ulonglong) -> cython.ulonglong:
    if cython.compiled:
        return cp_load64(at)  # noqa: F821
    return ctypes.c_uint64.from_address(at).value


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def store16(at: cython.ulonglong, value: cython.uint) -> cython.void:
    if cython.compiled:
        cp_store16(at, value)  # noqa: F821
    else:
        ctypes.c_uint16.from_address(at).value = value


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def store32(at: cython.ulonglong, value: cython.uint) -> cython.void:
    if cython.compiled:
        cp_store32(at, value)  # noqa: F821
    else:
        ctypes.c_uint32.from_address(at).value = value


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def or8(at: cython.ulonglong, bits: cython.uint) -> cython.void:
    """Uncompiled it is not atomic: good enough beside a reader that takes bits away, not beside another writer."""
    if cython.compiled:
        cp_or8(at, bits)  # noqa: F821
    else:
        ctypes.c_uint8.from_address(at).value |= bits


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def fence() -> cython.void:
    """All that was written before is seen before anything is read that comes after."""
    if cython.compiled:
        cp_fence()  # noqa: F821
    else:
        with _lock:  # a lock that is taken is such a fence
            pass


@cython.cfunc
@cython.exceptval(-1)
def copy_out(buf: bytearray, at: cython.Py_ssize_t, place: cython.ulonglong, n: cython.ulonglong) -> cython.int:
    """buf[at:at + n] = what is there. memcpy knows no bounds, so the buffer's are checked here."""
    if at < 0 or n > cython.cast(cython.ulonglong, len(buf)) or at + n > len(buf):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        memcpy(  # noqa: F821
            PyByteArray_AS_STRING(buf) + at, cython.cast(cython.p_void, cython.cast(cython.size_t, place)), n  # noqa: F821
        )  # fmt: skip
    else:
        buf[at : at + n] = ctypes.string_at(place, n)
    return 0


@cython.cfunc
@cython.exceptval(-1)
def copy_in(place: cython.ulonglong, buf: object, at: cython.Py_ssize_t, n: cython.ulonglong) -> cython.int:
    """What is there = buf[at:at + n]."""
    if at < 0 or n > cython.cast(cython.ulonglong, len(buf)) or at + n > len(buf):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        to = cython.cast(cython.p_void, cython.cast(cython.size_t, place))
        if isinstance(buf, bytearray):
            memcpy(to, PyByteArray_AS_STRING(cython.cast(bytearray, buf)) + at, n)  # noqa: F821
            return 0
        if isinstance(buf, bytes):
            memcpy(to, PyBytes_AS_STRING(cython.cast(bytes, buf)) + at, n)  # noqa: F821
            return 0
    ctypes.memmove(place, bytes(memoryview(buf)[at : at + n]), n)
    return 0


@cython.cfunc
@cython.exceptval(-1)
def move(buf: bytearray, to: cython.Py_ssize_t, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.int:
    """buf[to:to + n] = buf[at:at + n], which may overlap."""
    if min(to, at) < 0 or max(to, at) + n > len(buf):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        memmove(PyByteArray_AS_STRING(buf) + to, PyByteArray_AS_STRING(buf) + at, n)  # noqa: F821
    else:
        buf[to : to + n] = buf[at : at + n]
    return 0
