"""A real `coloproxy run` on real sockets and captures: what goes in, what comes out, and what it says."""

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coloproxy.capture import Capture, PcapngWriter, to_ethernet
from coloproxy.link.framing import MAX_FRAME
from coloproxy.link.port import FULL
from support import frames, rewriting
from support.flow import numbered
from support.topology import Topology
from support.wire import Peer, connect, framed

Start = Callable[..., Topology]


def sockets(*names: str, **more: str) -> str:
    """Ports that listen on sockets of their names."""
    return "".join(f'[port.{name}]\nsocket = "unix:DIR/{name},server"\n{more.get(name, "")}\n' for name in names)


def capture(path: Path, count: int, size: int = 200) -> list[bytes]:
    """A capture file, and its frames."""
    made = [frames.udp(frame) for frame in numbered(count, size)]
    with open(path, "wb") as file:
        writer = PcapngWriter(file)
        for frame in made:
            writer.write(frame, 0)
    return made


def dumped(path: Path) -> list[bytes | None]:
    with Capture(path) as found:
        return [to_ethernet(record) for record in found]


def test_a_forwarder_forwards_both_ways_and_accounts_for_it(topology: Start) -> None:
    running = topology('wires = ["a -> b", "b -> a"]\nname = "forward"\n' + sockets("a", "b")).running()
    assert running.events("running") == [running.events("running")[0] | {"name": "forward", "ports": ["a", "b"]}]
    a, b = running.peer("a"), running.peer("b")
    there, back = numbered(2000), numbered(500, seed=2)
    a.send(*there)
    b.send(*back)
    assert b.frames(2000) == there
    assert a.frames(500) == back
    summary = running.stop()
    assert summary["ports"] == {
        "a": {"received": {"frames": 2000, "bytes": 128000}, "sent": {"frames": 500, "bytes": 32000},
              "dropped": {"frames": 0, "bytes": 0}, "pending": 0},
        "b": {"received": {"frames": 500, "bytes": 32000}, "sent": {"frames": 2000, "bytes": 128000},
              "dropped": {"frames": 0, "bytes": 0}, "pending": 0},
    }  # fmt: skip
    assert summary["cpu_seconds"] > 0


ONE_HOST = """
wires = [
  "client -> strip -> mirror -> primary",
  "mirror.copy -> rewriter.client -> secondary",
  "primary -> rewriter.primary -> compare.primary",
  "secondary -> rewriter.secondary -> compare.secondary",
  "compare -> client",
]
control = "unix:DIR/control"
[element.strip]
type = "strip"
[element.mirror]
type = "mirror"
[element.rewriter]
type = "rewriter"
[element.compare]
type = "comparator"
"""


class OneHost:
    """The whole scheme with a test at each end, a connection open."""

    def __init__(self, running: Topology) -> None:
        self.running = running.running()
        self.c, self.p, self.s = (running.peer(name) for name in ("client", "primary", "secondary"))
        self.c.send(rewriting.CLIENT_SYN)
        assert self.p.frames(1) == self.s.frames(1) == [rewriting.CLIENT_SYN]
        self.p.send(rewriting.P_SYN_ACK)
        self.s.send(rewriting.S_SYN_ACK)
        assert self.c.frames(1) == [rewriting.P_SYN_ACK]
        self.c.send(rewriting.client())
        (ours,), (theirs,) = self.p.frames(1), self.s.frames(1)
        assert ours == rewriting.client()
        assert rewriting.Play.taken_apart(theirs, 0).ack == rewriting.S_ISN + 1

    def says(self, data: bytes, at: int = 0, secondary: bytes | None = None) -> bytes:
        """Both replicas send data at a place of the stream; the primary's frame."""
        frame = rewriting.replica(data, seq=rewriting.P_ISN + 1 + at)
        self.p.send(frame)
        self.s.send(rewriting.replica(data if secondary is None else secondary, seq=rewriting.S_ISN + 1 + at))
        return frame


