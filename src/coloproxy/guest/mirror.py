"""A written disk over QEMU's monitor: what to say in which order to have a copy on the other host, or none any more.

The secondary's QEMU serves its image by NBD, to which the primary's copies its own while the guest runs, and then
writes as to its own. Once both run, the secondary's keeps what that overwrites in an overlay, and what its own guest
writes in another; each checkpoint empties them, and who takes over merges them into the image.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coloproxy.guest.config import File, Host
from coloproxy.guest.disk import DISK, FAR, OVERLAYS, OWN
from coloproxy.guest.monitor import Monitor
from coloproxy.link.loop import Loop

EXPORT = "disk"  # its name at the NBD server
JOB = "copy"
SECOND = "children.1"  # what the quorum calls the child that is added to its first
PORT = 2  # behind the host's own
AGAIN = 0.01  # seconds between attempts to remove what is still used

Then = Callable[[], None]


class Mirror:
    """No disk is written: nothing is to be done."""

    @property
    def copying(self) -> bool:
        """Whether it is being copied, and not yet in step."""
        return False

    @property
    def merging(self) -> bool:
        """Whether something is not yet in the image which the guest wrote as a secondary's."""
        return False

    def offer(self, then: Then) -> None:
        """Have the other host write to the image that is here."""
        then()

    def copy(self, then: Then) -> None:
        """Copy the disk to the other host, and call when from now on all that is written is written there too."""
        then()

    def heard(self, name: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU's."""

    def cut(self) -> None:
        """Close the connection to the other image, which may hang."""

    def leave(self, then: Then) -> None:
        """Have only the image that is here, and nobody else write to it, and call when that is so."""
        then()

    def merge(self, then: Then) -> None:
        """Call when the image has all that the guest has written, which it had as a secondary's beside it."""
        then()


class Written(Mirror):
    """One that is. failed(why): it cannot be copied."""

    def __init__(
        self, monitor: Monitor, loop: Loop, file: File, host: str, failed: Callable[[str], None]
    ) -> None:  # fmt: skip
        self._monitor, self._loop, self._failed = monitor, loop, failed
        self._here, self._there = file.host[host], file.host[file.other(host)]
        secret = file.keys is not None
        self._server = {"tls-creds": "server"} if secret else {}
        self._client = {"tls-creds": "client", "tls-hostname": file.other(host)} if secret else {}
        self._then: Then | None = None  # what waits for the copy
        self._paused = False  # the guest stands still, for us
        self._leaving = 0  # copies that are being left
        self._merging = 0  # who waits for a merge

    @property
    def copying(self) -> bool:
        return self._then is not None

    @property
    def merging(self) -> bool:
        return self._merging > 0

    def offer(self, then: Then) -> None:
        address = {"type": "inet", "data": _place(self._here)}
        export = {"type": "nbd", "id": EXPORT, "node-name": OWN, "name": EXPORT, "writable": True}
        self._do("nbd-server-start", {"addr": address, **self._server}, lambda: self._do(
            "block-export-add", export, then))  # fmt: skip

    def copy(self, then: Then) -> None:
        self._then = then
        self._begin(then)

    def _begin(self, then: Then) -> None:
        """As soon as the copy before is left, and what was a secondary's is merged."""
        if self._then is then and self._leaving:
            self._loop.after(AGAIN, lambda: self._begin(then))
        elif self._then is then:
            self.merge(lambda: self._begin_now(then))

    def _begin_now(self, then: Then) -> None:
        if self._then is not then:
            return
        far = {"driver": "nbd", "node-name": FAR, "server": {"type": "inet", **_place(self._there)}, "export": EXPORT}
        job = {"job-id": JOB, "device": DISK, "target": FAR, "sync": "full", "copy-mode": "write-blocking"}
        self._do("blockdev-add", {**far, **self._client}, lambda: self._do("blockdev-mirror", job, lambda: None))

    def heard(self, name: str, data: Mapping[str, Any]) -> None:
        if data.get("device") != JOB or self._then is None or self._leaving:
            return  # a copy that is being left may still end, while the next one waits
        if name == "BLOCK_JOB_READY":
            self._in_step()
        elif name == "BLOCK_JOB_COMPLETED":
            self._copied(data.get("error"))

    def _in_step(self) -> None:
        """The copy ends with all that was written before the guest stood still."""
        self._paused = True
        self._do("stop", {}, lambda: self._do("block-job-cancel", {"device": JOB}, lambda: None))

    def _copied(self, error: str | None) -> None:
        if error is not None or not self._paused:
            self._failed(f"the disk: {error or 'its copy ended too early'}")
            return
        self._do("x-blockdev-change", {"parent": DISK, "node": FAR}, lambda: self._do("cont", {}, self._written_twice))

    def _written_twice(self) -> None:
        self._paused = False
        then, self._then = self._then, None
        if then is not None:
            then()

    def cut(self) -> None:
        instance = {"type": "block-node", "node-name": FAR}
        self._monitor.execute("yank", {"instances": [instance]}, out_of_band=True)

    def leave(self, then: Then) -> None:
        self._then = None
        self.cut()
        self._monitor.execute("nbd-server-stop")
        self._monitor.execute("block-job-cancel", {"device": JOB, "force": True})
        self._monitor.execute("x-blockdev-change", {"parent": DISK, "child": SECOND})
        if self._paused:
            self._paused = False
            self._monitor.execute("cont")
        self._leaving += 1
        self._removed([FAR], lambda: self._left(then))

    def _left(self, then: Then) -> None:
        self._leaving -= 1
        then()

    def merge(self, then: Then) -> None:
        self._merging += 1
        self._removed(OVERLAYS, lambda: self._merged(then))

    def _merged(self, then: Then) -> None:
        self._merging -= 1
        then()

    def _removed(self, nodes: Sequence[str], then: Then) -> None:
        """Call when nobody uses them any more, and they are gone."""
        if not nodes:
            then()
            return

        def told(_: object, why: str | None) -> None:
            if why is None or "Failed to find" in why:
                self._removed(nodes[1:], then)
            else:
                self._loop.after(AGAIN, lambda: self._removed(nodes, then))

        self._monitor.execute("blockdev-del", {"node-name": nodes[0]}, told)

    def _do(self, command: str, arguments: Mapping[str, Any], then: Then) -> None:
        """And go on, unless the copy has been given up meanwhile."""
        waiting = self._then

        def told(_: object, why: str | None) -> None:
            if self._then is not waiting:
                return
            if why is not None:
                self._failed(f"the disk: {command}: {why}")
            else:
                then()

        self._monitor.execute(command, arguments, told)


def _place(host: Host) -> Mapping[str, str]:
    return {"host": host.address, "port": str(host.port + PORT)}
