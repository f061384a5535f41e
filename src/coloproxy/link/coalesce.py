"""Frames written to a device: a system call each, but for TCP segments in a row, which are written as one.

What a virtio-net header with a segment size says of one large segment is exactly the segments it was made of: the
kernel cuts it again where the way it takes needs that, and until then, and in a receiver on this machine, it is one
packet in place of up to 45. (As Linux does with what it receives: Documentation/networking/segmentation-offloads.rst.)

Like the engine, this file is plain Python that Cython compiles as it stands.
"""

import errno as codes
import os
from array import array

import cython

COMPILED: bool = cython.compiled

OTHER_HEADER: int = -1  # what stops a write: a frame whose virtio-net header has another length than the device's

VNET = cython.declare(cython.Py_ssize_t, 10)  # bytes of the virtio-net header (virtio 1.2, 5.1.6)
LARGEST = cython.declare(cython.Py_ssize_t, 65535)  # bytes of an IP packet
TOGETHER = cython.declare(cython.Py_ssize_t, 64)  # frames looked at together
LEAST = cython.declare(cython.Py_ssize_t, 55)  # bytes of a frame with a TCP segment that has data
ACK = cython.declare(cython.uint, 0x10)
PSH = cython.declare(cython.uint, 0x08)
PROTO_TCP = cython.declare(cython.uint, 6)


