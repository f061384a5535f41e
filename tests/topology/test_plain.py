"""Mirror, switch, buffer and dump: what comes out is what went in."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.capture import Capture, to_ethernet
from coloproxy.compare.events import Event, Warned
from coloproxy.errors import ColoproxyError
from coloproxy.topology import config
from coloproxy.topology.plain import Buffer, Dump, Mirror, Switch
from support import frames
from support.flow import Bench, batch, numbered


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("vnet", [0, 10])
def test_a_mirror_sends_the_same_both_ways(apart: bool, vnet: int) -> None:
    mirror = Mirror("x")
    mirror.apart = apart
    bench = Bench(mirror)
    sent = numbered(5)
    bench.send(*sent, vnet=vnet)
    for out in bench.outs.values():
        assert (out.frames, out.vnet_lens) == (sent, [vnet] * 5)


def test_what_one_branch_alters_the_other_does_not_see_if_they_are_apart() -> None:
    mirror = Mirror("x")
    mirror.apart = True
    bench = Bench(mirror)

    class Spoils:
        def batch(self, batch: object, now: float) -> None:
            batch.buf[:] = bytes(len(batch.buf))  # type: ignore[attr-defined]

        def outputs(self, outputs: object, now: float) -> None:
            raise AssertionError("a mirror sends batches")

    mirror.outs["out"] = Spoils()
    bench.send(*numbered(3))
    assert bench.outs["copy"].frames == numbered(3)


def test_an_empty_batch_may_be_mirrored() -> None:
    mirror = Mirror("x")
    mirror.apart = True
    bench = Bench(mirror)
    bench.send()
    assert bench.outs["copy"].frames == []


def test_a_switch_changes_its_way_once() -> None:
    switch = Switch("x")
    bench = Bench(switch)
    one, two, three = numbered(3)
    bench.send(one)
    switch.turn()
    bench.send(two)
    switch.turn()
    bench.send(three)
    assert bench.out.frames == [one]
    assert bench.outs["after"].frames == [two, three]
    assert bench.counters() == {"dropped": 0}


def test_a_switch_counts_what_it_has_no_way_for() -> None:
    switch = Switch("x")
    bench = Bench(switch)
    del switch.outs["out"]
    bench.send(*numbered(3))
    switch.turn()
    bench.send(*numbered(2))
    assert bench.outs["after"].frames == numbered(2)
    assert bench.counters() == {"dropped": 3}


# The buffer

INTERVAL = 0.001


def buffer(**settings: int) -> Bench:
    return Bench(Buffer("x", config.Buffer(**{"interval": 1000, **settings}), lambda: 0.0))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 0.003)), max_size=20))
def test_a_buffer_keeps_the_order_and_lets_go_at_multiples_of_its_interval(arrivals: list[tuple[int, float]]) -> None:
    bench, sent = buffer(), iter(numbered(sum(count for count, _ in arrivals)))
    now, came = 0.0, []
    for count, pause in arrivals:
        for frame in [next(sent) for _ in range(count)]:
            came.append((frame, now))
            bench.send(frame, now=now)
        now += pause
        play(bench, now)
    play(bench, now + 2 * INTERVAL)
    assert bench.out.frames == [frame for frame, _ in came]
    assert bench.element.idle
    for (_, arrived), left in zip(came, bench.out.times, strict=True):
        assert 0 <= left - arrived <= INTERVAL + 1e-9
        assert left / INTERVAL == pytest.approx(round(left / INTERVAL))


def play(bench: Bench, until: float) -> None:
    """Do what is due, when it is."""
    while (due := bench.element.deadline()) is not None and due <= until:
        bench.turn(due)


def test_a_buffer_lets_all_go_at_once_when_its_time_has_come_and_not_before() -> None:
    bench = buffer()
    bench.send(*numbered(2), now=0.5003)  # long after it was made: the next multiple counts
    bench.turn(0.5004)
    assert bench.out.frames == []
    assert not bench.element.idle
    due = bench.element.deadline()
    assert due == pytest.approx(0.501)
    bench.send(numbered(3)[2], now=0.5009)
    assert due is not None
    bench.turn(due)
    assert bench.out.frames == numbered(3)
    assert bench.element.deadline() is None


def test_a_buffer_holds_no_more_than_it_may() -> None:
    bench = buffer(limit=3)
    bench.send(*numbered(5), now=0.0001)
    assert bench.counters() == {"held": 3, "overflowed": 2}
    bench.turn(1.0)
    assert bench.out.frames == numbered(5)[:3]
    assert bench.counters() == {"held": 0, "overflowed": 2}


# The dump


def dump(path: Path, **settings: int) -> tuple[Bench, list[Event]]:
    said: list[Event] = []
    element = Dump("tee", config.Dump(file=str(path), **settings), said.append)
    element.open()
    return Bench(element), said


def test_a_dump_can_be_read_at_any_time_and_passes_everything_on(tmp_path: Path) -> None:
    bench, said = dump(tmp_path / "x.pcapng")
    sent = [frames.tcp(b"hello" * n, seq=n) for n in range(1, 20)]
    bench.send(*sent[:10])
    bench.turn(0.0)
    with Capture(tmp_path / "x.pcapng") as capture:
        assert [to_ethernet(record) for record in capture] == sent[:10]
    bench.send(*[bytes(10) + frame for frame in sent[10:]], vnet=10)
    bench.element.close()
    with Capture(tmp_path / "x.pcapng") as capture:
        assert [to_ethernet(record) for record in capture] == sent
        assert capture.problem is None
    assert bench.out.frames[:10] == sent[:10]
    assert bench.out.frames[10:] == [bytes(10) + frame for frame in sent[10:]]
    assert bench.counters() == {"written": 19, "lost": 0}
    assert said == []


@pytest.mark.witness
def test_tshark_reads_a_dump(tmp_path: Path, tshark: str) -> None:
    bench, _ = dump(tmp_path / "x.pcapng", maxlen=60)
    bench.send(frames.tcp(b"x" * 500, seq=7), frames.udp(b"y"))
    bench.element.close()
    command = [tshark, "-n", "-r", str(tmp_path / "x.pcapng"), "-T", "fields", "-e", "frame.len", "-e", "frame.cap_len"]
    shown = subprocess.run([*command, "-e", "ip.proto"], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["554\t60\t6", "43\t43\t17"]


def test_a_frame_shorter_than_its_header_says_is_dumped_as_nothing(tmp_path: Path) -> None:
    bench, _ = dump(tmp_path / "x.pcapng")
    bench.send(b"short", vnet=4000000000)
    bench.element.close()
    with Capture(tmp_path / "x.pcapng") as capture:
        assert [record.data for record in capture] == [b""]


def test_a_dump_at_the_end_of_a_wire_needs_no_output(tmp_path: Path) -> None:
    bench, _ = dump(tmp_path / "x.pcapng")
    del bench.element.outs["out"]
    bench.send(*numbered(3))
    assert bench.counters()["written"] == 3
    bench.element.close()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x"
    with pytest.raises(ColoproxyError) as caught:
        dump(path)
    assert str(caught.value) == f"element tee: file {path}: No such file or directory; name one that can be written."


def test_with_a_full_disk_what_passes_goes_on_passing_and_that_is_said_once() -> None:
    bench, said = dump(Path("/dev/full"))
    for n in range(3):
        bench.send(*numbered(2))
        bench.turn(float(n))
    assert bench.out.frames == numbered(2) * 3
    text = "element tee: file /dev/full: No space left on device; no more is written"
    assert said == [Warned(time=0.0, text=text)]
    assert bench.counters() == {"written": 2, "lost": 4}
    bench.element.close()


def test_batches_of_tests_are_as_those_of_ports() -> None:
    made = batch(*numbered(2), vnet=10)
    assert list(made.index) == [1, 65, 10, 66, 130, 10]
