"""Network devices as ports: TAP devices, and packet sockets on devices that are there.

Both carry the kernel's virtio-net header of 10 bytes (linux/virtio_net.h), and with it frames of up to 64 KiB whose
checksums and segmentation are left to the receiver: one frame instead of 45 is what makes this path fast.
"""

import abc
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections import deque
from collections.abc import Callable

from coloproxy.compare.comparator import Batch, Output
from coloproxy.errors import ColoproxyError
from coloproxy.link.arena import Arena, Pool
from coloproxy.link.burst import BURST, Burst, write_batch, write_outputs
from coloproxy.link.loop import READ, WRITE, Loop
from coloproxy.link.netns import inside
from coloproxy.link.port import Port

VNET_LEN = 10
LARGEST = VNET_LEN + 14 + 8 + 65536  # bytes of a frame: header, Ethernet with two tags, the largest IP packet
WAITING = 16 << 20  # bytes that may wait for a device; what is more is dropped, and counted

# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8

# linux/if_packet.h
SOL_PACKET = 263
PACKET_STATISTICS, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 6, 8, 15, 23
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
ETH_P_ALL = 0x0003
AUXDATA = struct.Struct("IIIHHHH")  # status, len, snaplen, mac, net, vlan_tci, vlan_tpid
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
BUFFER = 32 << 20  # asked of the kernel for a packet socket's queue

# What a device says to a frame that it will not have; the frame is dropped, the port goes on.
REFUSED = {errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.ENETDOWN}
GONE = {errno.ENXIO, errno.ENODEV, errno.EBADFD}  # and what it says when it has been removed, its namespace perhaps
BUSY = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}


class DevicePort(Port):
    """A port on a device. What the device does not take at once is copied, and waits here."""

    def __init__(
        self, name: str, device: str, netns: str | None, loop: Loop, clock: Callable[[], float], pool: Pool
    ) -> None:
        super().__init__(name, loop, clock, vnet_hdr=True)
        self.device = device
        self.netns = netns
        self._arena = Arena(pool)
        self._fd = -1
        self._burst = Burst()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._reading = False
        self.gone = False

    @abc.abstractmethod
    def _open(self) -> int:
        """Open the device, in the namespace it is in; its descriptor, non-blocking."""

    def open(self) -> None:
        with inside(self.netns):
            try:
                self._fd = self._open()
            except OSError as error:
                raise self._bad(error) from None
        self._watch()

    def _bad(self, error: OSError) -> ColoproxyError:
        where = f" in namespace {self.netns}" if self.netns else ""
        hint = "run as root" if isinstance(error, PermissionError) else "is it there, and free?"
        return ColoproxyError(f"port {self.name}: device '{self.device}'{where}: {error.strerror}; {hint}.")

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.watch(self._fd, 0, self._ready)
            self._close()
            self._fd = -1

    def _close(self) -> None:
        os.close(self._fd)

    @property
    def pending(self) -> int:
        return self._waiting_bytes

    def read_on(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            self._watch()

    def _watch(self) -> None:
        if self._fd >= 0 and not self.gone:
            events = (READ if self._reading else 0) | (WRITE if self._waiting else 0)
            self._loop.watch(self._fd, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE and self._waiting:
            self._send_waiting()
        if events & ~WRITE and self._reading:
            self._read()

    # The way in

    def _read(self) -> None:
        arena, burst = self._arena, self._burst
        space = arena.space()
        burst.buf, burst.lease = arena.buf, arena.lease
        arena.at = arena.tail = self._receive(burst, arena.tail, arena.tail + len(space))
        if burst.error:
            self._failed(burst.error)
        if burst.count:
            self.received.add(burst.count, burst.size)
            self.hand_on(burst, burst.size, self._clock())
        burst.buf = burst.lease = None

    def _receive(self, burst: Burst, at: int, stop: int) -> int:
        """Receive frames to buf[at:stop]; returns where they end."""
        return burst.receive(self._fd, at, stop, LARGEST, VNET_LEN)

    def _failed(self, error: int) -> None:
        """The device refuses something, or is no longer there: then it is left alone, and what is sent is dropped."""
        if error in GONE:
            self._loop.watch(self._fd, 0, self._ready)
            self.gone = True
        elif error not in REFUSED:
            raise OSError(error, os.strerror(error))

    # The way out

    def batch(self, batch: Batch, now: float) -> None:
        at, count = 0, batch.count
        while at < count:
            if not self._waiting:
                done, size, why = write_batch(self._fd, batch.buf, batch.index, at, count, VNET_LEN)  # type: ignore[arg-type]
                self.sent.add(done - at, size)
                at = done
                if not why:
                    return
            start, end, vnet_len = batch.index[3 * at : 3 * at + 3]
            self._send(memoryview(batch.buf)[start:end], vnet_len)
            at += 1

    def outputs(self, outputs: list[Output], now: float) -> None:
        at, count = 0, len(outputs)
        while at < count:
            if not self._waiting:
                done, size, why = write_outputs(self._fd, outputs, at, VNET_LEN)
                self.sent.add(done - at, size)
                at = done
                if not why:
                    return
            buf, start, end, vnet_len, _ = outputs[at]
            self._send(memoryview(buf)[start:end], vnet_len)
            at += 1

    def _send(self, frame: memoryview, vnet_len: int) -> None:
        if vnet_len != VNET_LEN:
            frame = memoryview(with_header(frame, vnet_len))
        if self._waiting or not self._write(frame):
            self._wait(frame)

    def _write(self, frame: memoryview | bytes) -> bool:
        """Hand a frame to the device. False: not now."""
        try:
            os.write(self._fd, frame)
        except OSError as error:
            if error.errno in BUSY:
                return False
            self._failed(error.errno or errno.EIO)
            self.dropped.add(1, len(frame))
            return True
        self.sent.add(1, len(frame))
        return True

    def _wait(self, frame: memoryview) -> None:
        if self._waiting_bytes + len(frame) > WAITING:
            self.dropped.add(1, len(frame))
            return
        self._waiting.append(bytes(frame))
        self._waiting_bytes += len(frame)
        if len(self._waiting) == 1:
            self._watch()

    def _send_waiting(self) -> None:
        while self._waiting and self._write(self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft())
        if not self._waiting:
            self._watch()


class TapPort(DevicePort):
    """A TAP device: made if it is not there, and gone with us unless it was there before.

    offload: take and give frames of up to 64 KiB, and frames whose checksum is yet to be made.
    """

    def __init__(
        self, name: str, device: str, netns: str | None, loop: Loop, clock: Callable[[], float], pool: Pool,
        *, offload: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, device, netns, loop, clock, pool)
        self._offload = offload
        self.plain = not offload

    def _open(self) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.device.encode(), flags))
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_LEN))
            offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN if self._offload else 0
            fcntl.ioctl(fd, TUNSETOFFLOAD, offload)
        except BaseException:
            os.close(fd)
            raise
        return fd


