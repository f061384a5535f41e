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
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from coloproxy.compare.comparator import Batch, Output
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.link.arena import Arena, Pool
from coloproxy.link.burst import BURST, Burst
from coloproxy.link.coalesce import Writer
from coloproxy.link.flow import resized
from coloproxy.link.loop import READ, Loop
from coloproxy.link.netns import inside
from coloproxy.link.port import Port

VNET_LEN = 10
LARGEST = VNET_LEN + 14 + 8 + 65536  # bytes of a frame: header, Ethernet with two tags, the largest IP packet
TAG = 4  # bytes of a VLAN tag
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

DOWN = {errno.EIO, errno.ENETDOWN}  # what a device says that is there but not up
GONE = {errno.ENXIO, errno.ENODEV, errno.EBADFD}  # and when it has been removed, its namespace perhaps
BUSY = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}
RETRY = 0.001  # seconds after which a device that was busy is tried again
STUCK = 0.2  # seconds of that without any frame taken, after which it is no longer waited for


class DevicePort(Port):
    """A port on a device. What the device does not take at once is copied, and waits here.

    A device without a carrier says that it is busy, too, and may for ever: then what comes is dropped until it takes
    something again, as a wire would lose it, for others must not wait for it.
    """

    def __init__(
        self, name: str, device: str, netns: str | None, loop: Loop, clock: Callable[[], float],
        report: Callable[[Event], None], pool: Pool,
    ) -> None:  # fmt: skip
        super().__init__(name, loop, clock, report, vnet_hdr=True)
        self.device = device
        self.netns = netns
        self._arena = Arena(pool)
        self._fd = -1
        self._burst = Burst()
        self._writer = Writer()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._give_up_at = 0.0
        self._stuck = False
        self._reading = False
        self.gone = False

    @abc.abstractmethod
    def _open(self) -> int:
        """Open the device, in the namespace that we are in now; its descriptor, non-blocking."""

    def open(self) -> None:
        try:
            with inside(self.netns):
                self._fd = self._open()
        except OSError as error:
            raise self._bad(error) from None
        except ColoproxyError as error:
            raise ColoproxyError(f"port {self.name}: {error}") from None
        self._watch()

    def _bad(self, error: OSError) -> ColoproxyError:
        where = f" in namespace {self.netns}" if self.netns else ""
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        hint = "run as root" if isinstance(error, PermissionError) else "see that it is there and free"
        return ColoproxyError(f"port {self.name}: device '{self.device}'{where}: {what}; {hint}.")

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
            self._loop.watch(self._fd, READ if self._reading else 0, self._ready)

    def _ready(self, _events: int) -> None:
        self.read()

    # The way in

    def read(self) -> bool:
        if self._fd < 0 or self.gone:
            return False
        arena, burst = self._arena, self._burst
        space = arena.space()
        burst.buf, burst.lease = arena.buf, arena.lease
        arena.at = arena.tail = self._receive(burst, arena.tail, arena.tail + len(space))
        if burst.error and burst.error not in DOWN:
            self._lose(burst.error)
        if burst.count:
            self.received.add(burst.count, burst.size)
            self.hand_on(burst, burst.size, self._clock())
        burst.buf = burst.lease = None
        return bool(burst.count)

    def _receive(self, burst: Burst, at: int, stop: int) -> int:
        """Receive frames to buf[at:stop]; returns where they end."""
        return burst.receive(self._fd, at, stop, LARGEST, VNET_LEN)

    def _lose(self, error: int) -> None:
        """The device is no longer there: it is left alone, what waits and what will be sent is dropped."""
        self._loop.watch(self._fd, 0, self._ready)
        self.gone = True
        self._drop_waiting()
        self._warn(f"device '{self.device}' is gone: {os.strerror(error)}")

    # The way out

    def batch(self, batch: Batch, now: float) -> None:
        at, count = 0, batch.count
        while at < count:
            if not self._waiting:
                done, size, why = self._writer.batch(self._fd, batch.buf, batch.index, at, count)  # type: ignore[arg-type]
                self._taken(done - at, size)
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
                done, size, why = self._writer.outputs(self._fd, outputs, at)
                self._taken(done - at, size)
                at = done
                if not why:
                    return
            buf, start, end, vnet_len, _ = outputs[at]
            self._send(memoryview(buf)[start:end], vnet_len)
            at += 1

    def _send(self, frame: memoryview, vnet_len: int) -> None:
        if vnet_len != VNET_LEN:
            frame = memoryview(resized(frame, vnet_len, VNET_LEN))
        if self._waiting or not self._write(frame):
            self._wait(frame)

    def _write(self, frame: memoryview | bytes) -> bool:
        """Hand a frame to the device, which may refuse it. False: not now."""
        try:
            os.write(self._fd, frame)
        except OSError as error:
            if error.errno in BUSY:
                return False
            self.dropped.add(1, len(frame))
            if error.errno in GONE and not self.gone:
                self._lose(error.errno)
            return True
        self._taken(1, len(frame))
        return True

    def _taken(self, count: int, size: int) -> None:
        """The device has taken frames."""
        if count:
            self.sent.add(count, size)
            self._stuck = False

    def _wait(self, frame: memoryview) -> None:
        if self._stuck or self._waiting_bytes + len(frame) > WAITING:
            self.dropped.add(1, len(frame))
            return
        if not self._waiting:
            self._give_up_at = time.monotonic() + STUCK
            self._loop.after(RETRY, self._send_waiting)
        self._waiting.append(bytes(frame))
        self._waiting_bytes += len(frame)

    def _send_waiting(self) -> None:
        while self._waiting and self._fd >= 0:
            frame = self._waiting.popleft()
            self._waiting_bytes -= len(frame)
            if not self._write(frame):
                self._waiting.appendleft(frame)
                self._waiting_bytes += len(frame)
                self._try_again()
                return
            self._give_up_at = time.monotonic() + STUCK

    def _try_again(self) -> None:
        """Later, unless that has been in vain for too long."""
        if time.monotonic() < self._give_up_at:
            self._loop.after(RETRY, self._send_waiting)
        else:
            self._stuck = True
            self._drop_waiting()

    def _drop_waiting(self) -> None:
        self.dropped.add(len(self._waiting), self._waiting_bytes)
        self._waiting.clear()
        self._waiting_bytes = 0


