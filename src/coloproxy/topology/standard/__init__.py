"""The topologies that come with coloproxy, by name."""

from pathlib import Path

from coloproxy.errors import ColoproxyError

HERE = Path(__file__).parent


def names() -> list[str]:
    """Which there are."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def find(file: Path) -> Path:
    """The file, or else the standard topology of this name. Raises ColoproxyError if what looks like a name is none."""
    if file.exists() or file.name != str(file) or file.suffix:
        return file
    if str(file) not in names():
        raise ColoproxyError(f"topology {file}: no such file, and the standard ones are {', '.join(names())}.")
    return HERE / f"{file}.toml"
