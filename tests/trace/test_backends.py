"""The three forms of a trace, byte by byte, and what happens when the file takes no more."""

import importlib.util
import json
import os
import re
import sys
import threading
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.trace import TraceError, Tracer, load, parse
from coloproxy.trace.backends import Backend, JsonBackend, LogBackend, SimpleBackend
from coloproxy.trace.sink import LIMIT

_spec = importlib.util.spec_from_file_location("simple_reader", Path(__file__).with_name("simple_reader.py"))
assert _spec is not None
assert _spec.loader is not None
simple_reader = importlib.util.module_from_spec(_spec)
sys.modules["simple_reader"] = simple_reader
_spec.loader.exec_module(simple_reader)

TIME = 1516704000_668573_999
TEXTS = {spec.name: ["char" in argument.type.text for argument in spec.arguments] for spec in load()}

# The published forms of the original events: arguments, and what follows the name and a blank.
PUBLISHED = [
    ("vhost_user_event", ("chr-vu0", 1), "chr: chr-vu0 got event: 1"),
    ("colo_proxy_main", ("colo proxy connection hashtable full, clear it",),
     ": colo proxy connection hashtable full, clear it"),
    ("colo_compare_main", ("packet same and release packet",), ": packet same and release packet"),
    ("colo_compare_udp_miscompare", ("primary pkt size", 98), ": primary pkt size = 98"),
    ("colo_compare_icmp_miscompare", ("Secondary pkt size", 98), ": Secondary pkt size = 98"),
    ("colo_compare_ip_info", (66, "10.0.0.2", "10.0.0.9", 66, "10.0.0.2", "10.0.0.9"),
     "ppkt size = 66, ip_src = 10.0.0.2, ip_dst = 10.0.0.9, spkt size = 66, ip_src = 10.0.0.2, ip_dst = 10.0.0.9"),
    ("colo_old_packet_check_found", (1516704000650,), "1516704000650"),
    ("colo_compare_miscompare", (), ""),
    ("colo_filter_rewriter_debug", (), ""),
    ("colo_compare_tcp_info", ("pri", 101, 1, 54, 5, 0, 16),
     "pri: seq/ack= 101/1 hdlen= 54 pdlen= 5 offset= 0 flags=16\n"),
    ("colo_filter_rewriter_pkt_info", ("handle_primary_tcp_pkt", "10.0.0.9", "10.0.0.9", 1, 101, 16),
     "handle_primary_tcp_pkt: src/dst: 10.0.0.9/10.0.0.9 p: seq/ack=1/101  flags=0x10\n"),
    ("colo_filter_rewriter_conn_offset", (3735928559,), ": offset=3735928559\n"),
]


def use(tracer: Tracer, backend: Backend) -> None:
    tracer._backend = backend
    tracer.enable("*")


@pytest.mark.parametrize(("name", "arguments", "text"), PUBLISHED)
def test_the_original_events_are_logged_as_qemu_logs_them(
    real: Tracer, name: str, arguments: tuple[object, ...], text: str
) -> None:
    for timestamps, expected in [
        ("off", f"{name} {text.rstrip()}" if text else f"{name} "),
        ("pid", f"15197@1516704000.668573:{name} {text}"),
        ("tid", f"15197@1516704000.668573:{name} {text.removesuffix(chr(10))}"),
        ("iso", f"2018-01-23T10:40:00.668573Z {name} {text.removesuffix(chr(10))}"),
    ]:
        file = BytesIO()
        use(real, LogBackend(file, timestamps, clock=lambda: TIME, number=lambda: 15197))  # type: ignore[arg-type]
        real.events[name](*arguments)
        assert file.getvalue().decode() == expected + "\n"


def test_microseconds_have_six_digits(small: Tracer) -> None:
    file = BytesIO()
    use(small, LogBackend(file, "pid", clock=lambda: 7_000_042_999, number=lambda: 1))
    small.events["plain"]()
    assert file.getvalue() == b"1@7.000042:plain \n"


