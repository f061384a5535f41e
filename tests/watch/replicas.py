"""Two replicas and a client, on a real proxy with its page."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from coloproxy.checkpoint.notify import CHECKPOINT, encode
from support import frames
from support.wire import Peer
from watch.conftest import Page

HOSTILE = b'<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
HEAD = b"HTTP/1.1 200 OK\r\nDate: Wed, 26 Nov 2026 10:00:0"


class Scene:
    """Two replicas and a client on a proxy: `talk` on several connections, and `differ`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.peers = page.peers()
        self.notify: Peer = page.peer("notify_dev")
        self.seqs: dict[int, int] = {}
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        """The client takes all that comes."""
        with contextlib.suppress(OSError):
            while self.peers[2].sock.recv(1 << 16):
                pass

    def say(self, ours: bytes, theirs: bytes | None, dport: int, sport: int = 80) -> None:
        """A segment of each; None: the secondary is silent."""
        seq = self.seqs.setdefault(dport, 1)
        self.peers[0].send(frames.tcp(ours, seq=seq, ack=1, dport=dport, sport=sport))
        if theirs is not None:
            self.peers[1].send(frames.tcp(theirs, seq=seq, ack=1, dport=dport, sport=sport))
        self.seqs[dport] = seq + len(ours)

    def talk(self, seconds: float) -> None:
        """Equal bytes on three connections for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for dport in (40000, 40001, 51234):
                self.say(b"equal" * 240, b"equal" * 240, dport)
            time.sleep(0.02)

    def differ(self, ours: bytes, theirs: bytes, dport: int, sport: int = 8080, checkpoint: bool = True) -> None:
        """A divergence, and the checkpoint that heals it."""
        before = self.page.count("divergence")
        self.say(ours, theirs, dport, sport)
        self.page.wait("divergence", before + 1)
        if checkpoint:
            done = self.page.count("checkpoint_completed")
            self.notify.raw(encode(CHECKPOINT))
            self.page.wait("checkpoint_completed", done + 1)

    def lag(self, dport: int) -> None:
        """The primary is ahead, and some of the secondary's bytes are missing."""
        seq = self.seqs.setdefault(dport, 1)
        p, s, _ = self.peers
        p.send(frames.tcp(b"p" * 1400, seq=seq, ack=1, dport=dport, sport=22))
        s.send(frames.tcp(b"p" * 500, seq=seq, ack=1, dport=dport, sport=22))
        s.send(frames.tcp(b"p" * 400, seq=seq + 800, ack=1, dport=dport, sport=22))


def play(start: Callable[..., Page], folder: Path) -> Scene:
    """Three divergences: a clock and hostile bytes, both healed, and noise, which waits."""
    options = "--epoch-grace", "0", "--compare-timeout", "60000", "--control", str(folder / "token")
    made = Scene(start(*options, notify=True))
    made.talk(1.0)
    made.differ(HEAD + b"1 GMT\r\n\r\n", HEAD + b"2 GMT\r\n\r\n", 41000)
    made.talk(0.6)
    made.differ(HOSTILE + b"A" * 20, HOSTILE + b"B" * 20, 41001)
    made.talk(0.6)
    made.differ(b"\x16\x03\x03" + bytes(range(60)), b"\x16\x03\x03" + bytes(range(30)) + bytes(30), 42000, 443, False)
    made.lag(43000)
    return made
