"""Which way frames go through an agent, without QEMU: what leaves its ports is caught."""

import time
from collections.abc import Iterator
from pathlib import Path as Folder

import pytest

from coloproxy.compare.events import Event
from coloproxy.guest import config
from coloproxy.guest.core import meeting
from coloproxy.guest.path import Path
from coloproxy.guest.wire import Wire
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.loop import Loop
from support.flow import Catch, batch
from support.frames import tcp

FILE = """
name = "web"
lease = "file:{folder}/lease"
folder = "{folder}"
[guest]
kernel = "/boot/vmlinuz"
memory = "1G"
mac = "52:54:00:12:34:56"
[host.a]
address = "192.0.2.1"
tap = "web0"
bridge = "br0"
[host.b]
address = "192.0.2.2"
tap = "web0"
bridge = "br0"
"""


class Bench:
    """The path of one agent."""

    def __init__(self, folder: Folder) -> None:
        place = folder / "guest.toml"
        place.write_text(FILE.format(folder=folder))
        file = config.load(place)
        self.loop, self.clock, pool = Loop(), Clock(), Pool()
        self.events: list[Event] = []
        told = self.events.append
        wire = Wire(meeting(file, "a"), self.loop, self.clock.now, told, pool)
        self.path = Path(file, "a", self.loop, self.clock, pool, told, wire)
        self.guest, self.peer = Catch(), Catch()
        for port, catch in ((self.path.guest, self.guest), (wire, self.peer)):
            port.batch, port.outputs = catch.batch, catch.outputs  # type: ignore[method-assign]

    def client(self, *payloads: bytes) -> None:
        """A client says something; all of it goes into the first of the elements."""
        frames = [tcp(payload, seq=1 + 10 * number, ack=1) for number, payload in enumerate(payloads)]
        take = self.path.network.take
        assert take is not None
        take(batch(*frames), self.clock.now())

    def heard(self) -> tuple[list[bytes], list[bytes]]:
        """What was said to the guest and to the other agent."""
        return [frame[-4:] for frame in self.guest.take()], [frame[-4:] for frame in self.peer.take()]


@pytest.fixture
def bench(tmp_path: Folder) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.path.alone(first=True)
    yield made
    made.loop.close()


def test_alone_only_this_guest_hears_clients(bench: Bench) -> None:
    bench.client(b"only")
    assert bench.heard() == ([b"only"], [])


def test_of_two_both_hear_clients(bench: Bench) -> None:
    bench.path.copied()
    bench.client(b"both")
    assert bench.heard() == ([b"both"], [b"both"])


def test_behind_the_door_clients_wait_and_both_hear_them_then(bench: Bench) -> None:
    bench.path.copied()
    bench.path.door.close_up()
    bench.client(b"one ", b"two ")
    bench.client(b"then")
    assert bench.heard() == ([], [])
    bench.path.door.open_up(bench.clock.now())
    both = [b"one ", b"two ", b"then"]
    assert bench.heard() == (both, both)


def test_what_came_just_before_the_guest_stood_still_for_the_end_of_a_copy_is_said_again(bench: Bench) -> None:
    bench.path.door.remembering = True
    bench.client(b"long")
    time.sleep(0.02)
    since = bench.clock.now()
    bench.client(b"just", b"now ")
    bench.path.door.close_behind(since)
    bench.client(b"then")
    assert bench.heard() == ([b"long", b"just", b"now "], [])
    bench.path.copied()
    bench.path.door.open_up(bench.clock.now())
    again = [b"just", b"now ", b"then"]
    assert bench.heard() == (again, again)
    bench.client(b"more")
    bench.path.door.close_behind(since)
    bench.path.door.open_up(bench.clock.now())
    assert bench.heard() == ([b"more"], [b"more"]), "in step nothing is said twice"


def test_who_goes_on_alone_hears_what_waits_at_the_door(bench: Bench) -> None:
    bench.path.copied()
    bench.path.door.close_up()
    bench.client(b"wait")
    bench.path.alone(first=False)
    bench.client(b"more")
    assert bench.heard()[0] == [b"wait", b"more"]


def test_without_a_guest_nobody_waits(bench: Bench) -> None:
    bench.path.copied()
    bench.path.door.close_up()
    bench.client(b"lost")
    bench.path.off()
    assert bench.heard() == ([], [])
    assert bench.path.door.idle
    assert not bench.path.door.closed
