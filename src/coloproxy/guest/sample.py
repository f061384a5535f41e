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
{writable}
[here]
address = "{us}/24"

[host.a]
address = "10.78.0.1"
tap = "guest0"
bridge = "br0"
{disk_a}
[host.b]
address = "10.78.0.2"
tap = "guest0"
bridge = "br0"
{disk_b}"""


def make(folder: Path, protect: str = "auto", disk: int = 0) -> Path:
    """Make a guest and its file in a folder; the file's path. Raises ColoproxyError if that cannot be.

    disk: mebibytes of one that it writes to.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = image.build(folder, f"{GUEST}/24")
        images = [_image(folder / f"{host}.img", disk << 20) if disk else "" for host in "ab"]
        path = folder / "guest.toml"
        path.write_text(
            TEXT.format(
                guest=GUEST, us=US, folder=folder, kernel=made.kernel, initrd=made.initrd, protect=protect,
                writable="disk_writable = true\n" if disk else "", disk_a=images[0], disk_b=images[1],
            ), "utf-8",
        )  # fmt: skip
    except OSError as error:
        raise ColoproxyError(f"folder {folder}: {error.strerror}; name one that can be written.") from None
    return path


def _image(path: Path, size: int) -> str:
    """A line that names an image, which is made, and empty."""
    with path.open("wb") as made:
        made.truncate(size)
    return f'disk = "{path}"\n'
