"""Real guests that write to their disk: whatever is done to a host, all that was acknowledged is there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import client
from coloproxy.guest.image import READY
from support.pair import Pair, running
from support.writer import MIB, Disk, Writer, writing

pytestmark = [
    pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180),
    pytest.mark.skipif(
        shutil.which("qemu-img") is None and not os.environ.get("COLOPROXY_CI"), reason="qemu-img is not installed"
    ),
]  # fmt: skip

SIZE = 48  # mebibytes
SMALL = 8
# A boot sector (Intel SDM; BIOS calls 13h): it writes itself to the next sector, says so on the serial line, and waits.
#   xor ax,ax; mov ds,ax; mov es,ax; mov ax,0301h; mov bx,7C00h; mov cx,2; mov dx,80h; int 13h
#   mov si,7C25h; mov dx,3F8h; next: lodsb; test al,al; jz wait; out dx,al; jmp next; wait: hlt; jmp wait
BOOTS = bytes.fromhex("31C0 8ED8 8EC0 B80103 BB007C B90200 BA8000 CD13 BE257C BAF803 AC 84C0 7403 EE EBF8 F4 EBFD")
BOOTS = (BOOTS + READY.encode()).ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running(tmp_path_factory.mktemp("pair"), protect=False, disk=SIZE * MIB) as made:
        yield made


@pytest.fixture(scope="module")
def writer(pair: Pair) -> Iterator[Writer]:
    """One that goes on on the same connection through all that happens."""
    with writing(pair, SIZE) as made:
        yield made


def image(pair: Pair, host: str) -> Path:
    return pair.folder / f"{host}.img"


def look_at_images(pair: Pair, writer: Writer, *hosts: str) -> None:
    """All that was acknowledged is in these images, which are the same."""
    writer.awake(False)
    time.sleep(0.5)  # until what is on its way has come
    pair.wait(lambda: not list(pair.file.place(hosts[0]).glob("active.qcow2")) or len(hosts) > 1)
    for host in hosts:
        writer.look_in(image(pair, host))
    assert len({image(pair, host).read_bytes() for host in hosts}) == 1
    writer.awake(True)


def test_a_disk_is_copied_while_it_is_written_to(pair: Pair, writer: Writer) -> None:
    hosts = pair.secured()
    copied = [each for each in pair.events(hosts[0], "copy_progress") if each["what"] == "disk"]
    assert copied[-1]["total"] >= SIZE * MIB
    writer.goes_on(pair, 10)
    look_at_images(pair, writer, *hosts)


def test_roles_are_exchanged_while_it_is_written_to(pair: Pair, writer: Writer) -> None:
    for _ in range(4):
        primary, secondary = pair.secured()
        writer.goes_on(pair, 5)
        pair.ask(primary, "checkpoint")
        writer.goes_on(pair, 3)
        pair.ask(primary, "failover")
        pair.wait_state(secondary, "alone")
        writer.goes_on(pair, 3)
    look_at_images(pair, writer, *pair.secured())


@pytest.mark.parametrize("what", ["QEMU", "host"])
@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_what_was_acknowledged_is_there_whoever_is_killed(pair: Pair, writer: Writer, side: str, what: str) -> None:
    primary, secondary = pair.secured()
    pair.ask(primary, "checkpoint")
    writer.goes_on(pair, 6)
    victim, heir = (primary, secondary) if side == "primary" else (secondary, primary)
    os.kill(pair.qemu(victim), signal.SIGKILL) if what == "QEMU" else pair.kill_host(victim)
    pair.wait_state(heir, "alone")
    writer.goes_on(pair, 6)
    look_at_images(pair, writer, heir)


def test_much_that_is_written_makes_checkpoints(pair: Pair, writer: Writer) -> None:
    primary, _ = pair.secured()
    writer.awake(False)
    disk = Disk(pair)
    for number in range(70):  # more than may be kept beside the secondary's image
        disk.say(f"fill {1 + number % 8} 1")
    disk.close()
    pair.wait(lambda: any("disk written" in each["asked"] for each in pair.events(primary, "guest_checkpoint")))
    for number in range(1, 9):
        writer.filled[number] = 1
    writer.awake(True)


def test_a_guest_may_boot_from_it(tmp_path: Path) -> None:
    with running(tmp_path, disk=SMALL * MIB, boots=BOOTS) as pair:
        primary, secondary = pair.secured()
        for host in (primary, secondary):
            assert image(pair, host).read_bytes()[:1024] == 2 * BOOTS
        pair.ask(primary, "failover")
        pair.wait_state(secondary, "alone")


def refused(pair: Pair, *words: str) -> str:
    """What a command says that must not succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "coloproxy", "guest", *words], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 2, f"{done.stdout}\n{pair.story()}"
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_guest_is_started_again_only_where_its_disk_is_as_it_left_it(tmp_path: Path) -> None:
    with running(tmp_path, disk=SMALL * MIB, timing={"lease": 1000}) as pair:
        primary, secondary = pair.secured()
        with writing(pair, SMALL) as writer:
            writer.goes_on(pair, 5)
            pair.ask(primary, "failover")
            pair.wait_state(secondary, "alone")
            writer.goes_on(pair, 5)
        pair.ask(secondary, "down")
        pair.wait_state(secondary, "waiting")
        said = refused(pair, "up", str(pair.path), "--host", primary)
        assert f"the disk of {primary} is old: {secondary} had the guest last; start it there." in said
        pair.boot(secondary)
        _look_again(pair, writer)

        pair.secured()
        writer = Writer(pair, SMALL, writer)
        writer.start()
        writer.goes_on(pair, 10)
        for host in pair.file.host:  # the power of both goes
            pair.kill_host(host)
        writer.drop()
        for host in pair.file.host:
            pair.revive_host(host)
        pair.wait(lambda: len(client.statuses(pair.file)) == 2)
        pair.boot(primary)  # which was the secondary
        _look_again(pair, writer)


