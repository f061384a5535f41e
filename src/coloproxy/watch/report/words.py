"""Numbers as people read them."""

from collections.abc import Sequence


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"), 1000.0)


def duration(seconds: float) -> str:
    """Seconds."""
    if seconds <= 0:
        return "0 s"
    if seconds < 1:
        return _scaled(seconds * 1e6, ("µs", "ms"), 1000.0)
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _scaled(value: float, units: Sequence[str], base: float) -> str:
    at = 0
    while value >= base and at < len(units) - 1:
        value, at = value / base, at + 1
    return f"{value:.0f} {units[at]}" if at == 0 or value >= 100 else f"{value:.1f} {units[at]}"