@cython.cclass
class Writer:
    """Writes frames to devices whose virtio-net headers have 10 bytes. Frames without one are given an empty one."""

    space = cython.declare(bytearray)
    cells = cython.declare(cython.uint[::1])

    def __init__(self) -> None:
        self.space = bytearray(10 + 14 + 65535)
        self.cells = array("I", bytes(4 * 3 * 64))

    def batch(
        self, fd: cython.int, buf: bytearray, index: cython.uint[::1], first: cython.Py_ssize_t,
        count: cython.Py_ssize_t,
    ) -> tuple:  # fmt: skip
        """Write frames first..count of a batch; returns (how far that went, bytes written, why it ended there).

        Why: 0, an errno, or OTHER_HEADER. Raises ValueError for a frame that is not within the buffer.
        """
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        header: cython.Py_ssize_t
        run: cython.Py_ssize_t
        size: cython.Py_ssize_t = 0
        error: cython.int = 0
        while first < count:
            start = index[3 * first]
            end = index[3 * first + 1]
            header = index[3 * first + 2]
            if not 0 <= start < end <= len(buf):
                raise ValueError("frame outside its buffer")
            if header != VNET and (header or end - start > LARGEST + 14):
                return first, size, OTHER_HEADER
            run = self.mergeable(buf, index, first, count)
            if run > 1:
                error = self.write_merged(fd, buf, index, first, run)
            elif header:
                error = write_one(fd, buf, start, end)
            else:
                self.space[:10] = bytes(10)
                put(self.space, 10, buf, start, end - start)
                error = write_one(fd, self.space, 0, 10 + end - start)
            if error:
                break
            while run:
                size += index[3 * first + 1] - index[3 * first] + VNET - header
                first += 1
                run -= 1
        return first, size, error

    @cython.cfunc
    @cython.exceptval(check=True)
    def mergeable(
        self, buf: bytearray, index: cython.uint[::1], first: cython.Py_ssize_t, count: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """How many frames from this one on are one TCP segment in parts, all whole and of one size but for the last."""
        header: cython.Py_ssize_t = index[3 * first + 2]
        at: cython.Py_ssize_t = index[3 * first] + header
        end: cython.Py_ssize_t = index[3 * first + 1]
        payload: cython.Py_ssize_t
        size: cython.Py_ssize_t
        total: cython.Py_ssize_t
        run: cython.Py_ssize_t = 1
        if first + 1 == count or end - at < LEAST or not is_plain(buf, at - header, header):
            return 1
        payload = payload_of(buf, at, end)
        if not payload or flags_of(buf, at) & PSH:
            return 1
        size = total = end - at - payload
        while first + run < count:
            start: cython.Py_ssize_t = index[3 * (first + run)]
            after: cython.Py_ssize_t = index[3 * (first + run) + 1]
            more: cython.Py_ssize_t = after - start - header - payload
            if index[3 * (first + run) + 2] != header or not 0 < more <= size or after > len(buf):
                break
            if total + more + payload - 14 > LARGEST or not is_plain(buf, start, header):
                break
            start += header
            if payload_of(buf, start, after) != payload or not continues(buf, at, start, payload, run, total):
                break
            if not is_whole(buf, start, after) or (run == 1 and not is_whole(buf, at, end)):
                break
            total += more
            run += 1
            if more < size or flags_of(buf, start) & PSH:
                break
        return run

    @cython.cfunc
    @cython.exceptval(check=True)
    def write_merged(
        self, fd: cython.int, buf: bytearray, index: cython.uint[::1], first: cython.Py_ssize_t, run: cython.Py_ssize_t
    ) -> cython.int:
        """Write frames that are one segment in parts, as one; 0 or an errno."""
        space: bytearray = self.space
        header: cython.Py_ssize_t = index[3 * first + 2]
        at: cython.Py_ssize_t = index[3 * first] + header
        payload: cython.Py_ssize_t = payload_of(buf, at, index[3 * first + 1])
        size: cython.Py_ssize_t = index[3 * first + 1] - at - payload
        to: cython.Py_ssize_t = VNET + payload
        last: cython.Py_ssize_t = first + run - 1
        l4: cython.Py_ssize_t = l4_of(buf, at)
        put(space, VNET, buf, at, payload)
        space[VNET + l4 + 13] |= flags_of(buf, index[3 * last] + header)  # PSH is the last one's
        while first <= last:
            start: cython.Py_ssize_t = index[3 * first] + header + payload
            part: cython.Py_ssize_t = index[3 * first + 1] - start
            put(space, to, buf, start, part)
            to += part
            first += 1
        space[0] = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM
        space[1] = 1 if l4 == 34 else 4  # VIRTIO_NET_HDR_GSO_TCPV4, _TCPV6
        little16(space, 2, payload)
        little16(space, 4, size)
        little16(space, 6, l4)
        little16(space, 8, 16)
        if l4 == 34:
            big16(space, VNET + 16, to - VNET - 14)
            big16(space, VNET + 24, 0)
            big16(space, VNET + 24, 0xFFFF ^ folded(sum_of(space, VNET + 14, VNET + 34)))
        else:
            big16(space, VNET + 18, to - VNET - 54)
        big16(space, VNET + l4 + 16, folded(pseudo(space, VNET, VNET + l4, to)))
        return write_one(fd, space, 0, to)

    def outputs(self, fd: cython.int, outputs: list, first: cython.Py_ssize_t) -> tuple:
        """Write a comparator's outputs from number `first` on, single frames; returns as `batch` does."""
        cells: cython.uint[::1] = self.cells
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        header: cython.longlong
        together: cython.Py_ssize_t
        done: cython.Py_ssize_t
        size: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = len(outputs)
        while first < count:
            whose = outputs[first][0]
            together = 0
            while first + together < count and together < TOGETHER:  # what lies in one buffer
                buf, start, end, header, _ = outputs[first + together]
                if buf is not whose:
                    break
                if header < 0:
                    raise ValueError("a range of frames where there should be one")
                if not 0 <= start < end <= len(buf):
                    raise ValueError("frame outside its buffer")
                cells[3 * together] = start
                cells[3 * together + 1] = end
                cells[3 * together + 2] = header
                together += 1
            done, part, why = self.batch(
                fd, whose if isinstance(whose, bytearray) else bytearray(whose), cells, 0, together
            )
            first += done
            size += part
            if why:
                return first, size, why
        return first, size, 0


@cython.cfunc
@cython.exceptval(check=True)
def write_one(fd: cython.int, buf: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    """Write buf[start:end], which is within it; 0 or an errno."""
    if not 0 <= start < end <= len(buf):
        raise IndexError("write outside a buffer")
    if cython.compiled:
        if write(fd, PyByteArray_AS_STRING(buf) + start, end - start) < 0:  # noqa: F821
            return errno  # noqa: F821
        return 0
    try:
        os.write(fd, memoryview(buf)[start:end])
    except OSError as error:
        return error.errno or codes.EIO
    return 0


# What a frame is. Offsets from its beginning: 12 the Ethernet type, 14 the IP header; no frame here has tags, options
# of IPv4 or extension headers of IPv6.


@cython.cfunc
@cython.exceptval(-1, check=True)
def is_plain(buf: bytearray, at: cython.Py_ssize_t, header: cython.Py_ssize_t) -> cython.bint:
    """Whether the virtio-net header, if any, says nothing: the frame is whole, and its checksum made."""
    byte: cython.Py_ssize_t
    for byte in range(header):  # noqa: SIM110 (a loop in C)
        if buf[at + byte]:
            return False
    return True


@cython.cfunc
@cython.exceptval(check=True)
def l4_of(buf: bytearray, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where TCP begins in the frame."""
    return 34 if buf[at + 12] == 0x08 else 54


@cython.cfunc
@cython.exceptval(check=True)
def flags_of(buf: bytearray, at: cython.Py_ssize_t) -> cython.uint:
    return buf[at + l4_of(buf, at) + 13]


@cython.cfunc
@cython.exceptval(check=True)
def payload_of(buf: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where in the frame its TCP payload begins; 0 if it is none that could be merged."""
    size: cython.Py_ssize_t = end - at
    l4: cython.Py_ssize_t
    offset: cython.Py_ssize_t
    kind: cython.uint = read16(buf, at + 12)
    if kind == 0x0800:
        l4 = 34
        if buf[at + 14] != 0x45 or read16(buf, at + 16) != size - 14:
            return 0
        if read16(buf, at + 20) & 0xBFFF or buf[at + 23] != PROTO_TCP:  # a fragment, or not TCP
            return 0
    elif kind == 0x86DD:
        l4 = 54
        if size < 75 or buf[at + 14] >> 4 != 6 or read16(buf, at + 18) != size - 54 or buf[at + 20] != PROTO_TCP:
            return 0
    else:
        return 0
    offset = (buf[at + l4 + 12] >> 4) * 4
    if buf[at + l4 + 13] & ~PSH != ACK or offset < 20 or l4 + offset >= size:
        return 0
    return l4 + offset


@cython.cfunc
@cython.exceptval(-1, check=True)
def continues(
    buf: bytearray, a: cython.Py_ssize_t, b: cython.Py_ssize_t, payload: cython.Py_ssize_t, run: cython.Py_ssize_t,
    total: cython.Py_ssize_t,
) -> cython.bint:  # fmt: skip
    """Whether segmentation of what begins at `a` gives the headers at `b`, `run` segments and `total` bytes later."""
    l4: cython.Py_ssize_t = l4_of(buf, a)
    if not equal(buf, a, b, 16):
        return False
    if l4 == 34:
        if (read16(buf, a + 18) + run) & 0xFFFF != read16(buf, b + 18):  # the identification
            return False
        if not equal(buf, a + 20, b + 20, 4) or not equal(buf, a + 26, b + 26, 12):
            return False
    elif not equal(buf, a + 16, b + 16, 2) or not equal(buf, a + 20, b + 20, 38):
        return False
    if (read32(buf, a + l4 + 4) + total) & 0xFFFFFFFF != read32(buf, b + l4 + 4):
        return False
    return (
        equal(buf, a + l4 + 8, b + l4 + 8, 5)  # acknowledgement, data offset
        and equal(buf, a + l4 + 14, b + l4 + 14, 2)  # window
        and equal(buf, a + l4 + 18, b + l4 + 18, payload - l4 - 18)  # urgent pointer, options
    )


@cython.cfunc
@cython.exceptval(-1, check=True)
def is_whole(buf: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether its checksums are right: they are made anew, and must not hide what was broken on the way."""
    l4: cython.Py_ssize_t = l4_of(buf, at)
    if l4 == 34 and folded(sum_of(buf, at + 14, at + 34)) != 0xFFFF:
        return False
    return folded(pseudo(buf, at, at + l4, end) + sum_of(buf, at + l4, end)) == 0xFFFF


# Sums (RFC 1071)


@cython.cfunc
@cython.exceptval(check=True)
def pseudo(
    buf: bytearray, at: cython.Py_ssize_t, l4: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.ulonglong:  # fmt: skip
    """The sum of the pseudo-header, not folded."""
    return PROTO_TCP + (end - l4) + sum_of(buf, at + (26 if l4 - at == 34 else 22), l4)


@cython.cfunc
@cython.exceptval(check=True)
def sum_of(buf: bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.ulonglong:
    """The sum of 16-bit words in network order, not folded; an odd byte at the end is the high one of its word."""
    total: cython.ulonglong = 0
    shift: cython.uint = 8
    if not 0 <= start <= end <= len(buf):
        raise IndexError("sum outside a buffer")
    if cython.compiled:
        p = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(buf))  # noqa: F821
        while start + 4 <= end:  # two words at once: 2**16 is 1 where carries go round
            total += cython.cast(cython.uint, p[start]) << 24 | p[start + 1] << 16 | p[start + 2] << 8 | p[start + 3]
            start += 4
        while start < end:
            total += cython.cast(cython.uint, p[start]) << shift
            shift ^= 8
            start += 1
        return total
    part = bytes(buf[start:end])
    return sum(part[0::2]) * 256 + sum(part[1::2])


@cython.cfunc
@cython.exceptval(check=True)
def folded(total: cython.ulonglong) -> cython.uint:
    """The sum in 16 bits, carries taken round."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


# Bytes. C's pointers know no bounds, so they are checked here.


@cython.cfunc
@cython.exceptval(check=True)
def read16(buf: bytearray, at: cython.Py_ssize_t) -> cython.uint:
    return cython.cast(cython.uint, buf[at]) << 8 | buf[at + 1]


@cython.cfunc
@cython.exceptval(check=True)
def read32(buf: bytearray, at: cython.Py_ssize_t) -> cython.uint:
    return read16(buf, at) << 16 | read16(buf, at + 2)


@cython.cfunc
@cython.exceptval(check=True)
def big16(buf: bytearray, at: cython.Py_ssize_t, value: cython.Py_ssize_t) -> cython.void:
    buf[at] = value >> 8 & 0xFF
    buf[at + 1] = value & 0xFF


@cython.cfunc
@cython.exceptval(check=True)
def little16(buf: bytearray, at: cython.Py_ssize_t, value: cython.Py_ssize_t) -> cython.void:
    buf[at] = value & 0xFF
    buf[at + 1] = value >> 8 & 0xFF


@cython.cfunc
@cython.exceptval(-1, check=True)
def equal(buf: bytearray, a: cython.Py_ssize_t, b: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
    """Whether buf[a:a + size] and buf[b:b + size] are the same."""
    if a < 0 or b < 0 or size < 0 or a + size > len(buf) or b + size > len(buf):
        raise IndexError("comparison outside a buffer")
    if cython.compiled:
        return memcmp(PyByteArray_AS_STRING(buf) + a, PyByteArray_AS_STRING(buf) + b, size) == 0  # noqa: F821
    return buf[a : a + size] == buf[b : b + size]


@cython.cfunc
@cython.exceptval(check=True)
def put(
    to: bytearray, at: cython.Py_ssize_t, buf: bytearray, start: cython.Py_ssize_t, size: cython.Py_ssize_t
) -> cython.void:
    """to[at:at + size] = buf[start:start + size]"""
    if at < 0 or start < 0 or size < 0 or at + size > len(to) or start + size > len(buf):
        raise IndexError("copy outside a buffer")
    if cython.compiled:
        memcpy(PyByteArray_AS_STRING(to) + at, PyByteArray_AS_STRING(buf) + start, size)  # noqa: F821
    else:
        to[at : at + size] = memoryview(buf)[start : start + size]