def test_a_guest_is_not_ended_while_its_disk_is_merged(tmp_path: Path) -> None:
    with running(tmp_path, disk=SIZE * MIB, timing={"lease": 1000}) as pair:
        primary, secondary = pair.secured()
        with writing(pair, SIZE) as writer:
            writer.goes_on(pair, 60)
        pair.ask(primary, "failover")
        pair.wait(lambda: pair.state(secondary) == "alone")
        pair.wait(lambda: _ended(pair, secondary))
        pair.boot(secondary)  # it is whole
        again = Writer(pair, SIZE, writer)
        again.look_at_all()


def _ended(pair: Pair, host: str) -> bool:
    try:
        pair.ask(host, "down")
    except ColoproxyError as error:
        if "is being merged" in str(error):
            return False
        raise
    pair.wait_state(host, "waiting")
    return True


def _look_again(pair: Pair, writer: Writer) -> None:
    """A guest that was started anew reads what was acknowledged before."""
    again = Writer(pair, SMALL, writer)
    again.look_at_all()


@contextmanager
def small_file_system(path: Path, mebibytes: int) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("full", ["b", "a.img"], ids=["beside the secondary's", "the primary's"])
def test_an_image_that_cannot_be_written_is_given_up(tmp_path: Path, full: str) -> None:
    small = tmp_path / "b" if full == "b" else tmp_path / "small"
    with small_file_system(small, 4):
        if full == "a.img":
            (tmp_path / full).symlink_to(small / full)
        with running(tmp_path, disk=SMALL * MIB) as pair, writing(pair, SMALL, every=1) as writer:
            said = f"the disk of {full[0]}: No space left on device"
            pair.wait(lambda: said in [each["detail"] for host in "ab" for each in pair.events(host, "agent_changed")])
            heir = "a" if full == "b" else "b"
            pair.wait_state(heir, "alone")
            writer.goes_on(pair, 10)
            look_at_images(pair, writer, heir)
