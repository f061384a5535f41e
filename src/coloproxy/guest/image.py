"""A guest small enough to be started anywhere: this machine's Debian kernel, and busybox as all of its user space.

Its servers, all deterministic but one, so that two guests say the same:

    port 80    HTTP: /block, a mebibyte; /cgi-bin/blocks?N, N times that; /cgi-bin/sum, the MD5 sum of what it is sent
    port 7001  echo
    port 7002  a counter: a line with the next number for each line
    port 7003  1000 characters drawn from its clock, which differ in two guests: every answer forces a checkpoint
    port 7004  takes what is said, and says how many blocks of 64 KiB that were, as dd does
    port 7005  echoes, but hears nothing before /cgi-bin/listen was asked for
    port 7006  HTTP: /N, N mebibytes, as fast as one process can
    port 7007  its disk: "put N TEXT" writes a block of 512 bytes, "get N" reads it, "fill N K" writes the Nth mebibyte
               with /block, of which the first K pages come last, "sum N" is that mebibyte's MD5 sum, "stamp N" writes
               a block that differs in two guests, as 7003 does, and says it; a line answers each, and what was written
               is on the disk by then

The archive is of the kind "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
"""

import gzip
import io
import lzma
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coloproxy.errors import ColoproxyError

BOOT, MODULES, BUSYBOX = Path("/boot"), Path("/lib/modules"), Path("/bin/busybox")
PACKAGES = "linux-image-cloud-amd64 busybox-static"
READY = "GUEST-READY"  # on the console, once the servers listen

# What virtio-net and virtio-blk need, each behind what it depends on.
DRIVERS = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "net/core/failover",
    "drivers/net/net_failover", "drivers/net/virtio_net", "drivers/block/virtio_blk",
)  # fmt: skip

APPLETS = ("sh", "cat", "echo", "mount", "mkdir", "ip", "insmod", "httpd", "nc", "head", "sleep", "sysctl", "poweroff",
           "dd", "seq", "sha512sum", "grep", "md5sum")  # fmt: skip

# The console is not read: nobody types there.
INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for driver in {drivers}; do insmod /modules/$driver.ko; done
ip link set lo up
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip link set eth0 mtu 1500 up
for address in {addresses}; do ip address add $address dev eth0; done
{route}
httpd -h /www
nc -ll -p 7001 -e /bin/cat &
nc -ll -p 7002 -e /bin/counter &
nc -ll -p 7003 -e /bin/random &
nc -ll -p 7004 -e /bin/count &
nc -ll -p 7005 -e /bin/late &
nc -ll -p 7006 -e /bin/source &
nc -ll -p 7007 -e /bin/disk &
for port in 0050 1B59 1B5A 1B5B 1B5C 1B5D 1B5E 1B5F; do
    until grep -q ":$port 0*:0000 0A" /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done
done
echo {ready}
while :; do sleep 1000; done
"""
LATE = "#!/bin/sh\nuntil [ -e /tmp/listen ]; do sleep 0.1; done\nexec cat\n"
LISTEN = '#!/bin/sh\n: >/tmp/listen\nprintf "\\r\\n"\n'
SOURCE = """\
#!/bin/sh
read -r _ path _
while read -r line && [ ${#line} -gt 1 ]; do :; done
n=${path#/}
printf "HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" $((n << 20))
for i in $(seq $n); do set -- "$@" /www/block; done
exec cat "$@"
"""
DISK = """\
#!/bin/sh
while read -r what n text; do
    case $what in
    put) printf "%-511s\\n" "$text" | dd of=/dev/vda bs=512 seek=$n conv=notrunc,fsync && echo put $n ;;
    get) dd if=/dev/vda bs=4096 skip=$((n / 8)) count=1 iflag=direct | dd bs=512 skip=$((n % 8)) count=1 ;;
    fill) { dd if=/www/block bs=4096 skip=$text; dd if=/www/block bs=4096 count=$text; } |
        dd of=/dev/vda bs=1M seek=$n iflag=fullblock conv=notrunc,fsync && echo fill $n $text ;;
    stamp) text=$(sha512sum </proc/timer_list | head -c 120)
        printf "%-511s\\n" $text | dd of=/dev/vda bs=512 seek=$n conv=notrunc,fsync && echo $text ;;
    sum) dd if=/dev/vda bs=1M skip=$n count=1 iflag=direct | md5sum ;;
    esac
