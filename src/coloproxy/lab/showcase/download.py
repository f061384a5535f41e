"""`python -m coloproxy.lab.showcase.download ORDER`: download a file by FTP, again and again, within some seconds.

What comes is kept in memory, and its MD5 taken when the clock stands still.
"""

import ftplib
import hashlib
import mmap
import sys
import time

import msgspec

from coloproxy.lab.clients.meter import tell
from coloproxy.lab.clients.transfer import file_name
from coloproxy.lab.result import Progress
from coloproxy.lab.showcase.record import Download

PIECE = 1 << 18  # bytes asked of the network at a time
TOLD = 0.1  # seconds between two messages of progress
WHOLE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server, the size of the file, how often it is wanted, and the seconds for all of it."""

    address: str
    size: int
    runs: int
    budget: float


def main(order: Order) -> None:
    memory = memoryview(mmap.mmap(-1, order.size, flags=WHOLE))
    left, last = order.budget, 0.0
    for _ in range(order.runs):
        if last > left:
            break
        begun = time.perf_counter()
        size, seconds = download(order, memory, begun + left)
        last = time.perf_counter() - begun
        left -= last
        tell(Download(bytes=size, seconds=seconds, md5=hashlib.md5(memory[:size]).hexdigest()))
        if size < order.size:
            break


def download(order: Order, memory: memoryview, until: float) -> tuple[int, float]:
    """The bytes that came until then (perf_counter), and the seconds from the request to the last of a whole file."""
    size, begun = 0, time.perf_counter()
    last = told = begun
    try:
        ftp = ftplib.FTP(timeout=left(until))
        ftp.connect(order.address)
        ftp.login()
        ftp.voidcmd("TYPE I")
        begun = time.perf_counter()
        with ftp.transfercmd(f"RETR {file_name(order.size)}") as data:
            data.settimeout(left(until))
            while size < order.size and (count := data.recv_into(memory[size : size + PIECE])):
                size += count
                last = time.perf_counter()
                if last - told > TOLD:
                    tell(Progress(size / order.size, size))
                    told = last
                left(until)
        ftp.voidresp()
        ftp.quit()
    except TimeoutError:
        pass
    return size, (last if size == order.size else time.perf_counter()) - begun


def left(until: float) -> float:
    """Raises TimeoutError if there is nothing."""
    seconds = until - time.perf_counter()
    if seconds <= 0:
        raise TimeoutError
    return seconds


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
