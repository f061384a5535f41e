"""What QEMU does and what coloproxy does, on the same input, for each reason in `reasons`."""

import contextlib
import signal
import struct
import time
from collections.abc import Callable

from contestants import Coloproxy, Contestant, Qemu
from reasons import PAGE, Reason, page
from said import GRE, SCTP, Datagram, Unit

from support.frames import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    arp,
    ethernet,
    fragments,
    icmp,
    other,
    syn_options,
    tcp,
    udp,
    udp_datagram,
)  # fmt: skip
from support.wire import PATIENCE

StartQemu = Callable[..., Qemu]
StartOurs = Callable[..., Coloproxy]

MAX_FRAME = 69632


def test_every_reason_has_a_test_and_is_on_the_page() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {reason.name.lower() for reason in Reason} <= tests
    assert PAGE.read_text() == page(), f"python {page.__code__.co_filename} writes the page anew"


def data(payload: bytes, seq: int = 1000, ack: int = 1, **more: object) -> bytes:
    return tcp(payload, seq=seq, ack=ack, flags=ACK | PSH, **more)  # type: ignore[arg-type]


def begin(each: Contestant, ack: int = 1) -> None:
    """Both replicas have said four bytes, up to 1000, and acknowledged some."""
    each.p(data(b"okay", 996, ack))
    assert each.s(data(b"okay", 996, ack)) == [data(b"okay", 996, ack)]


# Streams


def test_stream_position(qemu: StartQemu, ours: StartOurs) -> None:
    """A segment of the secondary is late: QEMU compares the next in its place."""
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        begin(each)
        each.p(data(b"goodbyes"))
        assert each.s(data(b"byes", 1004)) == []
    assert theirs.requests() == 1
    assert own.requests() == 0
    assert own.s(data(b"good")) == [data(b"goodbyes")]
    theirs.checkpoint()
    for each in (theirs, own):  # and what looks alike, is taken for equal
        each.p(data(b"aaaa", 1008))
    assert theirs.s(data(b"aaaaaaaa", 1010)) == [data(b"aaaa", 1008)]
    assert own.s(data(b"aaaaaaaa", 1010)) == []


def test_ack_rule(qemu: StartQemu, ours: StartOurs) -> None:
    """The primary has acknowledged 200, the secondary 100."""
    theirs, clamping, holding = qemu(), ours(), ours("--ack-rule", "hold")
    ahead = data(b"abc", ack=200)
    for each in (theirs, clamping, holding):
        begin(each, 100)
        each.p(ahead)
    assert theirs.s(data(b"abcdef", ack=100)) == []
    assert theirs.requests() == 1
    assert clamping.s(data(b"abcdef", ack=100)) == [data(b"abc", ack=100)]
    assert clamping.s(tcp(seq=1006, ack=200)) == [tcp(seq=1003, ack=200)]
    assert holding.s(data(b"abcdef", ack=100)) == []
    assert holding.s(tcp(seq=1006, ack=200)) == [ahead]
    assert clamping.requests() == holding.requests() == 0

    same = qemu()
    begin(same, 100)
    same.p(ahead)
    assert same.s(data(b"abc", ack=100)) == [ahead]


def test_pure_ack(qemu: StartQemu, ours: StartOurs) -> None:
    """The secondary has acknowledged all; then it has nothing to say for a while."""
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        begin(each, 100)
    assert theirs.p(tcp(seq=1000, ack=100, window=500)) == []
    assert own.p(tcp(seq=1000, ack=100, window=500)) == [tcp(seq=1000, ack=100, window=500)]
    assert theirs.p(data(b"okay", 996, 100)) == []
    assert own.p(data(b"okay", 996, 100)) == [data(b"okay", 996, 100)]
    assert len(theirs.s(data(b"any", ack=100))) == 2


