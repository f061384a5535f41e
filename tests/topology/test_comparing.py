"""The comparator and the rewriter as elements: what leaves, what is told, and who is asked for a checkpoint."""

import time
from pathlib import Path

import pytest

from coloproxy.compare.events import CheckpointRequested, Divergence, Event, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.link.loop import Loop
from coloproxy.topology import config
from coloproxy.topology.comparing import Comparing
from coloproxy.topology.rewriting import Rewriting, Strip
from support import frames, rewriting
from support.flow import Bench, StillClock, batch
from support.frames import SYN, syn_options
from support.rewriting import C_ISN, CLIENT_SYN, P_ISN, P_SYN_ACK, S_ISN, S_SYN_ACK
from support.wire import PATIENCE, connect, framed

ONE, TWO = (frames.tcp(b"hello" * 20, seq=1 + 100 * n, ack=1) for n in range(2))
OTHER = frames.tcp(b"jello" * 20, seq=1, ack=1)


class Comparison(Bench):
    """A comparator with its events, and the loop that its notify socket needs."""

    def __init__(self, **settings: object) -> None:
        self.loop, self.clock, self.events = Loop(), StillClock(), list[Event]()
        chosen = config.ComparatorElement(**settings)  # type: ignore[arg-type]
        self.comparing = Comparing("compare", chosen, self.clock, self.events.append, self.loop)
        super().__init__(self.comparing)

    def event(self, kind: type[Event]) -> Event:
        (found,) = (event for event in self.events if isinstance(event, kind))
        return found




def test_what_both_say_leaves_as_the_primary_said_it() -> None:
    bench = Comparison()
    bench.send(ONE, TWO, channel="primary")
    bench.turn(0.0)
    assert bench.out.frames == []
    bench.send(ONE, channel="secondary")
    bench.turn(0.0)
    assert bench.out.take() == [ONE]
    assert bench.counters()["held"] == 1
    bench.send(TWO, channel="secondary")
    bench.turn(0.0)
    assert bench.out.take() == [TWO]
    assert bench.counters() == {
        "held": 0, "verified_bytes": 200, "divergences": 0, "checkpoints_requested": 0, "made": 0, "clamped": 0
    }  # fmt: skip
    bench.loop.close()


def test_a_divergence_is_told_and_held_and_its_frames_are_kept_as_evidence(tmp_path: Path) -> None:
    bench = Comparison(evidence=str(tmp_path / "evidence"))
    assert not (tmp_path / "evidence").exists()
    bench.element.open()
    bench.send(ONE, channel="primary")
    bench.send(OTHER, channel="secondary")
    bench.turn(0.0)
    assert bench.out.frames == []
    divergence = bench.event(Divergence)
    assert isinstance(divergence, Divergence)
    assert divergence.reason == "tcp_payload"
    bench.event(CheckpointRequested)
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["0001-tcp_payload.pcapng"]
    bench.comparing.comparator.checkpoint_completed(1.0)
    bench.turn(1.0)
    assert bench.out.frames == [ONE]
    bench.loop.close()


def test_time_is_told_by_the_deadline() -> None:
    bench = Comparison(compare_timeout=100, expired_scan_cycle=10)
    bench.send(ONE, channel="primary")
    now = 0.0
    while not bench.events:
        due = bench.element.deadline()
        assert due is not None
        assert due > now
        now = due
        assert now < 1
        bench.turn(now)
    assert now >= 0.1
    bench.loop.close()


def test_rules_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text('[[rule]]\nname = "x"\nprotocol = "tcp"\naction = "pass"\n')
    bench = Comparison(rules=str(tmp_path / "rules"))
    bench.send(ONE, channel="primary")
    bench.turn(0.0)
    assert bench.out.frames == [ONE]
    bench.loop.close()


def test_the_framing_of_the_socket_frames_came_by_does_not_leave_with_them() -> None:
    bench = Comparison()
    made = batch(ONE)
    made.headroom = 4
    bench.comparing.inlets()["primary"](made, 0.0)
    bench.send(ONE, channel="secondary")
    bench.turn(0.0)
    assert bench.out.frames == [ONE]
    bench.loop.close()


def test_who_serves_the_notify_socket_is_asked_and_says_when_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    bench = Comparison(notify_dev=f"unix:{path},server")
    completed: list[float] = []
    bench.comparing.completed = lambda: completed.append(bench.clock.now())
    bench.element.open()
    peer = connect(str(path))
    peer.settimeout(PATIENCE)
    bench.loop.turn(time.monotonic() + PATIENCE)
    bench.send(ONE, channel="primary")
    bench.send(OTHER, channel="secondary")
    bench.turn(0.0)
    assert peer.recv(100) == framed(b"DO_CHECKPOINT")
    peer.sendall(framed(b"COLO_CHECKPOINT"))
    bench.loop.turn(time.monotonic() + PATIENCE)
    assert completed == [0.0]
    peer.close()
    bench.element.close()
    assert not path.exists()
    bench.loop.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rules": "/none"}, "element compare: rules file /none: No such file or directory; name a readable file."),
        ({"notify_dev": "x"}, "element compare: address 'x': write unix:PATH or tcp:HOST:PORT"),
        ({"notify_dev": "unix:/n", "on_divergence": "alarm"},
         "element compare: on_divergence = 'alarm' is for use without notify_dev, which brings checkpoints; drop one."),
    ],
)  # fmt: skip
def test_what_it_cannot_be_is_said_with_its_name(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ColoproxyError) as caught:
        Comparison(**settings)
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(".")