def test_the_number_in_front_is_the_processs_or_the_threads(small: Tracer) -> None:
    for timestamps, number in (("pid", os.getpid()), ("tid", None)):
        file = BytesIO()
        small.open_backend("log", file, timestamps)
        small.enable("plain")
        seen: list[int] = []

        def run(seen: list[int] = seen) -> None:
            seen.append(threading.get_native_id())
            small.events["plain"]()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert re.fullmatch(rb"%d@\d+\.\d{6}:plain \n" % (number or seen[0]), file.getvalue())


def test_events_go_to_standard_error_unless_told_otherwise(small: Tracer, capsys: pytest.CaptureFixture[str]) -> None:
    small.enable("*")
    small.events["one_text"]("here")
    assert capsys.readouterr() == ("", "one_text : here\n")


def test_the_binary_file_is_what_its_description_says(real: Tracer) -> None:
    file = BytesIO()
    use(real, SimpleBackend(file, real.events.values(), clock=lambda: 123_456_789_012, number=lambda: 77))
    for name, arguments, _ in PUBLISHED:
        real.events[name](*arguments)
    real.flush()
    records = simple_reader.read(file.getvalue(), TEXTS)
    assert [(r.name, r.time, r.pid) for r in records] == [(name, 123_456_789_012, 77) for name, _, _ in PUBLISHED]
    assert [tuple(v.decode() if isinstance(v, bytes) else v for v in r.arguments) for r in records] == [
        arguments for _, arguments, _ in PUBLISHED
    ]


def test_the_binary_file_names_every_event_before_any_record(real: Tracer, tmp_path: Path) -> None:
    real.open_backend("simple", tmp_path / "trace")
    real.close()
    data = (tmp_path / "trace").read_bytes()
    assert simple_reader.read(data, TEXTS) == []
    assert [data.count(b"%c\0\0\0%b" % (len(name), name.encode())) for name in real.events] == [1] * len(real.events)


def test_long_texts_are_cut_in_the_binary_file_only(small: Tracer) -> None:
    binary, log = BytesIO(), BytesIO()
    for backend in (SimpleBackend(binary, small.events.values()), LogBackend(log)):
        use(small, backend)
        small.events["one_text"]("x" * 2000)
        small.flush()
    (record,) = simple_reader.read(binary.getvalue(), {"one_text": [True]})
    assert record.arguments == [b"x" * 512]
    assert log.getvalue() == b"one_text : " + b"x" * 2000 + b"\n"


def test_negative_numbers_are_sign_extended_in_the_binary_file(real: Tracer) -> None:
    file = BytesIO()
    use(real, SimpleBackend(file, real.events.values()))
    real.events["colo_compare_udp_miscompare"]("primary pkt size", -1)
    real.flush()
    assert simple_reader.read(file.getvalue(), TEXTS)[0].arguments == [b"primary pkt size", 2**64 - 1]


LIST = 'a(const char *s, int64_t n) "%s %ld"\nb(void) ""\nc(uint8_t x, const char *s, bool f) "%d %s %d"\n'
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=700)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("a"), st.tuples(texts, st.integers(-(2**63), 2**63 - 1))),
        st.tuples(st.just("b"), st.just(())),
        st.tuples(st.just("c"), st.tuples(st.integers(0, 255), texts, st.booleans())),
    ),
    max_size=20,
)


@given(calls)
def test_what_is_traced_is_read_back_from_the_binary_file(made: list[tuple[str, tuple[str | int, ...]]]) -> None:
    tracer = Tracer(parse(LIST, "t"))
    file = BytesIO()
    use(tracer, SimpleBackend(file, tracer.events.values()))
    for name, arguments in made:
        tracer.events[name](*arguments)
    tracer.flush()
    records = simple_reader.read(file.getvalue(), {"a": [True, False], "b": [], "c": [False, True, False]})
    assert [(r.name, r.arguments) for r in records] == [
        (name, [v.encode()[:512] if isinstance(v, str) else v % 2**64 for v in arguments]) for name, arguments in made
    ]
    assert [r.time for r in records] == sorted(r.time for r in records)


@given(calls)
def test_what_is_traced_is_read_back_from_json(made: list[tuple[str, tuple[str | int, ...]]]) -> None:
    tracer = Tracer(parse(LIST, "t"))
    file = BytesIO()
    use(tracer, JsonBackend(file))
    for name, arguments in made:
        tracer.events[name](*arguments)
    lines = [json.loads(line) for line in file.getvalue().split(b"\n")[:-1]]
    assert [(line["event"], tuple(line["arguments"].values())) for line in lines] == made