def test_two_replicas_behind_one_address_are_one_server(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    frame = whole.says(b"hello")
    assert whole.c.frames(1) == [frame]
    summary = whole.running.stop()
    assert summary["elements"]["compare"] | {"verified_bytes": 5, "divergences": 0} == summary["elements"]["compare"]
    assert summary["elements"]["rewriter"]["connections"] == 1
    assert whole.running.count("summary") == 1


def test_a_divergence_waits_for_the_checkpoint_that_the_control_socket_is_told_of(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    control = whole.running.commands()
    frame = whole.says(b"hello", secondary=b"jello")
    assert whole.running.wait("divergence")["reason"] == "tcp_payload"
    assert whole.c.silent()
    assert control.ask("checkpoint failed") == {"ok": True}
    assert whole.c.silent()
    assert control.ask("checkpoint completed") == {"ok": True}
    assert whole.c.frames(1) == [frame]
    assert whole.running.wait("checkpoint_completed")["epoch"] == 1
    # The secondary is a copy of the primary now: it has the same numbers, and nothing is translated any more.
    whole.c.send(rewriting.client(b"more"))
    assert whole.p.frames(1) == whole.s.frames(1) == [rewriting.client(b"more")]
    assert control.ask("state")["elements"]["compare"]["divergences"] == 1
    control.close()
    whole.running.stop()


def test_after_the_primary_the_secondary_speaks_in_its_numbers(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    control = whole.running.commands()
    whole.p.close()
    whole.running.wait("peer_lost", role="primary")
    assert control.ask("failover secondary") == {"ok": True}
    assert whole.running.wait("failed_over")["survivor"] == "secondary"
    whole.s.send(rewriting.replica(b"alone", seq=rewriting.S_ISN + 1))
    (frame,) = whole.c.frames(1)
    assert rewriting.Play.taken_apart(frame, 0).seq == rewriting.P_ISN + 1
    control.close()
    whole.running.stop()


def test_after_the_secondary_the_primary_speaks_alone(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    control = whole.running.commands()
    held = rewriting.replica(b"held", seq=rewriting.P_ISN + 1)
    whole.p.send(held)
    assert whole.c.silent()
    assert control.ask("failover primary") == {"ok": True}
    free = rewriting.replica(b"free", seq=rewriting.P_ISN + 5)
    whole.p.send(free)
    assert whole.c.frames(2) == [held, free]
    control.close()
    whole.running.stop()


def test_the_notify_socket_is_asked_and_what_it_says_concerns_the_rewriter_too(topology: Start) -> None:
    text = ONE_HOST + 'notify_dev = "unix:DIR/notify,server"\n' + sockets("client", "primary", "secondary")
    whole = OneHost(topology(text))
    notify = connect(str(whole.running.folder / "notify"))
    notify.settimeout(30)
    whole.running.wait("peer_connected", role="notify_dev")
    frame = whole.says(b"hello", secondary=b"jello")
    assert notify.recv(100) == framed(b"DO_CHECKPOINT")
    notify.sendall(framed(b"COLO_CHECKPOINT"))
    assert whole.c.frames(1) == [frame]
    whole.c.send(rewriting.client(b"more"))
    assert whole.p.frames(1) == whole.s.frames(1) == [rewriting.client(b"more")]
    notify.close()
    whole.running.stop()


def test_a_switch_leads_the_other_way_after_a_failover(topology: Start) -> None:
    wires = 'wires = ["a -> switch -> b", "switch.after -> c"]\n[element.switch]\ntype = "switch"\n'
    running = topology('control = "unix:DIR/control"\n' + wires + sockets("a", "b", "c")).running()
    a, b, c = (running.peer(name) for name in "abc")
    one, two, three = numbered(3)
    control = running.commands()
    a.send(one)
    assert b.frames(1) == [one]
    control.ask("failover primary")
    a.send(two)
    assert b.frames(1) == [two]
    assert control.ask("checkpoint completed") == {"ok": True}
    control.ask("failover secondary")
    a.send(three)
    assert c.frames(1) == [three]
    control.close()
    running.stop()


@pytest.mark.parametrize(("first", "second"), [("primary", "secondary"), ("secondary", "primary")])
def test_a_replica_that_is_gone_cannot_go_on_until_a_checkpoint_made_another(
    topology: Start, first: str, second: str
) -> None:
    running = topology(ONE_HOST + sockets("client", "primary", "secondary")).running()
    control = running.commands()
    assert control.ask(f"failover {first}") == {"ok": True}
    assert control.ask(f"failover {second}") == {
        "ok": False,
        "error": f"the {first} goes on alone: a checkpoint must complete before the {second} can.",
    }
    assert control.ask("checkpoint failed") == {"ok": True}
    assert control.ask(f"failover {second}")["ok"] is False
    assert control.ask(f"failover {first}") == {"ok": True}
    assert control.ask("checkpoint completed") == {"ok": True}
    assert control.ask(f"failover {second}") == {"ok": True}
    control.close()
    running.stop()
    assert [event["survivor"] for event in running.events("failed_over")] == [first, first, second]


# Framing, headers, redirectors


def test_headers_are_made_as_long_as_the_peer_takes_them_for(topology: Start) -> None:
    text = 'wires = ["a -> mirror -> b", "mirror.copy -> c"]\n[element.mirror]\ntype = "mirror"\n'
    running = topology(text + sockets("a", "b", "c", a="vnet_hdr = true", b="vnet_hdr = true", c="vnet_hdr = 12"))
    running.running()
    a, b, c = (running.peer(name, vnet_hdr=True) for name in "abc")
    for length in (0, 10, 12, 20):
        frame = frames.tcp(b"x" * 3000, vnet=length, gso=1460)
        a.send(frame, vnet_len=length)
        assert b.frames(1) == [frame]
        (fitted,) = c.frames(1)
        assert fitted[12:] == frame[length:]
        assert fitted[:12] == frame[: min(length, 10)].ljust(12, b"\0")
    running.stop()


@pytest.mark.parametrize("size", [1, MAX_FRAME])
def test_the_shortest_and_the_longest_frames_pass(topology: Start, size: int) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b")).running()
    a, b = running.peer("a"), running.peer("b")
    frame = random.Random(size).randbytes(size)
    a.send(frame)
    assert b.frames(1) == [frame]
    running.stop()


def test_a_frame_that_is_too_long_with_its_header_is_dropped_and_counted(topology: Start) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b", b="vnet_hdr = 12")).running()
    a, b = running.peer("a"), running.peer("b", vnet_hdr=True)
    a.send(bytes(MAX_FRAME), b"x" * 60)
    assert b.frames(1) == [bytes(12) + b"x" * 60]
    assert running.stop()["ports"]["b"]["dropped"] == {"frames": 1, "bytes": MAX_FRAME + 12}


def test_redirectors_in_place_of_wires(topology: Start) -> None:
    text = """
        wires = ["a -> red -> b"]
        [element.red]
        type = "redirector"
        indev = "unix:DIR/red.indev,server"
        outdev = "unix:DIR/red.outdev,server"
    """
    running = topology(text + sockets("a", "b")).running()
    a, b = running.peer("a"), running.peer("b")
    indev, outdev = running.peer("red.indev"), running.peer("red.outdev")
    one, two = numbered(2)
    a.send(one)
    assert outdev.frames(1) == [one]
    indev.send(two)
    assert b.frames(1) == [two]
    summary = running.stop()
    assert summary["ports"]["red.indev"]["received"]["frames"] == 1
    assert summary["ports"]["red.outdev"]["sent"]["frames"] == 1


def test_a_port_that_leads_nowhere_is_read_and_its_frames_are_counted_as_dropped(topology: Start) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b")).running()
    b = running.peer("b")
    b.send(*numbered(10))
    running.until(lambda: running.state()["ports"]["b"]["dropped"] == {"frames": 10, "bytes": 640})
    running.stop()


# Peers that are late, slow or gone


def test_a_port_connects_as_soon_as_its_peer_listens(topology: Start) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a") + '[port.b]\nsocket = "unix:DIR/late"\n').running()
    a = running.peer("a")
    sent = numbered(20)
    a.send(*sent)
    time.sleep(0.3)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(running.folder / "late"))
        listener.listen()
        b = Peer(listener.accept()[0])
    assert b.frames(20) == sent
    b.close()
    running.stop()


def test_without_a_peer_frames_wait_until_reading_stops_and_none_is_lost(topology: Start) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b")).running()
    sent = numbered(3 * FULL // 60000, 60000)
    with sending(running.peer("a"), sent) as sender:
        running.until(lambda: running.state()["ports"]["b"]["pending"] >= FULL)
        time.sleep(0.3)
        assert running.state()["ports"]["b"]["pending"] < 2 * FULL
        assert sender.is_alive()
        assert running.peer("b").frames(len(sent)) == sent
    running.stop()


def test_without_a_peer_frames_are_dropped_and_counted_if_the_file_says_so(topology: Start) -> None:
    text = 'wires = ["a -> mirror -> b", "mirror.copy -> c"]\n[element.mirror]\ntype = "mirror"\n'
    running = topology(text + sockets("a", "b", "c", c='untaken = "drop"')).running()
    a, b = running.peer("a"), running.peer("b")
    sent = numbered(200, 60000)
    with sending(a, sent[:150]):  # more than may wait
        assert b.frames(150) == sent[:150]
    assert running.state()["ports"]["c"]["dropped"] == {"frames": 150, "bytes": 150 * 60000}
    c = running.peer("c")
    a.send(sent[150])
    assert c.frames(1) == b.frames(1) == [sent[150]]
    with sending(a, sent[151:]):  # c does not read these, and goes
        assert b.frames(49) == sent[151:]
    c.close()
    running.wait("peer_lost", role="c")
    account = running.stop()["ports"]["c"]
    assert account["pending"] == 0
    assert account["sent"]["frames"] + account["dropped"]["frames"] == 200
    assert account["dropped"]["frames"] > 150


@contextmanager
def sending(peer: Peer, sent: list[bytes]) -> Iterator[threading.Thread]:
    """Send while something else is done."""
    sender = threading.Thread(target=peer.send, args=sent)
    sender.start()
    yield sender
    sender.join()


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1])
def test_a_length_that_no_frame_has_ends_that_connection_alone(topology: Start, length: int) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b")).running()
    a, b = running.peer("a"), running.peer("b")
    frame = numbered(1)[0]
    a.raw(framed(frame) + length.to_bytes(4, "big"))
    assert b.frames(1) == [frame]
    assert a.ended()
    assert running.wait("frame_refused")["length"] == length
    a = running.peer("a")
    a.send(frame)
    assert b.frames(1) == [frame]
    running.stop()


def test_garbage_for_a_header_length_reaches_no_one_who_could_fall_over_it(topology: Start, tmp_path: Path) -> None:
    text = f"""
        wires = ["a -> loss -> tee -> mirror -> b", "mirror.copy -> rewriter.client -> c",
                 "c -> rewriter.secondary -> compare.secondary", "b -> compare.primary", "compare -> a"]
        [element.loss]
        type = "impair"
        rate = "10G"
        [element.tee]
        type = "dump"
        file = "{tmp_path}/tee.pcapng"
        [element.mirror]
        type = "mirror"
        [element.rewriter]
        type = "rewriter"
        [element.compare]
        type = "comparator"
    """
    text += sockets("a", "b", "c", a="vnet_hdr = true", b="vnet_hdr = true", c="vnet_hdr = 12")
    running = topology(text).running()
    peers = [running.peer(name, vnet_hdr=True) for name in "abc"]
    rng = random.Random(1)
    for _ in range(300):
        frame = rng.choice([frames.tcp(b"x"), frames.udp(b"y"), rng.randbytes(rng.randrange(1, 100))])
        for peer in peers:
            peer.send(frame, vnet_len=rng.choice((0, 1, 9, 10, 11, 21, len(frame), len(frame) + 1, 2**31, 2**32 - 1)))
    last = frames.udp(b"the last", vnet=10)
    peers[0].send(last, vnet_len=10)
    while peers[1].frames(1) != [last]:
        pass
    running.stop()


# Captures


def test_a_capture_is_played_through_elements_and_then_all_is_over(topology: Start, tmp_path: Path) -> None:
    sent = capture(tmp_path / "in.pcapng", 1000)
    text = f"""
        wires = ["file -> loss -> hold -> tee"]
        [port.file]
        capture = "{tmp_path}/in.pcapng"
        [element.loss]
        type = "impair"
        loss = 0.1
        delay = 5
        [element.hold]
        type = "buffer"
        interval = 2000
        [element.tee]
        type = "dump"
        file = "{tmp_path}/out.pcapng"
    """
    summary = topology(text).ended()
    out = dumped(tmp_path / "out.pcapng")
    assert len(out) + summary["elements"]["loss"]["lost"] == 1000
    assert 50 < summary["elements"]["loss"]["lost"] < 200
    rest = iter(sent)
    assert all(frame in rest for frame in out)  # what is left is in order
    assert summary["ports"]["file"]["received"]["frames"] == 1000


def test_what_comes_back_to_a_capture_is_dropped_and_counted(topology: Start, tmp_path: Path) -> None:
    sent = capture(tmp_path / "in.pcapng", 10)
    summary = topology(f'wires = ["file -> file"]\n[port.file]\ncapture = "{tmp_path}/in.pcapng"\n').ended()
    assert summary["ports"]["file"]["received"]["frames"] == summary["ports"]["file"]["dropped"]["frames"] == len(sent)


def test_a_capture_waits_for_whoever_takes_its_frames(topology: Start, tmp_path: Path) -> None:
    sent = capture(tmp_path / "in.pcapng", 20000, 1000)
    text = f'wires = ["file -> a"]\n[port.file]\ncapture = "{tmp_path}/in.pcapng"\n' + sockets("a")
    running = topology(text).running()
    running.until(lambda: running.state()["ports"]["a"]["pending"] >= FULL)
    a = running.peer("a")
    assert a.frames(20000) == sent
    running.ended()


def test_a_broken_capture_is_played_as_far_as_it_goes_and_that_is_said(topology: Start, tmp_path: Path) -> None:
    sent = capture(tmp_path / "in.pcapng", 10)
    (tmp_path / "cut.pcapng").write_bytes((tmp_path / "in.pcapng").read_bytes()[:-100])
    text = f"""
        wires = ["file -> tee"]
        [port.file]
        capture = "{tmp_path}/cut.pcapng"
        [element.tee]
        type = "dump"
        file = "{tmp_path}/out.pcapng"
    """
    running = topology(text)
    running.ended()
    assert dumped(tmp_path / "out.pcapng") == sent[:9]
    (warning,) = running.events("warning")
    assert warning["text"].startswith("port file: ")


def test_frames_that_are_none_or_too_long_are_dropped_and_counted(topology: Start, tmp_path: Path) -> None:
    with open(tmp_path / "in.pcapng", "wb") as file:
        writer = PcapngWriter(file)
        writer.write(bytes(MAX_FRAME + 1), 0)
        writer.write(b"bluetooth", 0, linktype=201)
        writer.write(numbered(1)[0], 0)
    text = f'wires = ["file -> a"]\n[port.file]\ncapture = "{tmp_path}/in.pcapng"\n'
    running = topology(text + sockets("a")).running()
    assert running.peer("a").frames(1) == numbered(1)
    assert running.ended()["ports"]["file"]["dropped"]["frames"] == 2


def test_two_captures_are_compared(topology: Start, tmp_path: Path) -> None:
    rng = random.Random(1)
    stream = rng.randbytes(100000)
    for name, isn, size in (("p", 1, 1000), ("s", 777, 1300)):
        with open(tmp_path / f"{name}.pcapng", "wb") as file:
            writer = PcapngWriter(file)
            writer.write(frames.tcp(seq=isn - 1, ack=1, flags=0x12, options=frames.syn_options()), 0)
            for at in range(0, len(stream), size):
                writer.write(frames.tcp(stream[at : at + size], seq=isn + at, ack=1), 0)
    text = f"""
        wires = ["p -> compare.primary", "s -> compare.secondary", "compare -> tee"]
        [port.p]
        capture = "{tmp_path}/p.pcapng"
        [port.s]
        capture = "{tmp_path}/s.pcapng"
        [element.compare]
        type = "comparator"
        isn = "relative"
        [element.tee]
        type = "dump"
        file = "{tmp_path}/out.pcapng"
    """
    compare = topology(text).ended()["elements"]["compare"]
    assert compare | {"verified_bytes": 100000, "divergences": 0} == compare
    assert dumped(tmp_path / "out.pcapng") == dumped(tmp_path / "p.pcapng")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_summary_and_its_sockets_are_gone(topology: Start, number: signal.Signals) -> None:
    running = topology('wires = ["a -> b"]\ncontrol = "unix:DIR/control"\n' + sockets("a", "b")).running()
    assert {"a", "b", "control"} <= {path.name for path in running.folder.iterdir()}
    running.stop(number)
    assert not {"a", "b", "control"} & {path.name for path in running.folder.iterdir()}


def test_what_was_released_still_leaves_at_the_end(topology: Start) -> None:
    running = topology('wires = ["a -> b"]\n' + sockets("a", "b")).running()
    a, b = running.peer("a"), running.peer("b")
    sent = numbered(40, 60000)
    a.send(*sent)
    running.until(lambda: running.state()["ports"]["a"]["received"]["frames"] == 40)
    running.process.send_signal(signal.SIGTERM)
    assert b.frames(40) == sent
    assert running.ended()["ports"]["b"]["pending"] == 0


def test_sigusr1_tells_the_state(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    state = whole.running.state()
    assert state["ports"]["client"]["received"]["frames"] == 2
    assert state["elements"]["mirror"] == {}
    (connection,) = whole.running.wait("state")["connections"]
    assert connection["connection"]["protocol"] == "tcp"
    whole.running.stop()


def test_many_commands_in_a_row_do_not_pile_up(topology: Start) -> None:
    whole = OneHost(topology(ONE_HOST + sockets("client", "primary", "secondary")))
    control = whole.running.commands()
    control.sock.sendall(b"checkpoint completed\n" * 3000)
    assert all(control.answer() == {"ok": True} for _ in range(3000))
    frame = rewriting.replica(b"hello", seq=rewriting.P_ISN + 1)
    for peer in (whole.p, whole.s):
        peer.send(frame)
    assert whole.c.frames(1) == [frame]
    control.close()
    whole.running.stop()


