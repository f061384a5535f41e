"""The framing of QEMU's packet sockets: a length, with virtio-net headers a second word, then the frame.

    u32 length | [u32 length of the virtio-net header] | frame, virtio-net header first

All big endian; `length` counts the frame and not the words in front of it. A stream of these may arrive cut at any
byte. Like the engine, this file is plain Python that Cython compiles as it stands.
"""

from array import array

import cython

COMPILED: bool = cython.compiled

MAX_FRAME: int = 69632  # the largest frame that QEMU takes: 4096 + 65536
MOST = cython.declare(cython.uint, 69632)

# Frames found in one go.
BATCH: int = 4096
ROOM = cython.declare(cython.Py_ssize_t, 4096)

# A range shorter than this is copied to its neighbours: cheaper than a range of its own in a write.
SMALL = cython.declare(cython.Py_ssize_t, 4096)


@cython.cclass
class Batch:
    """Frames found in a buffer, as the comparator takes them.

    `index` holds (start, end, virtio-net header's length) for each of `count` frames of `buf`; `headroom` is the
    length of the framing in front of each; `lease` says that the buffer is in use. `refused` is the length word
    with which no frame can begin, or -1.
    """

    buf = cython.declare(bytearray, visibility="public")
    index = cython.declare(object, visibility="public")
    count = cython.declare(cython.Py_ssize_t, visibility="public")
    headroom = cython.declare(cython.Py_ssize_t, visibility="public")
    lease = cython.declare(object, visibility="public")
    refused = cython.declare(cython.longlong, visibility="public")
    cells = cython.declare(cython.uint[::1])

    def __init__(self, vnet_hdr: bool) -> None:
        self.buf = None
        self.lease = None
        self.headroom = 8 if vnet_hdr else 4
        self.count = 0
        self.refused = -1
        self.index = array("I", bytes(4 * 3 * 4096))
        self.cells = self.index

    def scan(self, at: cython.Py_ssize_t, tail: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Find the whole frames in buf[at:tail]; returns where the first one that is not whole begins.

        Finds at most BATCH of them: call again while `count` is as many. Stops in front of a length that is 0 or more
        than MAX_FRAME, and sets `refused`. Raises ValueError if the range is not within the buffer.
        """
        buf: bytearray = self.buf
        cells: cython.uint[::1] = self.cells
        headroom: cython.Py_ssize_t = self.headroom
        count: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t
        size: cython.uint
        vnet_len: cython.uint = 0
        self.refused = -1
        if not 0 <= at <= tail <= len(buf):
            raise ValueError("range outside its buffer")
        while count < ROOM and tail - at >= 4:
            size = read32(buf, at)
            if size == 0 or size > MOST:
                self.refused = size
                break
            start = at + headroom
            if start + size > tail:
                break
            if headroom == 8:
                vnet_len = read32(buf, at + 4)
            cells[3 * count] = start
            cells[3 * count + 1] = start + size
            cells[3 * count + 2] = vnet_len
            count += 1
            at = start + size
        self.count = count
        return at


@cython.cclass
class Packer:
    """Turns what the comparator released into few ranges to be written.

    A long range stays where it is; short ones, and frames that have no framing yet, are copied one behind the other
    into a buffer from `take()`, which returns an object with a bytearray `buf`. `pieces` takes (range, lease) in order;
    `size` bytes were added to it by the last `pack`. No piece begins or ends within a frame.
    """

    take = cython.declare(object)
    vnet_hdr = cython.declare(cython.bint)
    lease = cython.declare(object)
    buf = cython.declare(bytearray)
    at = cython.declare(cython.Py_ssize_t)
    begin = cython.declare(cython.Py_ssize_t)
    size = cython.declare(cython.longlong, visibility="public")

    def __init__(self, vnet_hdr: bool, take: object) -> None:
        self.take = take
        self.vnet_hdr = vnet_hdr
        self.lease = self.buf = None
        self.at = self.begin = 0
        self.size = 0

    def pack(self, outputs: list, pieces: object, keep: cython.bint) -> None:
        """Append the outputs of a comparator, (buf, start, end, vnet_len, lease) each, to `pieces`.

        keep: long ranges may stay in the buffers they came in; otherwise all is copied.
        Raises ValueError for a range that is not within its buffer.
        """
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        vnet_len: cython.longlong
        self.size = 0
        for buf, start, end, vnet_len, lease in outputs:
            if not 0 <= start < end <= len(buf):
                raise ValueError("range outside its buffer")
            if vnet_len >= 0:
                self.copy_frame(buf, start, end, vnet_len, pieces)
            elif keep and end - start >= SMALL:
                self.close(pieces)
                pieces.append((memoryview(buf)[start:end], lease))
                self.size += end - start
            else:
                self.copy_range(buf, start, end, pieces)
        self.close(pieces)

    def pack_batch(
        self, buf: bytearray, index: cython.uint[::1], count: cython.Py_ssize_t, bare: cython.bint, pieces: object
    ) -> cython.longlong:  # fmt: skip
        """Append copies of the frames of a batch to `pieces`, bare: without their virtio-net headers; returns how many
        bytes the frames have.

        Raises ValueError for a frame that is not within its buffer, or longer than any can be.
        """
        start: cython.Py_ssize_t
        vnet_len: cython.uint
        number: cython.Py_ssize_t
        size: cython.longlong = 0
        self.size = 0
        for number in range(count):
            start = index[3 * number]
            vnet_len = index[3 * number + 2]
            if bare:
                start += vnet_len
                vnet_len = 0
            if not 0 <= start < index[3 * number + 1] <= len(buf):
                raise ValueError("range outside its buffer")
            self.copy_frame(buf, start, index[3 * number + 1], vnet_len, pieces)
            size += index[3 * number + 1] - start
        self.close(pieces)
        return size

    def rewind(self) -> None:
        """All pieces have been written: the buffer is free from its beginning."""
        self.at = self.begin = 0

    def drop(self) -> None:
        """Give the buffer back as soon as its pieces have been written."""
        self.lease = self.buf = None

    @cython.cfunc
    @cython.exceptval(check=True)
    def close(self, pieces: object) -> cython.void:
        """What was copied so far becomes a piece."""
        if self.at > self.begin:
            pieces.append((memoryview(self.buf)[self.begin : self.at], self.lease))
            self.size += self.at - self.begin
            self.begin = self.at

    @cython.cfunc
    @cython.exceptval(check=True)
    def reserve(self, size: cython.Py_ssize_t, pieces: object) -> cython.void:
        """Make room for so many bytes."""
        if self.buf is None or self.at + size > len(self.buf):
            self.close(pieces)
            self.lease = self.take()
            self.buf = self.lease.buf
            self.at = self.begin = 0

    @cython.cfunc
    @cython.exceptval(check=True)
    def copy_range(
        self, buf: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t, pieces: object
    ) -> cython.void:
        """Copy a range of frames with their framing, frame by frame where it is longer than the buffer."""
        room: cython.Py_ssize_t
        stop: cython.Py_ssize_t
        head: cython.Py_ssize_t = 8 if self.vnet_hdr else 4
        while start < end:
            self.reserve(min(end - start, head + MOST), pieces)
            room = len(self.buf) - self.at
            if end - start <= room:
                stop = end
            else:  # as many frames as there is room for
                stop = start
                while stop < end and stop + length_at(buf, stop, end) + head - start <= room:
                    stop += length_at(buf, stop, end) + head
                if stop == start or stop > end:
                    raise ValueError("range does not consist of frames")
            put(self.buf, self.at, buf, start, stop - start)
            self.at += stop - start
            start = stop

    @cython.cfunc
    @cython.exceptval(check=True)
    def copy_frame(
        self, buf: object, start: cython.Py_ssize_t, end: cython.Py_ssize_t, vnet_len: cython.longlong, pieces: object
    ) -> cython.void:  # fmt: skip
        """Copy a frame and put its framing in front."""
        size: cython.Py_ssize_t = end - start
        if size > MOST:
            raise ValueError("frame longer than any can be")
        self.reserve(8 + size, pieces)
        write32(self.buf, self.at, size)
        self.at += 4
        if self.vnet_hdr:
            write32(self.buf, self.at, vnet_len)
            self.at += 4
        put(self.buf, self.at, buf, start, size)
        self.at += size


@cython.ccall
@cython.exceptval(check=True)
def boundary(buf: object, offset: cython.Py_ssize_t, headroom: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the frame begins that has byte `offset` of this range of frames."""
    at: cython.Py_ssize_t = 0
    following: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t = len(buf)
    while following <= offset and following < end:
        at = following
        following = at + headroom + length_at(buf, at, end)
    return following if following == offset else at


@cython.cfunc
@cython.exceptval(check=True)
def length_at(buf: object, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The length word there."""
    if at < 0 or at + 4 > end or end > len(buf):
        raise ValueError("range does not consist of frames")
    return int.from_bytes(buf[at : at + 4], "big")


@cython.cfunc
@cython.inline
@cython.exceptval(0xFFFFFFFF, check=True)
def read32(buf: bytearray, at: cython.Py_ssize_t) -> cython.uint:
    """The 32-bit number there, big endian. C's pointers know no bounds, so they are checked here."""
    if at < 0 or at + 4 > len(buf):
        raise IndexError("read outside a buffer")
    if cython.compiled:
        p = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(buf)) + at  # noqa: F821
        return cython.cast(cython.uint, p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3]
    return int.from_bytes(buf[at : at + 4], "big")


@cython.cfunc
@cython.exceptval(check=True)
def write32(buf: bytearray, at: cython.Py_ssize_t, value: cython.longlong) -> cython.void:
    buf[at] = value >> 24 & 0xFF
    buf[at + 1] = value >> 16 & 0xFF
    buf[at + 2] = value >> 8 & 0xFF
    buf[at + 3] = value & 0xFF


@cython.cfunc
@cython.exceptval(check=True)
def put(
    to: bytearray, at: cython.Py_ssize_t, buf: object, start: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.void:
    """to[at:at + n] = buf[start:start + n]. memcpy knows no bounds, so they are checked here."""
    if at < 0 or start < 0 or n < 0 or at + n > len(to) or start + n > len(buf):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        if isinstance(buf, bytearray):
            memcpy(  # noqa: F821
                cython.cast(cython.p_char, to) + at,
                cython.cast(cython.p_char, cython.cast(bytearray, buf)) + start,
                n,
            )
            return
        if isinstance(buf, bytes):
            memcpy(  # noqa: F821
                cython.cast(cython.p_char, to) + at, cython.cast(cython.p_char, cython.cast(bytes, buf)) + start, n
            )
            return
    to[at : at + n] = memoryview(buf)[start : start + n]