def test_a_json_line_has_time_process_event_arguments_and_text(real: Tracer) -> None:
    file = BytesIO()
    use(real, JsonBackend(file, clock=lambda: TIME, number=lambda: 9))
    real.events["colo_filter_rewriter_conn_offset"](7)
    assert json.loads(file.getvalue()) == {
        "time_ns": TIME,
        "pid": 9,
        "event": "colo_filter_rewriter_conn_offset",
        "arguments": {"offset": 7},
        "text": ": offset=7",
    }


class Faulty(BytesIO):
    """A file that takes `room` bytes, then fails until it is given more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = super().write(data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 1, 23, 24, 60, 1000])
def test_records_are_kept_while_the_file_is_full_and_those_beyond_the_limit_counted(small: Tracer, room: int) -> None:
    file = Faulty(room)
    use(small, SimpleBackend(file, small.events.values()))
    written = LIMIT // 500 + 100
    for _ in range(written):
        small.events["one_text"]("x" * 500)
    file.room = 10**9
    small.events["plain"]()
    small.flush()
    records = simple_reader.read(file.getvalue(), {"plain": [], "one_text": [True]})
    *kept, dropped, last = records
    assert {r.name for r in kept} == {"one_text"}
    assert (dropped.name, last.name) == ("dropped", "plain")
    assert len(kept) + dropped.arguments[0] == written
    assert dropped.arguments[0] > 0


def test_dropped_records_are_counted_on_closing(small: Tracer, capsys: pytest.CaptureFixture[str]) -> None:
    file = Faulty(0)
    use(small, LogBackend(file))
    written = LIMIT // 500 + 10
    for _ in range(written):
        small.events["one_text"]("x" * 500)
    keep, file.close = BytesIO(), lambda: None  # type: ignore[method-assign]
    file.room = 10**9
    small.close()
    keep.write(file.getvalue())
    *kept, dropped = keep.getvalue().decode().splitlines()
    lost = int(re.fullmatch(r"dropped (\d+)", dropped)[1])  # type: ignore[index]
    assert len(kept) + lost == written
    assert capsys.readouterr().err == f"coloproxy: {lost} trace records could not be written\n"


def test_a_file_that_never_takes_anything_costs_the_trace_and_nothing_else(
    small: Tracer, capsys: pytest.CaptureFixture[str]
) -> None:
    small.open_backend("json", "/dev/full")
    small.enable("plain")
    for _ in range(3):
        small.events["plain"]()
    small.close()
    assert capsys.readouterr().err == "coloproxy: 3 trace records could not be written\n"


def test_a_closed_file_or_standard_error_does_not_fail_the_traced_code(
    small: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = BytesIO()
    small.open_backend("log", file)
    small.enable("plain")
    file.close()
    small.events["plain"]()
    closed = StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    small.close()
    small.events["plain"]()
    monkeypatch.setattr(sys, "stderr", None)
    small.events["plain"]()
    small.close()


@pytest.mark.parametrize(
    ("kind", "file", "timestamps", "reason"),
    [
        ("xml", None, "off", "unknown trace back end 'xml'; there are log, simple, json"),
        ("log", None, "utc", "unknown form of trace timestamps 'utc'; there are off, pid, tid, iso"),
        ("json", None, "pid", "timestamps are for the log back end"),
        ("simple", None, "off", "writes a binary file"),
        ("log", "/nowhere/at/all", "off", "cannot write the trace file '/nowhere/at/all': No such file"),
        ("log", "nul\0", "off", "cannot write the trace file"),
    ],
)
def test_a_back_end_that_cannot_be_is_refused_and_the_one_before_stays(
    small: Tracer, kind: str, file: str | None, timestamps: str, reason: str
) -> None:
    before = BytesIO()
    small.open_backend("log", before)
    small.enable("plain")
    with pytest.raises(TraceError, match=reason):
        small.open_backend(kind, file, timestamps)
    small.events["plain"]()
    assert before.getvalue() == b"plain \n"
