"""Trace events: what the proxy is doing, in the words of QEMU's, for its readers.

    from coloproxy.trace import events

    if events.colo_compare_main.enabled:
        events.colo_compare_main("packet same and release packet")

The events are those of the file `trace-events` beside this one, made at import, all switched off.
"""

import atexit

from coloproxy.trace import events
from coloproxy.trace.backends import Backend
from coloproxy.trace.errors import TraceError, TraceSyntaxError, UnknownEventError, UntraceableEventError
from coloproxy.trace.event import Event
from coloproxy.trace.options import apply_options
from coloproxy.trace.parser import Argument, EventSpec, parse
from coloproxy.trace.tracer import TRACER, Tracer, load

enable = TRACER.enable
enable_from_file = TRACER.enable_from_file
on_change = TRACER.on_change
open_backend = TRACER.open_backend
flush = TRACER.flush
close = TRACER.close

atexit.register(close)

__all__ = [
    "Argument",
    "Backend",
    "Event",
    "EventSpec",
    "TraceError",
    "TraceSyntaxError",
    "Tracer",
    "UnknownEventError",
    "UntraceableEventError",
    "apply_options",
    "close",
    "enable",
    "enable_from_file",
    "events",
    "flush",
    "load",
    "on_change",
    "open_backend",
    "parse",
]