def test_where_it_cannot_write_or_listen_is_said_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for settings in ({"evidence": str(tmp_path / "file")}, {"notify_dev": f"unix:{tmp_path}/none/n,server"}):
        bench = Comparison(**settings)
        with pytest.raises(ColoproxyError, match=r"^element compare: .*\.$"):
            bench.element.open()
        bench.element.close()
        bench.loop.close()


def test_cutting_connections_needs_a_wire_to_the_replicas() -> None:
    bench = Comparison(on_divergence="cut")
    bench.element.wired()
    del bench.element.outs["replicas"]
    with pytest.raises(ColoproxyError) as caught:
        bench.element.wired()
    assert str(caught.value) == (
        "element compare: to cut connections it must reach the replicas: wire 'compare.replicas' to where the client's"
        " frames go."
    )
    bench.loop.close()


def test_a_connection_that_is_cut_is_reset_on_all_sides() -> None:
    bench = Comparison(on_divergence="cut")
    bench.send(ONE, channel="primary")
    bench.send(OTHER, channel="secondary")
    bench.turn(0.0)
    assert bench.out.frames != []
    assert bench.outs["replicas"].frames != []
    bench.loop.close()


# The rewriter

S_DATA = rewriting.replica(b"hello", seq=S_ISN + 1)


class Rewrites(Bench):
    def __init__(self, **settings: object) -> None:
        self.clock, self.events = StillClock(), list[Event]()
        chosen = config.Rewriter(**settings)  # type: ignore[arg-type]
        super().__init__(Rewriting("rewriter", chosen, self.clock, self.events.append))

    def seqs(self, channel: str) -> list[int]:
        return [rewriting.Play.taken_apart(frame, 0).seq for frame in self.outs[channel].take()]


def test_each_source_leaves_by_its_own_channel_in_the_numbers_of_its_receiver() -> None:
    bench = Rewrites()
    bench.send(CLIENT_SYN, channel="client")
    bench.send(P_SYN_ACK, channel="primary")
    bench.send(S_SYN_ACK, channel="secondary")
    bench.send(rewriting.client(b"get"), channel="client")
    bench.send(S_DATA, channel="secondary")
    assert bench.seqs("client") == [C_ISN, C_ISN + 1]
    assert bench.seqs("primary") == [P_ISN]
    assert bench.seqs("secondary")[-1] == P_ISN + 1
    assert bench.counters()["connections"] == 1


def test_what_waits_for_the_numbers_leaves_in_front_of_what_comes_when_they_are_known() -> None:
    bench = Rewrites()
    bench.send(CLIENT_SYN, channel="client")
    bench.send(P_SYN_ACK, channel="primary")
    bench.outs["client"].take()
    bench.send(rewriting.client(b"first"), channel="client")  # before the secondary has answered
    assert bench.outs["client"].take() == []
    assert bench.counters()["held"] == 1
    bench.send(S_SYN_ACK, channel="secondary")
    bench.send(rewriting.client(b"second", seq=C_ISN + 6), channel="client")
    came = [rewriting.Play.taken_apart(frame, 0) for frame in bench.outs["client"].frames]
    assert [(packet.seq, packet.ack) for packet in came] == [(C_ISN + 1, S_ISN + 1), (C_ISN + 6, S_ISN + 1)]


def test_a_batch_of_which_a_frame_is_kept_back_goes_on_without_its_framing() -> None:
    bench = Rewrites()
    bench.send(CLIENT_SYN, channel="client")
    bench.send(P_SYN_ACK, channel="primary")
    bench.outs["client"].take()
    heads: list[tuple[int, int]] = []

    class Heads:
        def batch(self, batch: object, now: float) -> None:
            heads.append((batch.headroom, batch.count))  # type: ignore[attr-defined]

    bench.element.outs["client"] = Heads()  # type: ignore[assignment]
    made = batch(frames.udp(b"x"), rewriting.client(b"waits"), frames.udp(b"y"))
    made.headroom = 4
    bench.element.inlets()["client"](made, 0.0)
    whole = batch(frames.udp(b"x"), frames.udp(b"y"))
    whole.headroom = 4
    bench.element.inlets()["client"](whole, 0.0)
    assert heads == [(0, 2), (4, 2)]


def test_a_frame_is_given_up_when_its_time_has_come_and_connections_that_are_pushed_out_are_told() -> None:
    bench = Rewrites(hold_timeout=100, max_connections=1)
    bench.send(CLIENT_SYN, channel="client")
    bench.send(P_SYN_ACK, channel="primary")
    bench.send(rewriting.client(b"first"), channel="client")
    due = bench.element.deadline()
    assert due == pytest.approx(0.1)
    bench.turn(0.1)
    assert bench.counters() | {"held": 0, "dropped": 1} == bench.counters()
    bench.send(rewriting.client(seq=1, ack=0, flags=SYN, sport=5, options=syn_options()), channel="client", now=0.2)
    bench.turn(0.2)
    assert [type(event).__name__ for event in bench.events] == ["ConnectionEvicted"]
    assert not any(isinstance(event, Warned) for event in bench.events)


def test_strip_takes_timestamps_out_of_syns_alone() -> None:
    bench = Bench(Strip("x"))
    syn = frames.tcp(seq=1, flags=SYN, options=syn_options(stamps=True))
    data = frames.tcp(b"x", options=frames.timestamp(1, 2))
    bench.send(syn, data)
    stripped, same = bench.out.frames
    assert same == data
    packet = rewriting.Play.taken_apart(stripped, 0)
    assert b"\x08\x0a" not in stripped[packet.l4 + 20 : packet.payload]
    assert len(stripped) == len(syn)
    assert bench.counters() == {"stripped": 1}


