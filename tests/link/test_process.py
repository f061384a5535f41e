"""A real `coloproxy compare` on real sockets: what goes in, what comes out, and what it says."""

import contextlib
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from coloproxy.compare.events import Summary
from coloproxy.link.framing import MAX_FRAME
from support import frames
from support.play import adds_up
from support.process import Running, run, socket_exists
from support.wire import Peer, framed, unframed

Start = Callable[..., Running]


def stream(count: int, size: int = 1000, first: int = 1, **fields: int) -> list[bytes]:
    """Segments of one connection, in order."""
    rng = random.Random(count)
    return [frames.tcp(rng.randbytes(size), seq=first + size * n, ack=1, **fields) for n in range(count)]


def test_only_what_both_say_leaves_and_in_the_order_of_the_primary(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(50)
    p.send(*segments)
    assert o.silent()
    s.send(*segments)
    assert o.frames(50) == segments
    summary = running.stop()
    assert summary["accounting"]["primary"]["released"]["frames"] == 50
    assert summary["accounting"]["secondary"]["dropped"]["frames"] == 50
    assert summary["outdev_bytes"] == sum(len(frame) + 4 for frame in segments)
    assert summary["unsent_bytes"] == 0


def test_streams_that_are_cut_anywhere_are_read_all_the_same(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(10, 100)
    for byte in b"".join(map(framed, segments)):
        p.raw(bytes([byte]))
    rng, rest = random.Random(1), b"".join(map(framed, segments))
    while rest:
        size = rng.randrange(1, 300)
        s.raw(rest[:size])
        rest = rest[size:]
    assert o.frames(10) == segments
    running.stop()


@pytest.mark.parametrize("vnet_len", [0, 10, 12, 20])
def test_with_vnet_hdr_the_second_word_and_the_header_leave_as_they_came(proxy: Start, vnet_len: int) -> None:
    running = proxy("--vnet-hdr")
    p, s, o = running.peers()
    segment = frames.tcp(b"hello" * 20, seq=1, ack=1, vnet=vnet_len)
    p.send(segment, vnet_len=vnet_len)
    s.send(segment, vnet_len=vnet_len)
    wire = framed(segment, vnet_len)
    data = b""
    while len(data) < len(wire):
        data += o.sock.recv(65536)
    assert data == wire
    running.stop()


def test_the_proxy_connects_as_soon_as_its_peers_listen(proxy: Start, tmp_path: Path) -> None:
    paths = {role: str(tmp_path / role) for role in ("primary_in", "secondary_in", "outdev")}
    running = proxy(addresses={role: f"unix:{path}" for role, path in paths.items()})
    time.sleep(0.3)
    listeners, peers = {}, {}
    for role, path in paths.items():
        listeners[role] = socket.socket(socket.AF_UNIX)
        listeners[role].bind(path)
        listeners[role].listen()
    for role, listener in listeners.items():
        peers[role] = Peer(listener.accept()[0])
    segments = stream(3)
    peers["primary_in"].send(*segments)
    peers["secondary_in"].send(*segments)
    assert peers["outdev"].frames(3) == segments
    for peer in peers.values():
        peer.close()
    for role, listener in listeners.items():  # each is looked for again
        Peer(listener.accept()[0]).close()
        running.wait("peer_connected", 2, role=role)
        listener.close()
    running.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_tcp_addresses_work_both_ways(proxy: Start, host: str) -> None:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with socket.create_server((host.strip("[]"), 0), family=family) as probe:
        port = probe.getsockname()[1]
    running = proxy(addresses={
        "primary_in": f"tcp:{host}:{listener.getsockname()[1]}", "secondary_in": f"tcp:{host}:{port},server"
    })  # fmt: skip
    p, o = Peer(listener.accept()[0]), running.peer("outdev")
    s = Peer(socket.create_connection((host.strip("[]"), port)))
    segments = stream(5)
    p.send(*segments)
    s.send(*segments)
    assert o.frames(5) == segments
    for peer in (p, s, o):
        peer.close()
    listener.close()
    running.stop()


# Lost peers

ROLES = ["primary_in", "secondary_in", "outdev"]


@pytest.mark.parametrize("role", ROLES)
def test_every_socket_reconnects_any_number_of_times(proxy: Start, role: str) -> None:
    running = proxy()
    peers = dict(zip(ROLES, running.peers()))
    segments = stream(40)
    for n in range(0, 40, 2):
        peers["primary_in"].send(*segments[n : n + 2])
        peers["secondary_in"].send(*segments[n : n + 2])
        assert peers["outdev"].frames(2) == segments[n : n + 2]
        peers[role].close()
        running.wait("peer_lost", n // 2 + 1, role=role)
        peers[role] = running.peer(role)
    assert running.count("peer_connected", role=role) == 21
    assert running.events("peer_connected", role=role)[-1]["connections"] == 21
    running.stop()


@pytest.mark.parametrize("role", ["primary_in", "secondary_in"])
@pytest.mark.parametrize("part", [1, 3, 4, 5, 1057])
def test_a_half_read_frame_is_forgotten_with_its_connection(proxy: Start, role: str, part: int) -> None:
    running = proxy()
    peers = dict(zip(ROLES, running.peers()))
    segments = stream(4)
    both = [peers["primary_in"], peers["secondary_in"]]
    for peer in both:
        peer.send(segments[0])
    assert peers["outdev"].frames(1) == segments[:1]
    peers[role].raw(framed(segments[1])[:part])
    peers[role].close()
    lost = running.wait("peer_lost", role=role)
    assert lost["forgotten_bytes"] == part
    peers[role] = running.peer(role)
    for peer in (peers["primary_in"], peers["secondary_in"]):
        peer.send(*segments[1:])
    assert peers["outdev"].frames(3) == segments[1:]
    running.stop()


def test_what_was_held_stays_held_while_a_replica_reconnects(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(6)
    p.send(*segments)
    s.send(*segments[:2])
    assert o.frames(2) == segments[:2]
    p.close()
    s.close()
    running.wait("peer_lost", role="secondary_in")
    running.wait("peer_lost", role="primary_in")
    running.peer("secondary_in").send(*segments[2:])
    assert o.frames(4) == segments[2:]
    running.stop()


def test_a_second_peer_waits_until_the_first_has_gone(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    second = Peer(socket.socket(socket.AF_UNIX))
    second.sock.connect(str(running.folder / "p"))
    segments = stream(2)
    second.send(segments[1])
    p.send(segments[0])
    s.send(*segments)
    assert o.frames(1) == segments[:1]
    assert o.silent()
    p.close()
    assert o.frames(1) == segments[1:]
    running.stop()


def test_the_next_reader_is_sent_whole_frames_and_all_of_them(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    o.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    segments = stream(3000)
    for at in range(0, 3000, 500):
        p.send(*segments[at : at + 500])
        s.send(*segments[at : at + 500])
    running.until(lambda: running.state()["accounting"]["primary"]["released"]["frames"] == 3000)
    received = b""
    while len(received) < 300_001:
        received += o.sock.recv(1 << 16)
    first, _ = unframed(received)
    assert segments[: len(first)] == first
    o.close()  # what lay unread in the socket is lost with it, as on any wire, but never half a frame
    o = running.peer("outdev")
    rest = o.frames(1)
    at = segments.index(rest[0])
    assert at >= len(first)
    assert o.frames(3000 - at - 1) == segments[at + 1 :]
    running.stop()


@pytest.mark.parametrize("role", ["primary_in", "secondary_in"])
@pytest.mark.parametrize("vnet_hdr", [False, True])
@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0xFFFFFFFF])
def test_a_length_that_no_frame_has_ends_that_connection_alone(
    proxy: Start, role: str, vnet_hdr: bool, length: int
) -> None:
    running = proxy(*(["--vnet-hdr"] if vnet_hdr else []))
    peers = dict(zip(ROLES, running.peers()))
    segments = stream(2)
    peers[role].send(segments[0]).raw(struct.pack(">II", length, 0))
    assert peers[role].ended()
    refused = running.wait("frame_refused")
    assert (refused["side"], refused["reason"], refused["length"]) == (role.partition("_")[0], "frame_length", length)
    running.wait("peer_lost", role=role)
    peers[role] = running.peer(role)
    peers[role].send(segments[1])
    other = "secondary_in" if role == "primary_in" else "primary_in"
    peers[other].send(*segments)
    assert peers["outdev"].frames(2) == segments
    summary = running.stop()
    assert summary["refused_lengths"] == {role: 1}
    assert summary["accounting"]["primary"]["received"]["frames"] == 2


def test_the_largest_and_the_smallest_frame_pass(proxy: Start) -> None:
    running = proxy()
    p, _, o = running.peers()
    smallest, largest = b"\xff", b"\xff" * 12 + b"\x88\xcc" + bytes(MAX_FRAME - 14)
    p.send(smallest, largest)
    assert o.frames(2) == [smallest, largest]
    running.stop()


# Slow readers

def pour(segments: list[bytes], *peers: Peer) -> list[threading.Thread]:
    """Send it all to each, as fast as it is taken."""
    data = b"".join(map(framed, segments))
    threads = []
    for peer in peers:
        peer.sock.settimeout(None)
        threads.append(threading.Thread(target=send_all, args=(peer, data), daemon=True))
        threads[-1].start()
    return threads


def send_all(peer: Peer, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the test has failed already then
        peer.sock.sendall(data)


def test_a_slow_reader_loses_nothing_and_memory_stays_bounded(proxy: Start) -> None:
    limits = ["--max-queue-size", "100000", "--max-held-bytes", str(8 << 20)]
    running = proxy(*limits, "--compare-timeout", "700", "--expired-scan-cycle", "50")
    p, s, o = running.peers()
    before = running.memory()
    segments = stream(100_000, 1400)  # 145 MB, from either side
    threads = pour(segments, p, s)
    time.sleep(1.5)  # longer than the compare-timeout, while nothing is read
    assert all(thread.is_alive() for thread in threads), "the senders were not stopped"
    assert running.memory() - before < 64 << 20
    for at in range(0, 100_000, 1000):
        assert o.frames(1000) == segments[at : at + 1000]
        if at % 20_000 == 0:
            time.sleep(0.8)
    for thread in threads:
        thread.join()
    assert running.memory() - before < 64 << 20
    summary = running.stop()
    assert summary["accounting"]["divergences"] == {}
    assert summary["accounting"]["primary"]["released"]["frames"] == 100_000
    assert running.count("checkpoint_requested") == 0


def test_without_a_reader_the_inputs_wait(proxy: Start) -> None:
    running = proxy("--max-queue-size", "100000")
    p, s = running.peer("primary_in"), running.peer("secondary_in")
    segments = stream(10_000, 1400)
    threads = pour(segments, p, s)
    time.sleep(0.5)
    assert any(thread.is_alive() for thread in threads)  # one side may be ahead, held within other limits
    o = running.peer("outdev")
    assert o.frames(10_000) == segments
    for thread in threads:
        thread.join()
    running.stop()


def test_a_few_held_frames_do_not_keep_the_buffers_of_all_that_passed(proxy: Start) -> None:
    running = proxy("--compare-timeout", "60000", "--max-queue-size", "100000")
    p, s, o = running.peers()
    before = running.memory()
    held = []
    for n in range(300):  # one frame that waits in each half megabyte that passes
        passing = stream(370, 1400, first=1 + 370 * 1400 * n)
        held.append(frames.udp(b"held %d" % n))
        p.send(held[-1], *passing)
        s.send(*passing)
        assert o.frames(370) == passing
    assert running.memory() - before < 110 << 20
    s.send(*held)
    assert o.frames(300) == held
    running.stop()


def test_a_side_that_is_far_ahead_is_not_read_until_the_other_follows(proxy: Start) -> None:
    running = proxy("--max-queue-size", "100", "--compare-timeout", "60000")
    p, s, o = running.peers()
    segments = stream(10_000)
    (thread,) = pour(segments, p)
    time.sleep(0.5)
    assert thread.is_alive()
    assert running.state()["accounting"]["primary"]["held"]["frames"] < 2000
    for at in range(0, 10_000, 500):
        s.send(*segments[at : at + 500])
        assert o.frames(500) == segments[at : at + 500]
    thread.join()
    assert running.stop()["accounting"]["divergences"] == {}


# Divergences without anyone to ask

def test_hold_keeps_what_differs_and_asks_again(proxy: Start) -> None:
    running = proxy("--retry-after", "100")
    p, s, o = running.peers()
    p.send(frames.tcp(b"this", seq=1, ack=1))
    s.send(frames.tcp(b"that", seq=1, ack=1))
    request = running.wait("checkpoint_requested")
    assert (request["reason"], request["seq"], request["attempt"]) == ("tcp_payload", 3, 1)
    assert running.wait("checkpoint_requested", 3)["attempt"] == 3
    assert o.silent()
    assert running.stop()["accounting"]["primary"]["held"]["frames"] == 1


def test_release_reports_what_differs_and_goes_on(proxy: Start) -> None:
    running = proxy("--on-divergence", "release")
    p, s, o = running.peers()
    first, second = frames.tcp(b"this", seq=1, ack=1), frames.tcp(b"same", seq=5, ack=1)
    p.send(first)
    s.send(frames.tcp(b"that", seq=1, ack=1))
    assert o.frames(1) == [first]
    assert running.wait("divergence")["reason"] == "tcp_payload"
    p.send(second)
    s.send(second)
    assert o.frames(1) == [second]
    running.stop()
    assert running.count("checkpoint_requested") == 0


# Signals

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_leaves_held_frames_unreleased_and_sums_up(proxy: Start, number: signal.Signals) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(5)
    p.send(*segments)
    s.send(*segments[:2])
    assert o.frames(2) == segments[:2]
    summary = running.stop(number)
    assert o.ended()
    checked = msgspec.convert(summary, Summary)
    assert adds_up(checked.accounting.primary)
    assert adds_up(checked.accounting.secondary)
    assert checked.accounting.primary.held.frames == 3
    assert checked.unsent_bytes == 0
    for role in ROLES:
        assert not socket_exists(running.folder, role)


def test_what_was_released_before_the_end_still_leaves(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(1000)
    p.send(*segments)
    s.send(*segments)
    running.until(lambda: running.state()["accounting"]["primary"]["released"]["frames"] == 1000)
    running.process.send_signal(signal.SIGTERM)
    assert o.frames(1000) == segments
    assert running.process.wait(30) == 0
    assert running.events()[-1]["unsent_bytes"] == 0


def test_a_reader_that_takes_nothing_does_not_delay_the_end_for_long(proxy: Start) -> None:
    running = proxy()
    p, s, o = running.peers()
    segments = stream(3000, 1400)
    for at in range(0, len(segments), 500):  # fewer than may be held
        p.send(*segments[at : at + 500])
        s.send(*segments[at : at + 500])
    running.until(lambda: running.state()["accounting"]["primary"]["released"]["frames"] == 3000)
    assert o.sock.fileno() >= 0
    summary = running.stop()
    assert summary["unsent_bytes"] > 0
    assert summary["unsent_bytes"] + summary["outdev_bytes"] == sum(len(frame) + 4 for frame in segments)


def test_sigusr1_writes_the_state(proxy: Start) -> None:
    running = proxy()
    p, _, _ = running.peers()
    p.send(*stream(3))
    running.until(running.account("primary", held=3))
    state = running.state()
    assert state["connection_count"] == 1
    (connection,) = state["connections"]
    assert connection["held_primary"]["frames"] == 3
    assert connection["held_primary"]["oldest_age"] >= 0
    assert connection["connection"]["source_port"] == 80
    running.stop()


# Sockets that are there already

def test_a_stale_socket_file_is_replaced(proxy: Start) -> None:
    first = proxy()
    first.peers()
    first.kill()
    assert socket_exists(first.folder, "primary_in")
    places = {role: f"unix:{first.folder}/{name},server" for role, name in zip(ROLES, "pso")}
    second = proxy(addresses=places)
    second.folder = first.folder
    p, s, o = (Peer(socket.socket(socket.AF_UNIX)) for _ in "pso")
    second.until(lambda: all(connects(peer, first.folder / name) for peer, name in ((p, "p"), (s, "s"), (o, "o"))))
    segments = stream(1)
    p.send(*segments)
    s.send(*segments)
    assert o.frames(1) == segments


def connects(peer: Peer, path: Path) -> bool:
    try:
        peer.sock.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True  # it is connected already
    return True


def test_a_live_socket_is_an_error_in_one_sentence(proxy: Start) -> None:
    running = proxy()
    running.peers()
    done = run(
        "compare", "--primary-in", f"unix:{running.folder}/p,server", "--secondary-in", "unix:/x", "--outdev", "unix:/y"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "another process listens there" in done.stderr
    running.stop()


def test_events_and_traces_of_the_sockets_are_written(proxy: Start, tmp_path: Path) -> None:
    running = proxy("--trace", "colo_link_*", "--trace-file", str(tmp_path / "trace"))
    p, s, o = running.peers()
    p.raw(b"\0\0\0\0")
    running.wait("peer_lost")
    running.stop()
    s.close()
    o.close()
    lines = (tmp_path / "trace").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [
        *["colo_link_peer_connected"] * 3, "colo_link_frame_refused", "colo_link_peer_lost",
    ]  # fmt: skip


def test_uncompiled_it_works_and_says_so(proxy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOPROXY_UNCOMPILED", "1")
    running = proxy()
    p, s, o = running.peers()
    segments = stream(20)
    p.send(*segments)
    s.send(*segments)
    assert o.frames(20) == segments
    assert "uncompiled" in running.wait("warning")["text"]
    running.stop()
    assert "uncompiled" in running.errors()
