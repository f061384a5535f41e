"""Events as the traced code sees them, and the patterns that switch them."""

import fnmatch
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import coloproxy.trace
from coloproxy.trace import (
    Event,
    TraceError,
    Tracer,
    TraceSyntaxError,
    UnknownEventError,
    UntraceableEventError,
    events,
    load,
    parse,
    stubs,
)
from coloproxy.trace.tracer import matcher


def on(tracer: Tracer) -> set[str]:
    return {event.name for event in tracer.events.values() if event.enabled}


def test_every_event_of_the_list_is_an_attribute_of_the_module_and_off() -> None:
    for spec in load():
        event = getattr(events, spec.name)
        assert isinstance(event, Event)
        assert (event.name, event.arguments, event.enabled) == (spec.name, spec.arguments, False)


def test_the_stub_for_type_checkers_is_that_of_the_list() -> None:
    assert stubs.PATH.read_text("utf-8") == stubs.stub(load())


def test_enabled_is_a_plain_slot_and_nothing_is_computed_for_an_event_that_is_off(small: Tracer) -> None:
    event = small.events["two"]
    assert type(vars(Event)["enabled"]).__name__ == "member_descriptor"
    assert event.enabled is False

    def fail(*_: object) -> None:
        raise AssertionError("an event that is off was recorded")

    event._emit = fail
    event(object(), "of the wrong types", "and too many")  # not even looked at
    event.enabled = True
    with pytest.raises(AssertionError):
        event("who", 1)


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (("who",), TypeError, "takes 2 arguments, not 1"),
        (("who", 1, 2), TypeError, "takes 2 arguments, not 3"),
        ((1, 1), TypeError, "'const char \\*who' must be a str, not int"),
        ((b"who", 1), TypeError, "'const char \\*who' must be a str, not bytes"),
        (("who", "1"), TypeError, "'uint32_t n' must be an int, not str"),
        (("who", 1.0), TypeError, "'uint32_t n' must be an int, not float"),
        (("who", -1), ValueError, "'uint32_t n' must be 0 to 4294967295, not -1"),
        (("who", 2**32), ValueError, "'uint32_t n' must be 0 to 4294967295"),
        (("w\0", 1), ValueError, "NUL"),
    ],
)
def test_arguments_are_checked(
    small: Tracer, arguments: tuple[object, ...], error: type[Exception], reason: str
) -> None:
    file = BytesIO()
    small.open_backend("log", file)
    small.enable("two")
    with pytest.raises(error, match=f"trace event two.*{reason}"):
        small.events["two"](*arguments)
    assert file.getvalue() == b""


def test_there_are_no_keyword_arguments(small: Tracer) -> None:
    small.enable("two")
    with pytest.raises(TypeError, match="keyword"):
        small.events["two"](who="w", n=1)


def test_a_format_that_does_not_fit_its_arguments_is_told_with_its_line() -> None:
    with pytest.raises(TraceSyntaxError, match="t:2: event 'b': there is no argument for %u"):
        Tracer(parse('a(int x) "%d"\nb(int x) "%d %u"\n', "t"))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["two"], {"two"}),
        (["*"], {"plain", "one_text", "two", "old_style"}),
        (["*o*"], {"one_text", "two", "old_style"}),
        (["t?o"], {"two"}),
        (["*", "-o*"], {"plain", "two"}),
        (["-o*", "*"], {"plain", "one_text", "two", "old_style"}),
        (["two", "-two"], set()),
        (["*", "-*", "plain"], {"plain"}),
    ],
)
def test_patterns_switch_what_they_match_in_order(small: Tracer, patterns: list[str], expected: set[str]) -> None:
    for pattern in patterns:
        small.enable(pattern)
    assert on(small) == expected


