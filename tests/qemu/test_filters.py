"""In place of QEMU's filters, one by one: a real QEMU at the other end of each socket, in each role.

QEMU needs no guest for that. Two of its network back ends, each a socket of the test's, are joined by a hub; the
filters sit on the first of them. What the test sends there goes toward the guest ("tx" to QEMU), what it sends at the
second comes from it ("rx"). Real virtio-net headers need a TAP device and a virtio-net card, and the longer ones a
guest that has driven it: firmware that boots from the network is guest enough.
"""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coloproxy.topology.standard import HERE
from support import frames
from support.flow import numbered
from support.netns import Namespace, Raw, finished, needs_root, veth
from support.rewriting import C_ISN, CLIENT_SYN, P_ISN, P_SYN_ACK, S_ISN, S_SYN_ACK, client, replica
from support.topology import Topology
from support.wire import Peer, connect

QEMU = os.environ.get("QEMU") or shutil.which("qemu-system-x86_64")

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not (QEMU or os.environ.get("COLOPROXY_CI")), reason="qemu-system-x86_64 is not installed"),
]


class Qemu:
    """A QEMU with filters on the netdev `n`.

    chardevs: names; each listens on the socket of its name, one that is written NAME>OTHER connects to another's.
    machine: in place of one without a guest; netns: where it is.
    """

    def __init__(
        self, folder: Path, chardevs: str, objects: list[str], machine: list[str] | None, netns: str | None
    ) -> None:  # fmt: skip
        self.folder = folder
        assert QEMU is not None, "qemu-system-x86_64 is missing"
        command = [] if netns is None else ["ip", "netns", "exec", netns]
        command += [QEMU, "-display", "none", "-nodefaults", "-monitor", "none", *(machine or self._hub())]
        for chardev in chardevs.split():
            name, _, other = chardev.partition(">")
            way = f"path={folder / other}" if other else f"path={folder / name},server=on,wait=off"
            command += ["-chardev", f"socket,id={name},{way}"]
        for each in objects:
            command += ["-object", each]
        self._stderr = open(folder / "stderr", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=self._stderr)

    def _hub(self) -> list[str]:
        made = ["-machine", "none"]
        for netdev, name in (("n", "net"), ("m", "guest")):
            made += ["-netdev", f"stream,id={netdev},server=on,addr.type=unix,addr.path={self.folder / name}"]
            made += ["-netdev", f"hubport,id=hub-{netdev},hubid=0,netdev={netdev}"]
        return made

    def at(self, name: str) -> Peer:
        """Connect to one of its sockets: `net` and `guest` are the ends of the wire that the filters sit on."""
        return Peer(connect(str(self.folder / name)))

    def end(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self._stderr.close()


class Stage:
    """QEMUs and topologies of one test."""

    def __init__(self, folder: Path, vnet_hdr: bool) -> None:
        self.folder = folder
        self._support = ",vnet_hdr_support=" + ("on" if vnet_hdr else "off")
        self._vnet_hdr = "true" if vnet_hdr else "false"
        self._qemus: list[Qemu] = []
        self._topologies: list[Topology] = []

    def qemu(
        self, name: str, chardevs: str, *objects: str, machine: list[str] | None = None, netns: str | None = None
    ) -> Qemu:  # fmt: skip
        """A QEMU whose sockets are in the folder of its name."""
        (self.folder / name).mkdir()
        told = [each if each.startswith("iothread") else each + self._support for each in objects]
        self._qemus.append(Qemu(self.folder / name, chardevs, told, machine, netns))
        return self._qemus[-1]

    def ours(self, text: str, *own: str, **ports: str) -> Topology:
        """A topology. own: ports that listen on sockets of their own; ports: those at QEMU's sockets, QEMU/NAME each.

        In the text, STAGE is the folder of all, and VNET whether the framing has a second word.
        """
        (self.folder / "ours").mkdir()
        for name in own:
            text += f'\n[port.{name}]\nsocket = "unix:DIR/{name},server"\nvnet_hdr = VNET\n'
        for name, place in ports.items():
            text += f'\n[port.{name}]\nsocket = "unix:{self.folder}/{place}"\nvnet_hdr = VNET\n'
        text = text.replace("STAGE", str(self.folder)).replace("VNET", self._vnet_hdr)
        self._topologies.append(Topology(self.folder / "ours", text))
        return self._topologies[-1].running()

    def standard(self, name: str, **ports: str) -> Topology:
        """A standard topology as it comes along, with other addresses for its ports, and that of its control socket."""
        text = (HERE / f"{name}.toml").read_text()
        for port, address in ports.items():
            head = f"[port.{port}]\n"
            before, _, after = text.partition(head)
            after = re.sub(r"\A(?:(?:tap|offload|socket) = .*\n)+", "", after)
            text = f'{before}{head}socket = "{address}"\nvnet_hdr = VNET\n{after}'
        return self.ours(re.sub(r"/run/(coloproxy\.|colo/)", "DIR/", text))

    def peer(self, topology: Topology, name: str) -> Peer:
        """The test's end of a port of ours."""
        return topology.peer(name, vnet_hdr=self._vnet_hdr == "true")

    def end(self) -> None:
        for topology in self._topologies:
            topology.kill()
        for qemu in self._qemus:
            qemu.end()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for the paths of unix sockets."""
    with tempfile.TemporaryDirectory(prefix="colo-") as name:
        yield Path(name)


@pytest.fixture(params=[False, True], ids=["plain", "vnet"])
def stage(request: pytest.FixtureRequest, folder: Path) -> Iterator[Stage]:
    """Without and with the second word in the framing."""
    made = Stage(folder, request.param)
    yield made
    made.end()


def connected(topology: Topology, *roles: str) -> None:
    for role in roles:
        topology.wait("peer_connected", role=role)


MIRROR = """
wires = ["network -> mirror -> guest", "mirror.copy -> copy", "guest -> network"]
[element.mirror]
type = "mirror"
"""
SENT = [*numbered(50), *numbered(3, 60000), frames.udp(b"x"), frames.tcp(b"y" * 1400)]


# One filter at a time


def test_our_mirror_feeds_qemus_redirector(stage: Stage) -> None:
    qemu = stage.qemu("q", "red0", "filter-redirector,id=f1,netdev=n,queue=tx,indev=red0")
    ours = stage.ours(MIRROR, "network", "guest", copy="q/red0")
    guest, network, original = qemu.at("guest"), stage.peer(ours, "network"), stage.peer(ours, "guest")
    connected(ours, "copy")
    network.send(*SENT)
    assert original.frames(len(SENT)) == SENT
    assert guest.frames(len(SENT)) == SENT


def test_qemus_mirror_feeds_our_redirector(stage: Stage) -> None:
    qemu = stage.qemu("q", "mirror0", "filter-mirror,id=m0,netdev=n,queue=tx,outdev=mirror0")
    net, guest = qemu.at("net"), qemu.at("guest")
    ours = stage.ours("""
        wires = ["red -> guest"]
        [element.red]
        type = "redirector"
        indev = "unix:STAGE/q/mirror0"
        vnet_hdr = VNET
    """, "guest")  # fmt: skip
    connected(ours, "red.indev")
    copy = stage.peer(ours, "guest")
    net.send(*SENT)
    assert guest.frames(len(SENT)) == SENT
    assert copy.frames(len(SENT)) == SENT


def test_qemus_redirector_and_ours_take_a_wire_apart_and_join_it_again(stage: Stage) -> None:
    """redire1 takes what the guest says, redire0 lets it go on; between them our redirector, and a dump."""
    qemu = stage.qemu(
        "q", "out in",
        "filter-redirector,id=redire0,netdev=n,queue=rx,indev=in",
        "filter-redirector,id=redire1,netdev=n,queue=rx,outdev=out",
    )  # fmt: skip
    net, guest = qemu.at("net"), qemu.at("guest")
    ours = stage.ours("""
        wires = ["red -> tee -> red"]
        [element.red]
        type = "redirector"
        indev = "unix:STAGE/q/out"
        outdev = "unix:STAGE/q/in"
        vnet_hdr = VNET
        [element.tee]
        type = "dump"
        file = "DIR/tee.pcapng"
    """)  # fmt: skip
    connected(ours, "red.indev", "red.outdev")
    guest.send(*SENT)
    assert net.frames(len(SENT)) == SENT
    net.send(SENT[0])
    assert guest.frames(1) == [SENT[0]]
    assert ours.stop()["elements"]["tee"] == {"written": len(SENT), "lost": 0}


SAME = [frames.tcp(b"the same" * 100, seq=1 + 800 * n, ack=1) for n in range(20)]


def test_our_comparator_between_qemus_redirectors(stage: Stage) -> None:
    """The primary's redire1 and redire0, and the secondary's f2."""
    primary = stage.qemu(
        "p", "compare0 compare_out",
        "filter-redirector,id=redire0,netdev=n,queue=rx,indev=compare_out",
        "filter-redirector,id=redire1,netdev=n,queue=rx,outdev=compare0",
    )  # fmt: skip
    secondary = stage.qemu("s", "red1", "filter-redirector,id=f2,netdev=n,queue=rx,outdev=red1")
    p, s, net = primary.at("guest"), secondary.at("guest"), primary.at("net")
    ours = stage.standard(
        "external-compare", compare0="unix:STAGE/p/compare0", compare1="unix:STAGE/s/red1",
        compare_out="unix:STAGE/p/compare_out",
    )  # fmt: skip
    connected(ours, "compare0", "compare1", "compare_out")
    p.send(*SAME)
    assert net.silent()
    s.send(*SAME[:7])
    assert net.frames(7) == SAME[:7]
    s.send(*SAME[7:])
    assert net.frames(13) == SAME[7:]
    p.send(frames.udp(b"one"))
    s.send(frames.udp(b"two"))
    ours.wait("divergence", reason="udp_payload")
    assert net.silent()


def test_our_redirectors_feed_qemus_comparator(stage: Stage) -> None:
    stage.qemu(
        "q", "p s o", "iothread,id=t",
        "colo-compare,id=c,primary_in=p,secondary_in=s,outdev=o,iothread=t,compare_timeout=600000",
    )  # fmt: skip
    ours = stage.ours("""
        wires = ["primary -> p", "secondary -> s", "o -> client"]
        [element.p]
        type = "redirector"
        outdev = "unix:STAGE/q/p"
        vnet_hdr = VNET
        [element.s]
        type = "redirector"
        outdev = "unix:STAGE/q/s"
        vnet_hdr = VNET
        [element.o]
        type = "redirector"
        indev = "unix:STAGE/q/o"
        vnet_hdr = VNET
    """, "primary", "secondary", "client")  # fmt: skip
    connected(ours, "p.outdev", "s.outdev", "o.indev")
    p, s, out = (stage.peer(ours, name) for name in ("primary", "secondary", "client"))
    for frame in SAME:
        p.send(frame)
        s.send(frame)
        assert out.frames(1) == [frame]
    p.send(frames.arp())
    assert out.frames(1) == [frames.arp()]


# The sides of a pair, one ours, one QEMU's


class Connection:
    """A client and two replicas, wherever they are. All three numberings are the replicas' own."""

    def __init__(self, network: Peer, primary: Peer, secondary: Peer) -> None:
        self.network, self.primary, self.secondary = network, primary, secondary

    def open(self) -> None:
        """Open a connection; the secondary's part of it is translated."""
        self.network.send(CLIENT_SYN)
        assert self.primary.frames(1) == self.secondary.frames(1) == [CLIENT_SYN]
        self.primary.send(P_SYN_ACK)
        self.secondary.send(S_SYN_ACK)
        assert self.network.frames(1) == [P_SYN_ACK]
        self.network.send(client())
        assert self.primary.frames(1) == [client()]
        assert self.secondary.frames(1) == [client(ack=S_ISN + 1)]

    def exchange(self) -> None:
        """Questions and answers, of many segments."""
        at = 0
        for number in range(5):
            question = client(b"question" * 10, seq=C_ISN + 1 + 80 * number, ack=P_ISN + 1 + at)
            self.network.send(question)
            assert self.primary.frames(1) == [question]
            asked = C_ISN + 81 + 80 * number
            assert self.secondary.frames(1) == [
                client(b"question" * 10, seq=asked - 80, ack=S_ISN + 1 + at)
            ]  # fmt: skip
            answers = [replica(b"answer" * 200, seq=P_ISN + 1 + at + 1200 * n, ack=asked) for n in range(4)]
            self.primary.send(*answers)
            self.secondary.send(
                *[replica(b"answer" * 200, seq=S_ISN + 1 + at + 1200 * n, ack=asked) for n in range(4)]
            )  # fmt: skip
            assert self.network.frames(4) == answers
            at += 4800


REWRITER = (
    "filter-redirector,id=f1,netdev=n,queue=tx,indev=red0",
    "filter-redirector,id=f2,netdev=n,queue=rx,outdev=red1",
    "filter-rewriter,id=rew0,netdev=n,queue=all",
)


def test_our_primary_with_qemus_secondary(stage: Stage) -> None:
    """Our mirror feeds f1, QEMU's rewriter translates, f2 feeds our comparator."""
    qemu = stage.qemu("s", "red0 red1", *REWRITER)
    secondary = qemu.at("guest")
    own = {name: f"unix:DIR/{name},server" for name in ("network", "guest")}
    theirs = {"to-secondary": "unix:STAGE/s/red0", "from-secondary": "unix:STAGE/s/red1"}
    ours = stage.standard("primary", **own, **theirs)
    connected(ours, *theirs)
    connection = Connection(stage.peer(ours, "network"), stage.peer(ours, "guest"), secondary)
    connection.open()
    connection.exchange()
    assert ours.count("divergence") == 0


PRIMARY = (
    "filter-mirror,id=m0,netdev=n,queue=tx,outdev=mirror0",
    "filter-redirector,id=redire0,netdev=n,queue=rx,indev=compare_out",
    "filter-redirector,id=redire1,netdev=n,queue=rx,outdev=compare0",
    "iothread,id=iothread1",
    "colo-compare,id=comp0,primary_in=compare0-0,secondary_in=compare1,outdev=compare_out0,iothread=iothread1"
    ",compare_timeout=600000",
)
CHARDEVS = "mirror0 compare1 compare0 compare0-0>compare0 compare_out compare_out0>compare_out"


def test_our_secondary_with_qemus_primary(stage: Stage) -> None:
    """QEMU's mirror feeds our rewriter, which feeds QEMU's comparator; and after a failover it goes on alone."""
    qemu = stage.qemu("p", CHARDEVS, *PRIMARY)
    net, primary = qemu.at("net"), qemu.at("guest")
    own = {name: f"unix:DIR/{name},server" for name in ("network", "guest")}
    theirs = {"from-primary": "unix:STAGE/p/mirror0", "to-primary": "unix:STAGE/p/compare1"}
    ours = stage.standard("secondary", **own, **theirs)
    connected(ours, *theirs)
    secondary, network = stage.peer(ours, "guest"), stage.peer(ours, "network")
    connection = Connection(net, primary, secondary)
    connection.open()
    network.send(client(b"not yet"))  # a network that floods brings the client's frames here too
    connection.exchange()
    qemu.process.kill()
    ours.wait("peer_lost", role="to-primary")
    commands = ours.commands()
    assert commands.ask("failover secondary") == {"ok": True}
    network.send(client(b"alone?", ack=P_ISN + 1 + 24000))
    assert secondary.frames(1) == [client(b"alone?", ack=S_ISN + 1 + 24000)]
    secondary.send(replica(b"alone.", seq=S_ISN + 1 + 24000))
    assert network.frames(1) == [replica(b"alone.", seq=P_ISN + 1 + 24000)]
    commands.close()


def test_our_rewriter_between_qemus_redirectors_in_the_secondary(stage: Stage) -> None:
    """f1 and f2 stay, rew0 is ours: `secondary` with QEMU's sockets in place of the guest's device."""
    qemu = stage.qemu("s", "red0 red1", *REWRITER[:2])
    guest = qemu.at("guest")
    ours = stage.ours(
        'wires = ["red0 -> rewriter.client -> f1", "f2 -> rewriter.secondary -> red1"]\n'
        '[element.rewriter]\ntype = "rewriter"\n',
        "red0", "red1", f1="s/red0", f2="s/red1",
    )  # fmt: skip
    connected(ours, "f1", "f2")
    red0, red1 = stage.peer(ours, "red0"), stage.peer(ours, "red1")
    red0.send(CLIENT_SYN)
    assert guest.frames(1) == [CLIENT_SYN]
    guest.send(S_SYN_ACK)
    red0.send(client())
    assert guest.frames(1) == [client(ack=S_ISN + 1)]
    assert len(red1.frames(1)) == 1
    guest.send(replica(b"hello", seq=S_ISN + 1))
    assert red1.frames(1) == [replica(b"hello", seq=P_ISN + 1)]
    sack = b"\1\1\5\x0a" + struct.pack(">II", P_ISN + 11, P_ISN + 21)
    red0.send(client(ack=P_ISN + 6, options=sack))
    translated = b"\1\1\5\x0a" + struct.pack(">II", S_ISN + 11, S_ISN + 21)
    assert guest.frames(1) == [client(ack=S_ISN + 6, options=translated)]


# Real virtio-net headers


@pytest.fixture
def space() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces; removes them with the test."""
    made: list[Namespace] = []

    def new() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield new
    for each in made:
        each.remove()


def card(romfile: str, *more: str) -> list[str]:
    """A machine with a virtio-net card on the TAP device e0."""
    return [
        "-machine", "pc", "-accel", "tcg", "-m", "128", *more,
        "-netdev", "tap,id=n,ifname=e0,vhost=off,script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=n{romfile}",
    ]  # fmt: skip


@needs_root
@pytest.mark.root
def test_headers_of_a_tap_and_a_card_pass_both_ways(folder: Path, space: Callable[[], Namespace]) -> None:
    """Ten bytes, as the card has them before a driver wants more: QEMU's mirror to ours, and ours to its redirector."""
    there = space()
    there.tap("e0")
    stage = Stage(folder, vnet_hdr=True)
    try:
        stage.qemu(
            "q", "mirror in", "filter-mirror,id=m0,netdev=n,queue=tx,outdev=mirror",
            "filter-redirector,id=r0,netdev=n,queue=rx,indev=in", machine=card(",romfile="), netns=there.name,
        )  # fmt: skip
        ours = stage.ours(
            'wires = ["mirror -> copy", "answer -> in"]\n[port.in]\nsocket = "unix:STAGE/q/in"\nvnet_hdr = 10\n',
            "copy", "answer", mirror="q/mirror",
        )  # fmt: skip
        connected(ours, "mirror", "in")
        copy, answer = stage.peer(ours, "copy"), stage.peer(ours, "answer")
        there.until_up("e0")
        raw = there.raw("e0", vnet_hdr=True)
        raw.send(bytes(10) + frames.udp(b"in"))
        assert copy.frames(1) == [bytes(10) + frames.udp(b"in")]
        for length in (10, 12):
            answer.send(frames.tcp(b"x" * 20000, vnet=length, gso=1448), vnet_len=length)
        answer.send(frames.udp(b"out"))
        for _ in range(2):
            (large,) = raw.frames(1)
            assert struct.unpack_from("<BBxxHHH", large) == (1, 1, 1448, 34, 16)
            assert finished(large) == frames.tcp(b"x" * 20000)
        assert raw.frames(1) == [bytes(10) + frames.udp(b"out")]
        raw.close()
    finally:
        stage.end()


@needs_root
@pytest.mark.root
def test_a_guest_with_longer_headers_asks_for_an_address_through_our_device_and_gets_one(
    folder: Path, space: Callable[[], Namespace]
) -> None:
    """Its headers have 12 bytes, our device's 10. It would not understand the offer with the wrong ones."""
    there, here, outside = space(), space(), space()
    there.tap("e0")
    veth(outside, "o0", here, "v0")
    stage = Stage(folder, vnet_hdr=True)
    try:
        stage.qemu(
            "q", "out in", "filter-redirector,id=r1,netdev=n,queue=rx,outdev=out",
            "filter-redirector,id=f1,netdev=n,queue=tx,indev=in", machine=card("", "-boot", "n"), netns=there.name,
        )  # fmt: skip
        ours = stage.ours(
            f'wires = ["out -> wire", "wire -> in"]\n[port.wire]\npacket = "v0"\nnetns = "{here.name}"\n'
            '[port.in]\nsocket = "unix:STAGE/q/in"\nvnet_hdr = 12\n',
            out="q/out",
        )  # fmt: skip
        connected(ours, "out", "in")
        raw = outside.raw("o0", vnet_hdr=True)
        discover = dhcp(raw, 1)
        raw.send(bytes(10) + offer(discover))
        request = dhcp(raw, 3)
        assert request[4:8] == discover[4:8]
        assert socket.inet_aton("10.9.0.77") in request
        raw.close()
        account = ours.stop()["ports"]
        count = account["out"]["received"]["frames"]
        assert count >= 2
        assert account["out"]["received"]["bytes"] - 12 * count == account["wire"]["sent"]["bytes"] - 10 * count
    finally:
        stage.end()


def dhcp(raw: Raw, kind: int) -> bytes:
    """Wait for a DHCP message of a kind (RFC 2132, 9.6); its payload."""
    while True:
        (frame,) = raw.frames(1)
        bare = finished(frame)
        if bare[12:14] == b"\x08\x00" and bare[23] == 17 and bare[34:38] == b"\x00\x44\x00\x43":
            udp = bare[34:]
            assert frames.ones(bare[26:34] + struct.pack(">II", 17, len(udp)) + udp) in (0xFFFF, 0)
            if b"\x35\x01" + bytes([kind]) in bare:
                return bare[42:]


def offer(discover: bytes) -> bytes:
    """10.9.0.77, to whoever asked."""
    mac = discover[28:34]
    server, address = socket.inet_aton("10.9.0.1"), socket.inet_aton("10.9.0.77")
    options = (
        b"\x63\x82\x53\x63" + b"\x35\x01\x02" + b"\x36\x04" + server + b"\x33\x04\x00\x00\x0e\x10"
        + b"\x01\x04\xff\xff\xff\x00" + b"\x03\x04" + server + b"\xff"
    )  # fmt: skip
    message = struct.pack(">BBBB", 2, 1, 6, 0) + discover[4:8] + bytes(4) + bytes(4) + address + server + bytes(4)
    message += mac.ljust(16, b"\0") + bytes(64) + bytes(128) + options
    frame = frames.udp(message.ljust(300, b"\0"), sport=67, dport=68, src="10.9.0.1", dst="255.255.255.255")
    return b"\xff" * 6 + bytes.fromhex("020000000001") + frame[12:]
