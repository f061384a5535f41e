"""The events of the list `trace-events`, one attribute each; `events.pyi` gives type checkers their signatures."""

from coloproxy.trace.tracer import TRACER

globals().update(TRACER.events)
