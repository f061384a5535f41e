"""Every reason for which coloproxy does something else than QEMU on the same input: the one list there is.

Each has a test in test_reasons.py that shows both. `python tests/qemu/reasons.py` writes docs/qemu-differences.md.
"""

from enum import Enum
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "qemu-differences.md"


class Difference(NamedTuple):
    """What differs in a few words, and in sentences what QEMU does, what coloproxy does, and why."""

    title: str
    qemu: str
    coloproxy: str
    why: str


class Reason(Enum):
    """Grouped as on the page (`GROUPS`)."""

    # Streams

    STREAM_POSITION = Difference(
        "Bytes are compared wherever they stand",
        "compares the first unverified bytes of both sides without looking at their sequence numbers. When a segment "
        "of the secondary is late or lost, it compares the next one in its place and asks for a checkpoint; when the "
        "bytes happen to be alike, it releases what the secondary never sent.",
        "compares bytes at the same place of the stream, and waits for those that are missing.",
        "Loss and reordering between the replicas are ordinary.",
    )
    ACK_RULE = Difference(
        "Acknowledgements of what only the primary has",
        "asks for a checkpoint when the primary acknowledges more than the secondary, if the primary's segment is the "
        "shorter one; if both segments are the same, it releases the acknowledgement as it is.",
        "lowers the acknowledgement to what both have, tells the client the rest when the secondary catches up, and "
        "asks it for what the secondary alone lost (`ack-rule = clamp`), or keeps the frame until then (`hold`). "
        "Neither is a divergence.",
        "The client must not discard bytes that the secondary still needs; a checkpoint for this is one too many.",
    )
    PURE_ACK = Difference(
        "What needs no comparison waits all the same",
        "holds acknowledgements without data, retransmissions and window updates of the primary until any packet of "
        "the secondary of this connection is queued, and behind bytes that wait.",
        "lets them go at once, unless they acknowledge more than the secondary has.",
        "A client that waits for a window update or an acknowledgement should not wait for the secondary.",
    )
    IDLE_ACK = Difference(
        "Acknowledgements of the secondary alone",
        "asks for a checkpoint when an acknowledgement of the secondary has found no segment of the primary within "
        "`compare_timeout`.",
        "remembers what it acknowledges, and drops it.",
        "Replicas acknowledge at different times; one more acknowledgement is no divergence.",
    )
    CONTROL_FLAGS = Difference(
        "SYN, FIN and RST of one side only",
        "takes a segment without data for equal to any other: the primary's SYN, FIN or RST leaves as soon as the "
        "secondary has sent anything.",
        "releases it when the secondary has sent the same at the same place. If it does not, within "
        "`compare_timeout`, that is a divergence.",
        "A connection that only one replica has closed differs as much as one whose bytes do.",
    )
    SYN_OPTIONS = Difference(
        "The options of a SYN",
        "does not look at them.",
        "asks for a checkpoint when the two differ in maximum segment size, window scale, SACK or timestamps. A rule "
        "can ignore that.",
        "They hold for the life of the connection, and the client would keep to the primary's after a failover.",
    )
    NEW_CONNECTION = Difference(
        "A new connection on the same ports",
        "keeps its mark of what has been compared for ever. When a client reuses its port and the new sequence "
        "numbers are below the mark, all of the new connection leaves without being compared.",
        "begins anew with each SYN that has another number.",
        "The promise holds for every connection.",
    )
    PADDING = Difference(
        "Padding is taken for data",
        "takes the zeros with which a short Ethernet frame is filled up to 60 bytes for payload. Two padded "
        "acknowledgements are \"compared\", and up to six bytes of data behind them leave unverified.",
        "goes by the IP total length.",
        "Many network cards pad.",
    )
    ZERO_MARK = Difference(
        "A stream whose sequence numbers end at zero",
        "takes the number 0 for \"nothing compared yet\". Where verified bytes end just there, it compares a "
        "retransmission of them with what follows, and asks for a checkpoint.",
        "gives 0 no meaning.",
        "It is a sequence number like any other.",
    )
    CONTRADICTION = Difference(
        "A replica that contradicts itself",
        "compares what a replica sent first for a place, and releases what it sends later for the same place without "
        "comparing it.",
        "asks for a checkpoint as soon as one side says different bytes for one place.",
        "No byte leaves that only one replica has said.",
    )
    BEGINNING = Difference(
        "Connections that were there before",
        "compares the lowest segments that happen to be in its queues.",
        "begins at the first place that the primary sends; what lies before it counts as verified.",
        "There is no telling what was sent before the proxy was there.",
    )

    # Datagrams

    NEWEST_FIRST = Difference(
        "The newest datagram first",
        "looks for a partner for the primary's newest datagram first (since 7.0). When the primary is two datagrams "
        "ahead, it asks for a checkpoint although both are on their way, and releases them in reverse.",
        "begins with the oldest, and keeps the order.",
        "Replicas are seldom in step.",
    )
    REORDER_GRACE = Difference(
        "Datagrams in another order",
        "asks for a checkpoint at once when the two sides have different datagrams.",
        "waits a moment (`reorder-grace`, 10 ms) for the partner.",
        "Two threads of a guest may send in either order.",
    )
    DATAGRAM_BYTES = Difference(
        "Checksums, padding and IP options of datagrams",
        "compares the length of the frame and all that follows the IP header: checksum and padding too.",
        "compares the payload of UDP by its length, and ICMP without its checksum.",
        "A checksum follows from the rest, or is left to the network card by one replica and not by the other.",
    )
    OTHER_HEADERS = Difference(
        "Other IP protocols",
        "compares the whole frame, with MAC addresses and the IP header. The IP identification differs between "
        "replicas, so GRE, SCTP or ESP never match.",
        "compares the IP payload.",
        "Otherwise each of their packets costs a checkpoint.",
    )
    LINK_CHATTER = Difference(
        "Group membership reports",
        "compares IGMP like any other protocol.",
        "lets the primary's pass, as it does with all that concerns only the link. A rule can change that.",
        "They are answers to queries and timers, not output of the work.",
    )
    CONNECTION_KEY = Difference(
        "What belongs together",
        "keeps all ICMP between two hosts in one queue, tells SCTP and ESP flows apart by their first four bytes, and "
        "pays no attention to outer VLAN tags.",
        "tells ICMP echoes apart by their identifier and connections by their VLAN tags.",
        "Two pings at a time are no divergence.",
    )
    FRAGMENTS = Difference(
        "IP fragments",
        "takes each fragment for a packet, and bytes of the payload for ports.",
        "puts the fragments together, compares the datagrams, and releases the primary's fragments as they came.",
        "Replicas may fragment differently, as they may segment.",
    )
    UNVERIFIED = Difference(
        "IPv6 and VLANs",
        "releases every IPv6 and 802.1Q frame of the primary at once, uncompared.",
        "compares them like IPv4. Only what is not IP passes.",
        "The promise holds for them too.",
    )
    UNCHECKED_LENGTHS = Difference(
        "Frames that are not what they say",
        "does not check the lengths in IP, TCP and UDP headers, and reads beyond the frame.",
        "checks them all. What is malformed passes from the primary and is counted, or is refused "
        "(`malformed = refuse`).",
        "Nothing that a guest sends may harm the proxy.",
    )
    VNET_LENGTH = Difference(
        "virtio-net headers of different lengths",
        "counts the header's length as part of a datagram's, and takes the primary's for both.",
        "leaves each side its own.",
        "The header is not output: it says how to send it.",
    )

    # Checkpoints

    NOTIFY_STORM = Difference(
        "One request or many",
        "asks for a checkpoint again with every packet that arrives on a connection that differs, and with every "
        "scan while an old packet is there.",
        "asks once, and lists in that request what else differs until it is answered.",
        "One checkpoint is enough.",
    )
    RETRY = Difference(
        "A request that nobody answers",
        "is silent until the next packet or scan.",
        "asks again after `retry-after` (5 s).",
        "Whoever makes checkpoints may have been restarted.",
    )
    HEALING = Difference(
        "A difference that goes away",
        "releases a datagram when its partner comes after all, though it has asked for a checkpoint.",
        "holds everything of that connection until the checkpoint.",
        "The replicas have differed; only a checkpoint makes them equal.",
    )
    STALE_SECONDARY = Difference(
        "What the secondary sent before a checkpoint",
        "compares it with what the primary sends afterwards, and asks for the next checkpoint.",
        "drops what was sent before the checkpoint for places that are behind it, and for a moment (`epoch-grace`) "
        "takes nothing that differs for a divergence.",
        "One checkpoint would lead to the next.",
    )
    RELEASE_ORDER = Difference(
        "The order in which a checkpoint releases",
        "releases connection by connection, streams by sequence number, other packets newest first. Frames of a stream "
        "that are set free together leave by sequence number too.",
        "releases in the order in which the frames came.",
        "Only the primary's order is known to be possible.",
    )

    LOG_LINES = Difference(
        "Log lines",
        "writes a line for every comparison it makes, also of bytes that were said twice, and for what it finds in "
        "its queue when something else arrives.",
        "writes the same lines, with the same values, for what it compares: each place of a stream once. "
        "`sec: this packet has compared` is written when the packet arrives.",
        "A log says what was done.",
    )

    # Limits and sockets

    LIFO_OUTPUT = Difference(
        "A slow reader of the output",
        "lets later frames overtake earlier ones when the reader of `outdev` is slow (since 7.0), and keeps all that "
        "waits for it in memory.",
        "writes in order, and stops reading its inputs when 4 MiB wait.",
        "Reordering costs the client's TCP its speed.",
    )
    TABLE_FULL = Difference(
        "Many connections",
        "forgets all connections when there are more than 16385, with every frame that they hold, unsent.",
        "forgets those that are closed or have been idle longest (`max-connections`), and none that holds a frame of "
        "the primary.",
        "A port scan must not disturb anyone else.",
    )
    QUEUE_OVERFLOW = Difference(
        "Queues that are full",
        "drops frames beyond `max_queue_size` without a word, the primary's too.",
        "stops reading that side until there is room. When neither side can be read, it asks for a checkpoint.",
        "Nothing of the primary's is ever lost.",
    )
    PREFIX_RELEASE = Difference(
        "Large frames",
        "holds a frame until the secondary has sent all of it.",
        "releases the verified beginning of a large frame (TCP segmentation offload) as a frame of its own.",
        "The secondary may be unable to send the rest before the client acknowledges the beginning.",
    )
    ZERO_LENGTH = Difference(
        "A frame without bytes",
        "aborts: the virtual machine is gone.",
        "closes that connection, reports it, and lets the peer connect again.",
        "Whoever reaches the port must not be able to end the guest.",
    )
    SOCKET_END = Difference(
        "Connections that break",
        "glues the half frame that was there to the first bytes of the next connection; after a length beyond 69632 "
        "it never reads that socket again.",
        "forgets the half frame, and takes any number of new connections.",
        "A secondary that comes back must be heard.",
    )