@pytest.mark.parametrize("pattern", ["t?", "nothing*", "-nothing*", "[tp]*", "T*"])
def test_a_pattern_that_matches_nothing_is_refused(small: Tracer, pattern: str) -> None:
    with pytest.raises(UnknownEventError, match=r"^no trace event matches '.*'; `coloproxy trace list` shows .*\.$"):
        small.enable(pattern)


def test_enable_counts_what_changed(small: Tracer) -> None:
    assert [small.enable(pattern) for pattern in ("two", "*", "*", "-?*_*")] == [1, 3, 0, 2]


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_exact_name_must_exist_and_be_traceable(small: Tracer, sign: str) -> None:
    with pytest.raises(UnknownEventError, match="trace event 'tow' does not exist"):
        small.enable(f"{sign}tow")
    with pytest.raises(UntraceableEventError, match="trace event 'never' cannot be traced"):
        small.enable(f"{sign}never")
    with pytest.raises(UnknownEventError):
        small.enable(sign)


@given(st.text("ab_*?[]!-", max_size=8), st.text("ab_[]!-", max_size=8))
def test_only_star_and_question_mark_are_special(pattern: str, name: str) -> None:
    def matches(p: str, n: str) -> bool:
        if not p:
            return not n
        if p[0] == "*":
            return matches(p[1:], n) or (bool(n) and matches(p, n[1:]))
        return bool(n) and p[0] in ("?", n[0]) and matches(p[1:], n[1:])

    assert matcher(pattern)(name) == matches(pattern, name)
    if "[" not in pattern:
        assert matcher(pattern)(name) == fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("two\n", {"two"}),
        ("two", {"two"}),
        ("# all\n\n*\r\n-o*  \n", {"plain", "two"}),
        ("", set()),
    ],
)
def test_an_events_file_has_a_pattern_a_line(
    small: Tracer, tmp_path: Path, content: str, expected: set[str]
) -> None:
    path = tmp_path / "events"
    path.write_bytes(content.encode())
    assert small.enable_from_file(path) == len(expected)
    assert on(small) == expected


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"two\nthree\n", 2, "'three' does not exist"),
        (b"two\n\nnever", 3, "'never' cannot be traced; .* shows those that can\\.$"),
        (b" two\n", 1, "' two' does not exist"),
        (b" # not in column 0\n", 1, "does not exist"),
        (b"two\n" + b"a" * 1024 + b"\n", 2, "longer than 1023 bytes"),
        (b"\xff\n", 1, "does not exist"),
        (b"-\n", 1, "does not exist"),
    ],
)
def test_a_bad_line_of_an_events_file_switches_nothing(
    small: Tracer, tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)
    with pytest.raises(TraceSyntaxError, match=reason) as caught:
        small.enable_from_file(path)
    assert (caught.value.source, caught.value.line) == (str(path), line)
    assert on(small) == set()


def test_an_events_file_that_cannot_be_read_is_told(small: Tracer, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, "nul\0"):
        with pytest.raises(TraceError, match="cannot read the events file"):
            small.enable_from_file(path)


def test_callbacks_hear_of_changes_until_cancelled(small: Tracer, tmp_path: Path) -> None:
    heard: list[set[str]] = []
    cancel = small.on_change(lambda: heard.append(on(small)))
    small.enable("two")
    small.enable("two")  # no change
    (tmp_path / "events").write_text("plain\n-two\n")
    small.enable_from_file(tmp_path / "events")
    cancel()
    cancel()
    small.enable("*")
    assert heard == [{"two"}, {"plain"}]


def test_the_packages_functions_work_on_the_packages_events(tmp_path: Path) -> None:
    trace: Callable[..., None] = events.colo_compare_main
    try:
        coloproxy.trace.open_backend("log", tmp_path / "log")
        assert coloproxy.trace.enable("colo_compare_main") == 1
        assert events.colo_compare_main.enabled
        trace("packet same and release packet")
    finally:
        coloproxy.trace.enable("-*")
        coloproxy.trace.close()
    assert (tmp_path / "log").read_text() == "colo_compare_main : packet same and release packet\n"
