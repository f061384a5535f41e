"""The text of a `--trace` option, written like QEMU's `-trace`: `[enable=]PATTERN,events=FILE,file=FILE`."""

import os
import re
from collections.abc import Iterable

from coloproxy.trace.errors import TraceError
from coloproxy.trace.tracer import TRACER, Tracer

_KEYS = ("enable", "events", "file", "backend", "timestamps")


def apply_options(
    options: Iterable[str],
    *,
    file: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    timestamps: str | None = None,
    tracer: Tracer = TRACER,
) -> None:
    """Do what the `--trace` options say, in order; `file`, `backend` and `timestamps` stand where no option does.

    Settings are parted by commas, a comma within one is written twice; what has no `KEY=` is a pattern. A back end
    is opened only if one was asked for, after all patterns were found good. Raises TraceError.
    """
    settings: dict[str, str | os.PathLike[str] | None] = {"file": file, "backend": backend, "timestamps": timestamps}
    for option in options:
        parts = split(option)
        if not parts:
            raise TraceError("a trace option is empty; give it a pattern, or '*' for every event.")
        for setting in parts:
            key, equals, value = setting.partition("=")
            if not equals:
                key, value = "enable", setting
            if key not in _KEYS:
                raise TraceError(f"unknown trace option '{key}'; there are {', '.join(_KEYS)}.")
            if key == "enable":
                tracer.enable(value)
            elif key == "events":
                tracer.enable_from_file(value)
            else:
                settings[key] = value
    if any(value is not None for value in settings.values()):
        tracer.open_backend(
            str(settings["backend"] or "log"), settings["file"], timestamps=str(settings["timestamps"] or "off")
        )


def split(option: str) -> list[str]:
    """Part at single commas; two of them are one that is meant."""
    return [part.replace(",,", ",") for part in re.findall(r"(?:[^,]|,,)+", option)]
