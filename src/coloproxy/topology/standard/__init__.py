"""The topologies that come with coloproxy, by name."""

from pathlib import Path

HERE = Path(__file__).parent


def find(file: Path) -> Path:
    """A file that is there, or else the standard topology of this name."""
    shipped = HERE / f"{file.name}.toml"
    return shipped if not file.exists() and file.name == str(file) and shipped.exists() else file