def test_idle_ack(qemu: StartQemu, ours: StartOurs) -> None:
    theirs = qemu(compare_timeout=100, expired_scan_cycle=20)
    own = ours("--compare-timeout", "100", "--expired-scan-cycle", "20")
    for each in (theirs, own):
        begin(each, 100)
        each.s(tcp(seq=1000, ack=200))
    theirs.wait_for_request()
    time.sleep(0.3)
    assert own.requests() == 0


def test_control_flags(qemu: StartQemu, ours: StartOurs) -> None:
    """The primary ends the connection, the secondary does not, or not at once."""
    for flags in (ACK | FIN, ACK | RST):
        theirs, own = qemu(), ours("--compare-timeout", "200", "--expired-scan-cycle", "20")
        end = tcp(seq=1000, ack=1, flags=flags)
        for each in (theirs, own):
            begin(each)
            each.p(end)
        assert theirs.s(tcp(seq=1000, ack=1)) == [end]
        assert theirs.requests() == 0
        assert own.s(tcp(seq=1000, ack=1)) == []
        own.wait_for_request()
    own = ours()
    begin(own)
    own.p(tcp(seq=1000, ack=1, flags=ACK | FIN))
    assert own.s(tcp(seq=1000, ack=1, flags=ACK | FIN)) == [tcp(seq=1000, ack=1, flags=ACK | FIN)]