class PacketPort(DevicePort):
    """A packet socket (packet(7)) on a device that is there, such as one end of a veth pair.

    VLAN tags that the device took off are put back in their place.
    """

    def _open(self) -> int:
        self._sock = sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            for force, plain in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
                try:
                    sock.setsockopt(socket.SOL_SOCKET, force, BUFFER)
                except PermissionError:
                    sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
            for option in (PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING):
                sock.setsockopt(SOL_PACKET, option, 1)
            sock.bind((self.device, ETH_P_ALL))
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock.fileno()

    def _close(self) -> None:
        self._lost()
        self._sock.close()

    def _lost(self) -> None:
        """Count what the socket's queue had no room for; the kernel tells each only once."""
        with contextlib.suppress(OSError):
            _, lost = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self.dropped.add(lost, 0)

    def _receive(self, burst: Burst, at: int, stop: int) -> int:
        view = memoryview(burst.buf)
        burst.count = burst.size = burst.error = 0
        while burst.count < BURST and stop - at >= LARGEST:
            count = self._receive_one(burst, view[at : at + LARGEST])
            if not count:
                break
            burst.index[3 * burst.count] = at
            burst.index[3 * burst.count + 1] = at + count
            burst.index[3 * burst.count + 2] = VNET_LEN
            burst.count += 1
            burst.size += count
            at = min(at + (count + 7 & ~7), stop)
        return at

    def _receive_one(self, burst: Burst, room: memoryview) -> int:
        """Receive one frame; its length, 0 if there is none."""
        try:
            count, ancillary, _, _ = self._sock.recvmsg_into([room], 64)
        except BlockingIOError:
            return 0
        except OSError as error:
            burst.error = error.errno or errno.EIO
            return 0
        for level, kind, data in ancillary:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, *_, tci, tpid = AUXDATA.unpack_from(data)
                if status & TP_STATUS_VLAN_VALID:
                    return put_tag(room, count, tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
        return count


def put_tag(room: memoryview, count: int, tpid: int, tci: int) -> int:
    """Put a VLAN tag behind the addresses of the frame of `count` bytes; the new length.

    What the virtio-net header says of the checksum's place (virtio 1.2, 5.1.6) moves along.
    """
    at = VNET_LEN + 12
    room[at + 4 : count + 4] = bytes(room[at:count])
    room[at : at + 4] = struct.pack(">HH", tpid, tci)
    flags, gso, hdr_len, gso_size, csum_start, csum_offset = struct.unpack_from("<BBHHHH", room)
    if flags & 1:
        csum_start += 4
    if gso:
        hdr_len += 4
    struct.pack_into("<BBHHHH", room, 0, flags, gso, hdr_len, gso_size, csum_start, csum_offset)
    return count + 4


def with_header(frame: memoryview, vnet_len: int) -> bytes:
    """The frame with a virtio-net header of VNET_LEN bytes in place of the one it has, if any."""
    head = bytes(frame[: min(vnet_len, VNET_LEN)])
    return head.ljust(VNET_LEN, b"\0") + frame[vnet_len:]
