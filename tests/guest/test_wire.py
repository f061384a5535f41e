"""The agents' connection: messages keep their place between frames, in the open and under TLS."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coloproxy.compare.comparator import Batch
from coloproxy.compare.events import Event
from coloproxy.errors import ColoproxyError
from coloproxy.guest import messages
from coloproxy.guest.tls import context, make_keys
from coloproxy.guest.wire import SHAKING, Wire
from coloproxy.link.address import parse_address
from coloproxy.link.arena import Pool
from coloproxy.link.flow import frames_of
from coloproxy.link.loop import Loop
from support.etcd import free_ports


class End:
    """One agent's end; `heard` has frames and messages, in order."""

    def __init__(self, loop: Loop, address: str, keys: Path | None, names: tuple[str, str]) -> None:
        self.heard: list[object] = []
        self.events: list[Event] = []
        where = parse_address(address)
        tls = context(keys, *names, where.server) if keys is not None else None
        self.wire = Wire(where, loop, time.monotonic, self.events.append, Pool(), tls)
        self.wire.heard = self.heard.append
        self.wire.met = lambda: self.heard.append("met")
        self.wire.lost_peer = lambda _: self.heard.append("lost")
        self.wire.take = self._take
        self.wire.open()
        self.wire.read_on(True)

    def _take(self, batch: Batch, now: float) -> None:
        self.heard += [bytes(batch.buf[start:end]) for start, end, _ in frames_of(batch)]


class Ends:
    def __init__(self, keys: Path | None, trusted: Path | None = None) -> None:
        self.loop = Loop()
        (self.port,) = free_ports(1)
        place = f"tcp:127.0.0.1:{self.port}"
        self.a = End(self.loop, f"{place},server", keys, ("a", "b"))
        self.b = End(self.loop, place, trusted or keys, ("b", "a"))

    def until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, (self.a.heard, self.b.heard, self.a.events, self.b.events)
            self.loop.turn(time.monotonic() + 0.05)
            for each in (self.a, self.b):
                each.wire.finish()

    def close(self) -> None:
        for each in (self.a, self.b):
            each.wire.close()
        self.loop.close()


@pytest.fixture(params=["open", "tls"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    keys = None
    if request.param == "tls":
        keys = tmp_path
        make_keys(keys, ["a", "b"])
    made = Ends(keys)
    made.until(lambda: made.a.heard == made.b.heard == ["met"])
    yield made
    made.close()


def send(end: End, *frames: bytes) -> None:
    end.wire.outputs([(frame, 0, len(frame), 0, None) for frame in frames], 0.0)


def test_a_message_is_behind_the_frames_that_were_sent_before_it(ends: Ends) -> None:
    expected: list[object] = ["met"]
    for number in range(50):
        frames = [bytes([number, 1]) * (1 + 30 * number), bytes([number, 2]) * 700]
        send(ends.a, *frames)
        ends.a.wire.say(messages.Stopped())
        send(ends.a, b"behind")
        expected += [*frames, messages.Stopped(), b"behind"]
    ends.until(lambda: len(ends.b.heard) >= len(expected))
    assert ends.b.heard == expected


def test_many_bytes_in_both_directions_arrive_in_order(ends: Ends) -> None:
    frames = [number.to_bytes(4, "big") * 350 for number in range(1500)]
    for each in (ends.a, ends.b):
        send(each, *frames)
    ends.until(lambda: len(ends.a.heard) == len(ends.b.heard) == 1 + len(frames))
    assert ends.a.heard[1:] == ends.b.heard[1:] == frames


def test_a_virtio_header_stays_behind(ends: Ends) -> None:
    ends.a.wire.outputs([(bytes(10) + b"frame", 0, 15, 10, None)], 0.0)
    ends.until(lambda: len(ends.b.heard) == 2)
    assert ends.b.heard[1] == b"frame"


def test_what_says_nothing_known_is_reported_and_passed_over(ends: Ends) -> None:
    ends.a.wire._outbox.add([(b'{"say":"nonsense"}', 0, 18, 18, None)])
    ends.a.wire.say(messages.Loaded())
    ends.until(lambda: len(ends.b.heard) == 2)
    assert ends.b.heard[1] == messages.Loaded()
    assert any("are both of one version?" in getattr(event, "text", "") for event in ends.b.events)


def test_who_goes_is_missed_and_may_come_again(ends: Ends) -> None:
    ends.b.wire.hang_up("for a test")
    ends.until(lambda: ends.a.heard[1:] == ["lost", "met"] and ends.b.heard[1:] == ["lost", "met"])


def test_nobody_without_the_key_is_met(tmp_path: Path) -> None:
    """Another's keys have the same names, and are others."""
    for folder in ("ours", "theirs"):
        make_keys(tmp_path / folder, ["a", "b"])
    made = Ends(tmp_path / "ours", tmp_path / "theirs")
    try:
        made.until(
            lambda: any("could not show" in getattr(event, "text", "") for event in made.a.events + made.b.events)
        )
        assert "met" not in made.a.heard
        assert not made.a.wire.connected
    finally:
        made.close()


def test_a_stranger_who_says_nothing_does_not_keep_the_other_host_away(tmp_path: Path) -> None:
    make_keys(tmp_path, ["a", "b"])
    made = Ends(tmp_path)
    stranger = socket.socket()
    try:
        made.b.wire.close()
        thread = threading.Thread(target=stranger.connect, args=(("127.0.0.1", made.port),))
        thread.start()
        made.until(lambda: not thread.is_alive())
        begin = time.monotonic()
        b = End(made.loop, f"tcp:127.0.0.1:{made.port}", tmp_path, ("b", "a"))
        made.until(lambda: "met" in b.heard, SHAKING + 5)
        assert time.monotonic() - begin < SHAKING + 5
        b.wire.close()
    finally:
        stranger.close()
        made.close()


def test_keys_are_made_once_and_are_secret(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys", ["a", "b"])
    assert sorted(path.name for path in made) == ["a.crt", "a.key", "b.crt", "b.key"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in made if path.suffix == ".key")
    with pytest.raises(ColoproxyError, match="is there already"):
        make_keys(tmp_path / "keys", ["a", "b"])


def test_a_missing_key_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ColoproxyError, match=r"a\.key, a\.crt and b\.crt must be there"):
        context(tmp_path, "a", "b", False)