def test_syn_options(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    offer = tcp(seq=999, ack=1, flags=SYN | ACK, options=syn_options(scale=7))
    for each in (theirs, own):
        each.p(offer)
    without = tcp(seq=999, ack=1, flags=SYN | ACK, options=syn_options(scale=None))
    assert theirs.s(without) == [offer]
    assert own.s(without) == []
    assert (theirs.requests(), own.requests()) == (0, 1)


def test_new_connection(qemu: StartQemu, ours: StartOurs) -> None:
    """The client uses its port again, and the replicas begin with lower numbers than before."""
    theirs, own = qemu(), ours()
    again = tcp(seq=99, ack=1, flags=SYN | ACK, options=syn_options())
    for each in (theirs, own):
        begin(each)
        each.p(again)
        assert each.s(again) == [again]
        each.p(data(b"good", 100))
    assert theirs.s(data(b"evil", 100)) == [data(b"good", 100)]
    assert own.s(data(b"evil", 100)) == []
    assert (theirs.requests(), own.requests()) == (0, 1)


def test_padding(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    padded = tcp(seq=1000, ack=1, pad=6)
    for each in (theirs, own):
        begin(each)
        out = each.p(padded)
        assert out + each.s(padded) == [padded]
        each.p(data(b"secret"))
    assert theirs.s(data(b"public")) == [data(b"secret")]
    assert own.s(data(b"public")) == []
    assert (theirs.requests(), own.requests()) == (0, 1)


def test_zero_mark(qemu: StartQemu, ours: StartOurs) -> None:
    """Bytes that end at 2**32 are verified, and then sent again."""
    theirs, own = qemu(), ours()
    last = data(b"last", -4)
    for each in (theirs, own):
        each.p(last)
        assert each.s(last) == [last]
        each.s(data(b"more", 0))
    assert theirs.p(last) == []
    assert own.p(last) == [last]
    assert (theirs.requests(), own.requests()) == (1, 0)


def test_contradiction(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        begin(each)
        each.p(data(b"good"), data(b"evil"))
    assert theirs.s(data(b"goodness")) == [data(b"good"), data(b"evil")]
    assert own.s(data(b"goodness")) == []
    assert (theirs.requests(), own.requests()) == (0, 1)


def test_beginning(qemu: StartQemu, ours: StartOurs) -> None:
    """The first that is seen of a connection are two segments of the primary, out of order."""
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        each.s(tcp(seq=1008, ack=1))
        each.p(data(b"byes", 1004))
    assert theirs.p(data(b"good")) == []
    assert own.p(data(b"good")) == [data(b"good")]
    assert theirs.s(data(b"goodbyes")) == [data(b"good"), data(b"byes", 1004)]
    assert own.s(data(b"goodbyes")) == [data(b"byes", 1004)]


# Datagrams and everything else


def test_newest_first(qemu: StartQemu, ours: StartOurs) -> None:
    """The primary is two datagrams ahead."""
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        each.p(udp(b"first"), udp(b"second"))
    assert theirs.s(udp(b"first")) == []
    assert own.s(udp(b"first")) == [udp(b"first")]
    assert (theirs.requests(), own.requests()) == (1, 0)
    assert theirs.s(udp(b"second")) == [udp(b"second"), udp(b"first")]
    assert own.s(udp(b"second")) == [udp(b"second")]


def test_reorder_grace(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own, impatient = qemu(), ours("--reorder-grace", "5000"), ours("--reorder-grace", "1")
    for each in (theirs, own, impatient):
        each.p(udp(b"first"))
        each.s(udp(b"second"))
    assert (theirs.requests(), own.requests()) == (1, 0)
    assert own.s(udp(b"first")) == [udp(b"first")]
    assert own.p(udp(b"second")) == [udp(b"second")]
    assert own.requests() == 0
    impatient.wait_for_request()


def test_datagram_bytes(qemu: StartQemu, ours: StartOurs) -> None:
    """The secondary leaves the checksum of UDP out, pads, or adds an option to the IP header."""
    said = Datagram(payload=b"question")
    for changed in (
        Datagram(payload=b"question", checksum=False),
        Datagram(payload=b"question", pad=10),
        Datagram(payload=b"question", options=b"\x94\x04\0\0"),
    ):
        theirs, own = qemu(), ours()
        for each in (theirs, own):
            each.p(said.frame(1))
        assert theirs.s(changed.frame(1)) == []
        assert own.s(changed.frame(1)) == [said.frame(1)]
        assert (theirs.requests(), own.requests()) == (1, 0)


def test_other_headers(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    first, second = (Datagram(protocol=GRE, payload=b"tunnel", ident=ident).frame(1) for ident in (1, 2))
    for each in (theirs, own):
        each.p(first)
    assert theirs.s(second) == []
    assert own.s(second) == [first]
    assert (theirs.requests(), own.requests()) == (1, 0)


def test_link_chatter(qemu: StartQemu, ours: StartOurs) -> None:
    report = other(bytes(8), protocol=2, dst="224.0.0.22")
    assert qemu().p(report) == []
    assert ours().p(report) == [report]


def test_connection_key(qemu: StartQemu, ours: StartOurs) -> None:
    """Two pings at a time, answered in either order; VLANs within a provider's; two SCTP associations."""
    theirs, own = qemu(), ours("--reorder-grace", "0")
    one, two = icmp(b"ping", ident=1), icmp(b"ping", ident=2)
    for each in (theirs, own):
        each.p(one)
        assert each.s(two) == []
    assert (theirs.requests(), own.requests()) == (1, 0)
    assert own.s(one) == [one]

    theirs, own = qemu(), ours("--reorder-grace", "0")
    five, six = udp(b"question", vlan=(7, 5)), udp(b"question", vlan=(7, 6))
    for each in (theirs, own):
        each.p(five)
    assert theirs.s(six) == [five]
    assert own.s(six) == []

    theirs, own = qemu(), ours("--reorder-grace", "0")
    for each in (theirs, own):
        each.p(Datagram(connection=0, protocol=SCTP, payload=b"good").frame(1))
        each.s(Datagram(connection=1, protocol=SCTP, payload=b"evil").frame(1))
    assert (theirs.requests(), own.requests()) == (0, 1)


def test_fragments(qemu: StartQemu, ours: StartOurs) -> None:
    """The replicas cut a datagram differently."""
    theirs, own = qemu(), ours()
    datagram = udp_datagram(bytes(range(200)))
    first, second = fragments(datagram, size=128), fragments(datagram, size=64)
    for each in (theirs, own):
        each.p(*first)
    assert theirs.s(*second) == []
    assert own.s(*second) == first
    assert theirs.requests() > 0
    assert own.requests() == 0


def test_unverified(qemu: StartQemu, ours: StartOurs) -> None:
    v6 = {"src": "fd00::2", "dst": "fd00::9"}
    for good, evil in (
        (udp(b"good", **v6), udp(b"evil", **v6)),
        (data(b"good", **v6), data(b"evil", **v6)),
        (udp(b"good", vlan=(5,)), udp(b"evil", vlan=(5,))),
        (data(b"good", vlan=(5,)), data(b"evil", vlan=(5,))),
    ):
        theirs, own = qemu(), ours()
        assert theirs.p(good) == [good]
        assert own.p(good) == []
        for each in (theirs, own):
            assert each.s(evil) == []
        own.wait_for_request()
        assert theirs.requests() == 0


def test_unchecked_lengths(qemu: StartQemu, ours: StartOurs) -> None:
    """An IP total length beyond the frame's end."""
    theirs, own, strict = qemu(), ours(), ours("--malformed", "refuse")
    wrong = udp(b"question")
    wrong = wrong[:16] + struct.pack(">H", 500) + wrong[18:]
    assert theirs.p(wrong) == []
    assert theirs.s(wrong) == [wrong]
    assert own.p(wrong) == [wrong]
    assert strict.p(wrong) == []
    assert strict.s(wrong) == []


def test_vnet_length(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(vnet_hdr=True), ours(vnet_hdr=True)
    ten, twelve = (Unit(bytes(length) + udp(b"question"), length) for length in (10, 12))
    for each in (theirs, own):
        each.feed("p", ten)
    assert theirs.feed("s", twelve) == []
    assert own.feed("s", twelve) == [ten]
    assert (theirs.requests(), own.requests()) == (1, 0)


# Checkpoints


def test_notify_storm(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours("--reorder-grace", "0")
    for each in (theirs, own):
        each.p(udp(b"good"))
        each.s(udp(b"evil"))
        for number in range(5):
            each.p(udp(b"good %d" % number))
            each.s(udp(b"evil %d" % number))
    assert (theirs.requests(), own.requests()) == (11, 1)


def test_retry(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours("--reorder-grace", "0", "--retry-after", "100")
    for each in (theirs, own):
        each.p(udp(b"good"))
        each.s(udp(b"evil"))
    own.wait_for_request(3)
    assert theirs.requests() == 1


def test_healing(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours("--reorder-grace", "0")
    for each in (theirs, own):
        each.p(udp(b"good"))
        each.s(udp(b"evil"))
        assert each.requests() == 1
    assert theirs.s(udp(b"good")) == [udp(b"good")]
    assert own.s(udp(b"good")) == []
    assert own.checkpoint() == [udp(b"good")]


def test_stale_secondary(qemu: StartQemu, ours: StartOurs) -> None:
    """Just before the checkpoint the secondary has said something else; that arrives after it."""
    theirs, own = qemu(), ours("--epoch-grace", "0")
    for each in (theirs, own):
        begin(each)
        each.p(data(b"good"))
        assert each.checkpoint() == [data(b"good")]
        assert each.s(data(b"evil")) == []
        each.p(data(b"more", 1004))
    assert theirs.s(data(b"more", 1004)) == []
    assert own.s(data(b"more", 1004)) == [data(b"more", 1004)]
    assert theirs.requests() > 0
    assert own.requests() == 0


def test_release_order(qemu: StartQemu, ours: StartOurs) -> None:
    """The connection that was there first has its say last."""
    theirs, own = qemu(), ours()
    first, second = data(b"good"), data(b"good", dport=40001)
    datagrams = [udp(b"one"), udp(b"two")]
    for each in (theirs, own):
        begin(each)
        each.p(second, first, *datagrams)
    assert theirs.checkpoint() == [first, second, *reversed(datagrams)]
    assert own.checkpoint() == [second, first, *datagrams]


def test_log_lines(qemu: StartQemu, ours: StartOurs) -> None:
    """A retransmission of the secondary: QEMU finds it in its queue when the primary says something."""
    theirs, own = qemu(trace=True), ours(trace=True)
    line = "colo_compare_main : sec: this packet has compared"
    for each in (theirs, own):
        begin(each)
        each.traced()
        each.s(data(b"okay", 996))
    assert line not in theirs.traced()
    assert line in own.traced()
    for each in (theirs, own):
        each.p(tcp(seq=1000, ack=1))
    assert line in theirs.traced()
    assert line not in own.traced()


# Limits and sockets


def test_lifo_output(qemu: StartQemu, ours: StartOurs) -> None:
    """Nobody reads the output until all is in."""
    theirs, own = qemu(), ours()
    sent = [ethernet(0x88B6, struct.pack(">I", number) + bytes(1400)) for number in range(600)]
    for each in (theirs, own):
        each.send("p", *sent)
    assert own.take(len(sent)) == sent
    came = theirs.take(len(sent))
    assert came != sent
    assert sorted(came) == sent


def test_table_full(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    flows = [udp(b"hello", dport=number % 60000, dst=f"10.1.0.{number // 60000}") for number in range(1, 16500)]
    for each in (theirs, own):
        for at in range(0, len(flows), 500):
            assert each.p(*flows[at : at + 500]) == []
    assert len(theirs.checkpoint()) < 200
    assert own.checkpoint() == flows


def test_queue_overflow(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(max_queue_size=10), ours("--max-queue-size", "10")
    datagrams = [udp(b"number %d" % number) for number in range(500)]
    theirs.p(*datagrams)
    assert len(theirs.checkpoint()) == 11
    assert theirs.requests() == 0
    own.send("p", *datagrams)
    own.send("s", *datagrams)
    assert own.take(len(datagrams)) == datagrams


def test_prefix_release(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(vnet_hdr=True), ours(vnet_hdr=True)
    stream = bytes(range(256)) * 20
    large = Unit(tcp(stream, seq=1000, ack=1, vnet=12, gso=1448), 12)
    for each in (theirs, own):
        begin(each)
        assert each.feed("p", large) == []
    begun = Unit(tcp(stream[:2896], seq=1000, ack=1, vnet=12, gso=1448), 12)
    assert theirs.feed("s", begun) == []
    own.raw("s", own.wire(begun))
    assert own.take(1)[0][54:] == stream[:2896]


def test_zero_length(qemu: StartQemu, ours: StartOurs) -> None:
    theirs, own = qemu(), ours()
    for each in (theirs, own):
        each.raw("p", bytes(4) + b"?")
    assert theirs.ended() == -signal.SIGABRT
    own.reconnect("p")
    assert own.p(udp(b"still")) == []
    assert own.s(udp(b"still")) == [udp(b"still")]


def test_socket_end(qemu: StartQemu, ours: StartOurs) -> None:
    """The secondary's connection ends within a frame; and then after a length that no frame has."""
    theirs, own = qemu(), ours()
    frame = udp(b"question")
    for each in (theirs, own):
        each.p(frame)
        half = ethernet(0x88B6, bytes(50))
        each.raw("s", struct.pack(">I", len(half) + 4 + len(frame)) + half)
        each.reconnect("s")
    assert theirs.s(frame) == []
    assert own.s(frame) == [frame]

    too_long = struct.pack(">I", MAX_FRAME + 1) + bytes(MAX_FRAME + 1)
    with contextlib.suppress(BrokenPipeError):  # it does not read on
        own.raw("s", too_long)
    own.reconnect("s")
    own.p(frame)
    assert own.s(frame) == [frame]
    theirs.raw("s", too_long)
    end = time.monotonic() + PATIENCE
    while "secondary_in error" not in theirs.errors():
        assert time.monotonic() < end
        time.sleep(0.01)
    theirs.reconnect("s")
    assert theirs.stalls("s", arp())
    assert not own.stalls("s", arp())