GROUPS: dict[str, Reason] = {  # heading: the first reason under it
    "Streams": Reason.STREAM_POSITION,
    "Datagrams and everything else": Reason.NEWEST_FIRST,
    "Checkpoints": Reason.NOTIFY_STORM,
    "Limits and sockets": Reason.LIFO_OUTPUT,
}

HEAD = """\
# How coloproxy differs from QEMU

<!-- Written by `python tests/qemu/reasons.py`; do not edit. -->

[`coloproxy compare`](compare.md) takes the place of QEMU's `colo-compare`. On the same input it lets the same frames go
and asks for checkpoints in the same cases, except for what is listed here. What is not listed is tested to be equal:
both are fed the same generated plays, and every difference must have one of these reasons. Each reason has a test that
shows both sides, with QEMU 7.2. Most hold for all releases of QEMU from 7.2 on; where a defect is known to have come
later than `colo-compare` itself, the release is named.

To come as close to QEMU as can be, for instance to compare logs:

```sh
coloproxy compare --config replicas.toml --ack-rule hold --no-prefix-release --reorder-grace 0 --epoch-grace 0
```
"""


def page() -> str:
    """The page of the documentation."""
    headings = {reason: heading for heading, reason in GROUPS.items()}
    parts = [HEAD]
    for reason in Reason:
        if reason in headings:
            parts.append(f"\n## {headings[reason]}\n")
        title, qemu, coloproxy, why = reason.value
        paragraphs = f"**QEMU** {qemu}", f"**coloproxy** {coloproxy}", why
        parts += [f"\n### {title}\n", *(f"\n{fill(text, 120, break_on_hyphens=False)}\n" for text in paragraphs)]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
