"""Fuzzes the trace room: the parser of trace-events files, printf, patterns and the three back ends.

    python fuzz/fuzz_trace.py -max_total_time=120 [CORPUS]
"""

import io
import json
import sys

import atheris

with atheris.instrument_imports(include=["coloproxy.trace"]):
    from coloproxy.trace import EventSpec, TraceError, Tracer, TraceSyntaxError, apply_options, parse
    from coloproxy.trace.backends import KINDS, TIMESTAMPS
    from coloproxy.trace.ctype import CType, Kind
    from coloproxy.trace.tracer import matcher

TYPES = ("int x", "uint32_t x", "const char *x", "void *x", "int64_t x", "bool x")


def some_list(data: atheris.FuzzedDataProvider) -> list[EventSpec]:
    """A list from raw text, or a well-formed line with a format from the input: that gets deeper."""
    if data.ConsumeBool():
        text = data.ConsumeUnicode(data.ConsumeIntInRange(0, 400))
    else:
        count = data.ConsumeIntInRange(1, 4)
        arguments = ", ".join(f"{data.PickValueInList(list(TYPES))}{number}" for number in range(count))
        written = data.ConsumeUnicodeNoSurrogates(data.ConsumeIntInRange(0, 60))
        text = f'a({arguments}) "{written}"\n'
    try:
        specs = parse(text, "fuzz", strict=data.ConsumeBool())
    except TraceSyntaxError as error:
        if not 1 <= error.line <= text.count("\n") + 1:
            raise AssertionError(f"no such line: {error}") from error
        return []
    for spec in specs:
        assert parse(f"{spec}\n", "again") == [spec], spec
    return specs


def some_value(data: atheris.FuzzedDataProvider, kind: CType) -> object:
    if data.ConsumeIntInRange(0, 20) == 0:  # of the wrong type, or out of range
        return data.PickValueInList([None, 2**70, -(2**70), "", b"", 1.5])
    if kind.kind is Kind.STRING:
        return data.ConsumeUnicode(30)
    return data.ConsumeIntInRange(max(kind.low, -(2**63)), min(kind.high, 2**63 - 1))


def call_all(data: atheris.FuzzedDataProvider, tracer: Tracer, kind: str) -> None:
    file = io.BytesIO()
    tracer.open_backend(kind, file, data.PickValueInList(list(TIMESTAMPS)) if kind == "log" else "off")
    made = 0
    for event in tracer.events.values():
        try:
            event(*(some_value(data, argument.type) for argument in event.arguments))
        except (TypeError, ValueError):
            continue
        made += event.enabled
    tracer.flush()
    written = file.getvalue()
    if kind == "json":
        assert sum("event" in json.loads(line) for line in written.split(b"\n")[:-1]) == made
    elif kind == "log":
        assert written.count(b"\n") >= made
    else:
        assert written[:8] == b"\xff" * 8


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    try:
        tracer = Tracer(some_list(data))
    except TraceSyntaxError:
        return
    pattern = data.ConsumeUnicode(12)
    matcher(pattern)(data.ConsumeUnicode(12))
    try:
        apply_options([f"enable={pattern.replace(',', ',,')}"], tracer=tracer)
    except TraceError:
        tracer.enable("*")
    for kind in KINDS:
        call_all(data, tracer, kind)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