done 2>/dev/null
"""
COUNT = "#!/bin/sh\nexec dd of=/dev/null bs=65536 iflag=fullblock 2>&1\n"
COUNTER = "#!/bin/sh\nn=0\nwhile read -r line; do n=$((n + 1)); echo $n; done\n"
# Copies draw the same numbers from /dev/urandom; but each has its own time, to the nanosecond.
RANDOM = "#!/bin/sh\nread -r line\nfor n in $(seq 8); do sha512sum </proc/timer_list | head -c 125; done\n"
BLOCKS = """\
#!/bin/sh
printf "Content-Length: %d\\r\\n\\r\\n" $((QUERY_STRING << 20))
for n in $(seq $QUERY_STRING); do cat /www/block; done
"""

SUM = '#!/bin/sh\nprintf "\\r\\n"\nhead -c "$CONTENT_LENGTH" | md5sum\n'


class Image(NamedTuple):
    """A kernel and its initial file system."""

    kernel: Path
    initrd: Path


def build(folder: Path, *addresses: str, route: str | None = None) -> Image:
    """Make a guest with these addresses (as 10.77.0.1/24, or of IPv6) in `folder`. Raises ColoproxyError if what it
    needs is not here.

    route: the address of a gateway.
    """
    kernel, modules = installed()
    files = {
        "init": INIT.format(
            drivers=" ".join(Path(driver).name for driver in DRIVERS), addresses=" ".join(addresses), ready=READY,
            route=f"ip route add default via {route}" if route else "",
        ),
        "bin/count": COUNT, "bin/counter": COUNTER, "bin/random": RANDOM, "bin/late": LATE, "bin/source": SOURCE,
        "bin/disk": DISK,
        "www/cgi-bin/blocks": BLOCKS, "www/cgi-bin/sum": SUM, "www/cgi-bin/listen": LISTEN,
    }  # fmt: skip
    initrd = folder / "initrd.gz"
    with gzip.open(initrd, "wb", compresslevel=1) as archive:
        for number, entry in enumerate(entries(modules, files), 1):
            archive.write(record(number, *entry))
        archive.write(record(0, "TRAILER!!!", 0, b""))
    return Image(kernel, initrd)


def installed() -> tuple[Path, Path]:
    """The kernel and the folder of its modules. Raises ColoproxyError if there is none, or no busybox."""
    for kernel in sorted(BOOT.glob("vmlinuz-*cloud-amd64"), reverse=True):
        modules = MODULES / kernel.name.removeprefix("vmlinuz-") / "kernel"
        if modules.is_dir() and BUSYBOX.exists():
            return kernel, modules
    raise ColoproxyError(f"there is nothing here to make a guest of: apt install {PACKAGES}.")


def entries(modules: Path, files: dict[str, str]) -> Iterator[tuple[str, int, bytes]]:
    """What the archive has: name, mode, contents."""
    for folder in ("bin", "dev", "proc", "sys", "tmp", "modules", "www", "www/cgi-bin"):
        yield folder, stat.S_IFDIR | 0o755, b""
    yield "bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()
    for applet in APPLETS:
        yield f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox"
    for driver in DRIVERS:
        yield f"modules/{Path(driver).name}.ko", stat.S_IFREG | 0o644, module(modules / driver)
    yield "www/block", stat.S_IFREG | 0o644, block()
    for name, text in files.items():
        yield name, stat.S_IFREG | 0o755, text.encode()


def block() -> bytes:
    """A mebibyte that is the same each time, and no two parts of it are."""
    return random.Random(1).randbytes(1 << 20)


def module(path: Path) -> bytes:
    """A kernel module, which may be compressed. Raises ColoproxyError if it is not there."""
    if (plain := path.with_suffix(".ko")).exists():
        return plain.read_bytes()
    if (packed := path.with_suffix(".ko.xz")).exists():
        return lzma.decompress(packed.read_bytes())
    raise ColoproxyError(f"module {path}.ko is missing: apt install --reinstall {PACKAGES}.")


def record(number: int, name: str, mode: int, contents: bytes) -> bytes:
    """One entry of the archive; header and contents fill whole words of 4 bytes."""
    fields = (number, mode, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(name) + 1, 0)
    out = io.BytesIO()
    for part in (b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0", contents):
        out.write(part)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()