class TapPort(DevicePort):
    """A TAP device: made if it is not there, and gone with us unless it was there before.

    offload: take and give frames of up to 64 KiB, and frames whose checksum is yet to be made.
    """

    def __init__(
        self, name: str, device: str, netns: str | None, loop: Loop, clock: Callable[[], float],
        report: Callable[[Event], None], pool: Pool, *, offload: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, device, netns, loop, clock, report, pool)
        self._offload = offload
        self.plain = not offload
        self._devices: TextIO | None = None
        self._lost = 0

    def _open(self) -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.device.encode(), flags))
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", VNET_LEN))
            offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN if self._offload else 0
            fcntl.ioctl(fd, TUNSETOFFLOAD, offload)
            self._devices = open("/proc/thread-self/net/dev")  # noqa: SIM115
            self._lost = self._lost_so_far()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _close(self) -> None:
        super()._close()
        if self._devices is not None:
            self._devices.close()

    def settle(self) -> None:
        """Count what the device's queue had no room for."""
        before, self._lost = self._lost, self._lost_so_far()
        self.dropped.add(self._lost - before, 0)

    def _lost_so_far(self) -> int:
        """Frames that the kernel dropped on their way to us, as proc(5), /proc/net/dev, has it."""
        assert self._devices is not None
        self._devices.seek(0)
        for line in self._devices:
            name, _, counts = line.partition(":")
            if name.strip() == self.device:
                return int(counts.split()[11])
        return self._lost


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
        self._sock.close()

    def settle(self) -> None:
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
            count, ancillary, flags, _ = self._sock.recvmsg_into([room[:-TAG]], 64)
        except BlockingIOError:
            return 0
        except OSError as error:
            burst.error = error.errno or errno.EIO
            return 0
        if flags & socket.MSG_TRUNC:  # larger than IP without jumbograms (RFC 2675) can be
            self.dropped.add(1, count)
            return self._receive_one(burst, room)
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
    room[at + TAG : count + TAG] = bytes(room[at:count])
    room[at : at + TAG] = struct.pack(">HH", tpid, tci)
    flags, gso, hdr_len, gso_size, csum_start, csum_offset = struct.unpack_from("<BBHHHH", room)
    if flags & 1:
        csum_start += TAG
    if gso:
        hdr_len += TAG
    struct.pack_into("<BBHHHH", room, 0, flags, gso, hdr_len, gso_size, csum_start, csum_offset)
    return count + TAG
