"""QEMU's COLO over its monitor: what to say in which order, and what its events mean."""

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

from coloproxy.guest.channel import NAME, Channel
from coloproxy.guest.mirror import Mirror
from coloproxy.guest.monitor import Monitor
from coloproxy.link.loop import Loop

NEVER = 86_400_000  # milliseconds between checkpoints that QEMU makes by itself
FAST = 10 << 30  # bytes a second that a copy may take
UNENDED = {"setup", "active", "device", "cancelling", "colo"}  # what QEMU says of a copy that is not over
AGAIN = 0.01  # seconds between looks whether it is
DOWNTIME = 50  # milliseconds for which the guest may stand still at the end of the first copy
MIGRATION = {"type": "migration"}

Failed = Callable[[str], None]


class Colo:
    """One QEMU's part in a pair. `active`: it is in step with another; `left`: it has been, and is no more;
    `secondary`: the other is the primary. other: the host whose certificate is expected, for copies under TLS."""

    def __init__(
        self, monitor: Monitor, loop: Loop, failed: Failed, mirror: Mirror, other: str | None = None
    ) -> None:  # fmt: skip
        self.monitor = monitor
        self._loop = loop
        self.mirror = mirror
        self._failed = failed
        self._other = other
        self.active = False
        self.left = False
        self.secondary = False
        self._on_left: Callable[[], None] | None = None
        self._channel: Channel | None = None

    def prepare(self, then: Callable[[], None]) -> None:
        """Allow COLO, and events about copies."""
        capabilities = [{"capability": name, "state": True} for name in ("x-colo", "events")]
        parameters = {"x-checkpoint-delay": NEVER, "max-bandwidth": FAST, "downtime-limit": DOWNTIME}
        self._do("migrate-set-capabilities", {"capabilities": capabilities}, lambda: self._do(
            "migrate-set-parameters", parameters, then))  # fmt: skip

    def copy(self, channel: Channel, sock: socket.socket) -> None:
        """Begin to copy the guest's memory to whoever is at the other end, and stay in step from then on."""
        self.active = self.left = self.secondary = False
        self._channel = channel
        self._secretly("client")
        self._give(channel, sock, lambda: self._migrate(channel))

    def _migrate(self, channel: Channel) -> None:
        """As soon as QEMU has ended the copy before, if one was given up a moment ago: asked too early, it mixes both
        up."""

        def told(answer: Mapping[str, Any] | None, _why: str | None) -> None:
            if channel is not self._channel:
                return
            status = (answer or {}).get("status")
            if status == "colo":
                self._leave_colo()
            if status in UNENDED:
                self._loop.after(AGAIN, lambda: self._migrate(channel))
            else:
                self.active = self.left = False  # whatever the end of the one before has said meanwhile
                self._do("migrate", {"uri": f"fd:{NAME}"}, lambda: None)

        if channel is self._channel:
            self.monitor.execute("query-migrate", None, told)

    def receive(self, channel: Channel, sock: socket.socket) -> None:
        """Have the guest's memory come from there."""
        self.secondary = True
        self._channel = channel
        self._secretly("server")
        self._give(channel, sock, lambda: self._do("migrate-incoming", {"uri": f"fd:{NAME}"}, lambda: None))

    def _give(self, channel: Channel, sock: socket.socket, then: Callable[[], None]) -> None:
        """Give QEMU the connection. It has each that it is given block, and does nothing else while it waits for the
        other's part of the TLS handshake, which may hang: it must not block after all, and then QEMU waits as it
        should."""

        def given(_: object, why: str | None) -> None:
            if channel is not self._channel:
                return
            if why is not None:
                self._failed(f"getfd: {why}")
            else:
                with contextlib.suppress(OSError):  # it was shut meanwhile, which QEMU will find
                    sock.setblocking(False)
                then()

        self.monitor.give(sock.fileno(), NAME, given)

    def _secretly(self, end: str) -> None:
        """Have the connection be under TLS, if there are keys."""
        if self._other is not None:
            parameters = {"tls-creds": end, "tls-hostname": self._other}
            self._do("migrate-set-parameters", parameters, lambda: None)

    def checkpoint(self) -> None:
        checkpoint(self.monitor)

    def break_off(self) -> None:
        """Close the channel to the other QEMU, which may hang: that ends COLO, and says so by COLO_EXIT."""
        if self._channel is not None:
            self._channel.shut()
            self._channel = None
        self.monitor.execute("yank", {"instances": [MIGRATION]})
        self.mirror.cut()

    def cancel(self) -> None:
        """Give up a first copy. It may have ended before we heard of it: then QEMU is in COLO, and stays there until it
        is told who lives."""
        self.break_off()
        self.monitor.execute("migrate_cancel")
        self._leave_colo()
        self.mirror.leave(lambda: None)

    def _leave_colo(self) -> None:
        """QEMU refuses it where it is in none."""
        self.monitor.execute("x-colo-lost-heartbeat")

    def go_on_alone(self, then: Callable[[], None]) -> None:
        """Leave COLO as the one that lives, and call when the guest runs.

        A secondary first says COLO_EXIT: what it loads after it was told who lives could not be told from a checkpoint.
        A primary that has nothing to send does not notice that the channel is closed, and says nothing.
        """

        def leave() -> None:
            self.mirror.leave(lambda: self.monitor.execute(
                "x-colo-lost-heartbeat", None, lambda *_: self._when_running(then)))  # fmt: skip

        self.break_off()
        if self.secondary and self.active and not self.left:
            self._on_left = leave
        else:
            leave()

    def _when_running(self, then: Callable[[], None]) -> None:
        def told(status: Mapping[str, Any] | None, why: str | None) -> None:
            if why is not None:
                self._failed(f"query-status: {why}")
            elif status is not None and status.get("running"):
                self.active = False
                then()
            else:
                if status is not None and status.get("status") == "paused":  # by an agent that ended before us
                    self.monitor.execute("cont")
                self._when_running(then)

        self.monitor.execute("query-status", None, told)

    def exited(self) -> None:
        """QEMU's COLO_EXIT: its checkpointing is over, and it waits to be told who lives."""
        self.left = True
        if self._on_left is not None:
            call, self._on_left = self._on_left, None
            call()

    def _do(self, command: str, arguments: Mapping[str, Any], then: Callable[[], None]) -> None:
        def told(_: object, why: str | None) -> None:
            if why is not None:
                self._failed(f"{command}: {why}")
            else:
                then()

        self.monitor.execute(command, arguments, told)


def checkpoint(primary: Monitor) -> None:
    """Begin one at once: setting the delay does that, even to what it is."""
    primary.execute("migrate-set-parameters", {"x-checkpoint-delay": NEVER})
