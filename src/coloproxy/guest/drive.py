"""Checkpoints for a pair that is somebody else's: between the notify socket of a comparator and both QEMUs' monitors.

The comparator asks; the primary is told to begin; and the comparator hears that it is done when the secondary, which
then is a copy, says RESUME: the primary still stands, so all that both said until now belongs to the epoch that ends.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from coloproxy.checkpoint.driver import Driver
from coloproxy.checkpoint.notify import CHECKPOINT, DO_CHECKPOINT, INIT, Decoder, NotifyError, encode
from coloproxy.compare.events import Event, GuestCheckpoint, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.guest.colo import checkpoint
from coloproxy.guest.driving import Driving
from coloproxy.guest.monitor import Aio, Monitor
from coloproxy.link.address import Address
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.loop import READ, Loop


class Drive:
    """Works until `stop()`. Raises ColoproxyError, from `run`, when the pair is none any more."""

    def __init__(
        self, primary: Address, secondary: Address, notify: Address, driver: Driver, report: Callable[[Event], None]
    ) -> None:
        self.loop = Loop()
        self._report = report
        self._driving = Driving(driver, self.loop, self._ask, self._too_late)
        self._stopping = False
        self._why = ""
        self._decoder = Decoder(vnet_hdr=False)
        self._notify = Endpoint("notify", notify._replace(server=False), self.loop, self._connected)
        self._aio = Aio(self.loop)
        self._primary = self._monitor("primary", primary, self._primary_says)
        self._secondary = self._monitor("secondary", secondary, self._secondary_says)

    def _monitor(self, name: str, place: Address, says: Callable[[str, Mapping[str, Any]], None]) -> Monitor:
        gone = f"the {name}'s QEMU is gone"
        return Monitor(self._aio, place, says, lambda: self._ready(name), lambda: self._end(gone))

    def run(self) -> None:
        """Drive checkpoints until stopped."""
        self._notify.start()
        try:
            while not self._stopping:
                self.loop.turn(time.monotonic() + 1.0)
        finally:
            self._notify.close()
            for monitor in (self._primary, self._secondary):
                monitor.close()
            self._aio.close()
        if self._why:
            raise ColoproxyError(f"{self._why}; checkpoints are over.")

    def stop(self) -> None:
        self._stopping = True

    def _end(self, why: str) -> None:
        self._stopping, self._why = True, self._why or why

    # The comparator

    def _connected(self, endpoint: Endpoint) -> None:
        assert endpoint.sock is not None
        self._decoder.forget()
        self.loop.watch(endpoint.sock.fileno(), READ, self._heard)
        self._say(INIT)
        driver = self._driving.driver
        if driver.count or driver.under_way:  # it has been told of none, and may not know what was said before it came
            self._driving.want("connected")

    def _say(self, message: bytes) -> None:
        try:
            if self._notify.sock is not None:
                self._notify.sock.send(encode(message))
        except OSError:
            self._notify.lost()

    def _heard(self, _events: int) -> None:
        assert self._notify.sock is not None
        try:
            data = self._notify.sock.recv(4096)
            if not data:
                raise EOFError
            while messages := self._decoder.feed(data):
                data = b""
                if DO_CHECKPOINT in messages:
                    self._driving.driver.want("notify", time.monotonic())
        except BlockingIOError:
            return
        except (EOFError, OSError, NotifyError):
            self._notify.lost()
        self._driving.look()

    # QEMU

    def _ready(self, name: str) -> None:
        if name == "primary":
            self._ask()

    def _primary_says(self, name: str, _data: Mapping[str, Any]) -> None:
        driver = self._driving.driver
        if name == "STOP":
            driver.began(time.monotonic())
        elif name == "RESUME" and driver.under_way:
            made = driver.completed(time.monotonic())
            self._report(
                GuestCheckpoint(
                    time=time.monotonic(), guest="", number=driver.count, asked=made.reasons, took=made.took,
                    paused=made.paused,
                )
            )  # fmt: skip
            self._driving.look()
        elif name == "COLO_EXIT":
            self._end("COLO has ended")

    def _secondary_says(self, name: str, _data: Mapping[str, Any]) -> None:
        if name == "RESUME":
            self._say(CHECKPOINT)
        elif name == "COLO_EXIT":
            self._end("COLO has ended")

    def _ask(self) -> None:
        checkpoint(self._primary)

    def _too_late(self) -> None:
        self._report(Warned(time=time.monotonic(), text="a checkpoint takes too long"))
        self._end("a checkpoint takes too long")
