"""A small guest and its file, to try it all out on one machine."""

from pathlib import Path

from coloproxy.errors import ColoproxyError
from coloproxy.guest import image

GUEST, US = "10.77.0.1", "10.77.0.2"
TEXT = """\
# A guest in two copies, both on this machine. {guest} has HTTP, 7001 echoes, 7002 counts, 7003 answers at random.

name = "sample"
lease = "file:{folder}/lease"
folder = "{folder}"
protect = "{protect}"

[guest]
kernel = "{kernel}"
initrd = "{initrd}"
append = "console=ttyS0 quiet panic=1"
memory = "160M"
mac = "52:54:00:00:77:01"

[here]
address = "{us}/24"

[host.a]
address = "10.78.0.1"
tap = "guest0"
bridge = "br0"

[host.b]
address = "10.78.0.2"
tap = "guest0"
bridge = "br0"
"""


def make(folder: Path, protect: str = "auto") -> Path:
    """Make a guest and its file in a folder; the file's path. Raises ColoproxyError if that cannot be."""
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = image.build(folder, f"{GUEST}/24")
        path = folder / "guest.toml"
        path.write_text(
            TEXT.format(
                guest=GUEST, us=US, folder=folder, kernel=made.kernel, initrd=made.initrd, protect=protect
            ), "utf-8",
        )  # fmt: skip
    except OSError as error:
        raise ColoproxyError(f"folder {folder}: {error.strerror}; name one that can be written.") from None
    return path
