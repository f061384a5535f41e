"""The guest's place in the network of its host: a TAP device, perhaps in a bridge, up while the guest speaks there."""

from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from coloproxy.errors import ColoproxyError

QUEUE = 2000  # frames that may wait for the agent


class Plug:
    """A TAP device that is there, and the bridge that it belongs to."""

    def __init__(self, tap: str, bridge: str | None) -> None:
        self._tap = tap
        self._bridge = bridge
        self._netlink: Any = IPRoute()

    def attach(self) -> None:
        """Put the device into its bridge, down. Raises ColoproxyError if that cannot be."""
        change: dict[str, Any] = {"state": "down", "txqlen": QUEUE}
        if self._bridge is not None:
            change["master"] = self._index(self._bridge)
        self._set(**change)

    def up(self) -> None:
        self._set(state="up")

    def down(self) -> None:
        self._set(state="down")

    def _set(self, **change: Any) -> None:
        try:
            self._netlink.link("set", index=self._index(self._tap), **change)
        except NetlinkError as error:
            raise ColoproxyError(f"device {self._tap}: {error.args[1]}; run as root.") from None

    def _index(self, device: str) -> int:
        found = self._netlink.link_lookup(ifname=device)
        if not found:
            raise ColoproxyError(f"there is no device '{device}' here; make it first, or name another.")
        return int(found[0])

    def close(self) -> None:
        self._netlink.close()
