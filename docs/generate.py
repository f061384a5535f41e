"""Writes the pages that the code knows best: `python docs/generate.py`.

docs/events.md, the reference of the events, from the types that make them; docs/reasons.md and docs/reasons, from what
`coloproxy explain` says.
"""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from coloproxy import Comparator, Config, Side
from coloproxy.compare.events import Event
from coloproxy.watch.explanations import explanations, markdown

PAGE = Path(__file__).with_name("events.md")
REASONS = Path(__file__).with_name("reasons")

HEAD = """\
# Events

<!-- Written by `python docs/generate.py`; do not edit. -->

With `--events FILE` (or `--events -` for standard output) a command writes one JSON object a line. Its member `event`
says which of the following it is. The library's `take_events()` returns the same records as Python objects.

The same as JSON Schema: [events.schema.json](events.schema.json), which is what `coloproxy compare --events-schema`
prints. Both are made from the types in `coloproxy.compare.events`.

- Every member is always there, except that [endpoints](#endpoints) leave out what they do not have.
- Times are seconds on the comparator's clock, which is monotonic and has no date. Only differences mean something.
- Bytes are hexadecimal text.
- Members may be added in later versions.

A byte that differs, and the checkpoint that heals it; each is one line in the file:

"""

# What a member says, wherever it occurs; "event.member" where one says something else.
MEANING = {
    "time": "When it happened.",
    "epoch": "How many checkpoints had completed.",
    "checkpoint_completed.epoch": "How many checkpoints have completed, with this one.",
    "reason": "Why: see [reasons](reasons.md).",
    "frame_refused.reason": "`frame_length`, the kind of malformation, or the rule's name.",
    "peer_lost.reason": "What the operating system or the protocol says.",
    "connection": "Which connection; null where it concerns none in particular.",
    "connection_evicted.connection": "Which connection.",
    "connection state.connection": "Which connection.",
    "detail": "In words.",
    "rule": "The rule that had the connection compared; `default` where none of them matched.",
    "seq": "TCP: the primary's sequence number of the first differing place.",
    "stream_offset": "TCP: how many bytes of the stream are in front of that place, counted from the first one seen.",
    "primary": "Up to 64 bytes of the primary's payload around that place.",
    "secondary": "The same of the secondary's.",
    "accounting.primary": "Where the primary's frames ended.",
    "accounting.secondary": "Where the secondary's frames ended.",
    "context_offset": "How many of these bytes are in front of that place.",
    "held_primary": "What waits of the primary's, on this connection.",
    "held_secondary": "What waits of the secondary's, on this connection.",
    "reasons": "How many divergences wait for this checkpoint, by reason.",
    "attempt": "1, and more when it is asked for again.",
    "released_frames": "How many of the primary's held frames left.",
    "checkpoint_completed.dropped_frames": "How many of the secondary's held frames were dropped.",
    "failed_over.dropped_frames": "How many of the primary's held frames were dropped.",
    "connection_evicted.dropped_frames": "How many of the secondary's held frames were dropped with it.",
    "took": "Seconds since it was asked for; null if it was not.",
    "survivor": "`primary` or `secondary`.",
    "idle": "Seconds since its last frame.",
    "side": "`primary` or `secondary`; of a socket's framing in a topology, the port's name.",
    "length": "Bytes of the frame, or the length that was announced.",
    "role": "`primary_in`, `secondary_in`, `outdev` or `notify_dev`; in a topology the port's name, or `notify_dev`.",
    "address": "The socket's address as it was given.",
    "connections": "How many peers this socket has had.",
    "state.connections": "At most 1000 of them, those that hold frames first.",
    "summary.connections": "Connections known at the end.",
    "forgotten_bytes": "Bytes of a half-read frame that went with the peer.",
    "text": "What is odd.",
    "guest_ring_broken.text": "What is wrong with it.",
    "port": "The port's name.",
    "ring": "`receive ring` or `transmit ring`, as the guest sees it.",
    "unsaid": "How many warnings of this port were left out before, for more than one a second is too many.",
    "checkpoint_pending": "Whether one is needed that has not been made.",
    "connection_count": "Connections known.",
    "accounting": "Where all frames are.",
    "refused_lengths": "Connections closed because of an impossible frame length, by socket.",
    "outdev_bytes": "Bytes that left through the output socket, framing included.",
    "unsent_bytes": "Bytes released that its reader did not take.",
    "protocol": "`tcp`, `udp`, `icmp`, `icmpv6`, `ip protocol N` or `ethertype 0xN`.",
    "source": "The replica's address.",
    "destination": "Its client's address.",
    "source_port": "The replica's port.",
    "destination_port": "Its client's port.",
    "identifier": "The identifier of an ICMP echo.",
    "vlan": "VLAN tags, the outermost first.",
    "frames": "How many frames.",
    "bytes": "How many bytes, virtio-net headers included.",
    "oldest_age": "Seconds for which the oldest has waited.",
    "received": "All that came.",
    "released": "Left after comparison, or because of a checkpoint.",
    "passed": "Left without comparison: by rule, malformed, or with only one replica alive.",
    "held": "Waiting.",
    "dropped": "Done with: the secondary's, compared; what a failover or a cut drops.",
    "refused": "Not taken.",
    "made": "Frames the comparator made: parts of large ones, acknowledgements sent later.",
    "clamped": "Released frames whose acknowledgement was lowered.",
    "checkpoints_requested": "Requests sent, repetitions included.",
    "checkpoints_completed": "Checkpoints completed.",
    "connections_opened": "Connections seen.",
    "connections_evicted": "Connections forgotten because the table was full.",
    "verified_bytes": "Bytes of payload found equal.",
    "malformed": "Malformed frames, by kind.",
    "divergences": "Divergences, by reason.",
    "waits": "For how long the primary's frames were held: how many for up to 64 microseconds, for up to twice as long,"
    " and so on, the last for longer. Those that left at once are not in it. Empty where that is not measured.",
    "waited": "The sum of these times, in seconds.",
    "verified": "TCP: the sequence number up to which both agree.",
    "unprotected": "Whether it has diverged and passes uncompared since.",
    "name": "The topology's name.",
    "ports": "The ports' names.",
    "topology_state.ports": "Each port's account.",
    "topology_summary.ports": "Each port's account.",
    "elements": "What each element counts, by name.",
    "cpu_seconds": "Processor time that the process used, in seconds.",
    "port account.received": "What came in from outside.",
    "sent": "What went out.",
    "port account.dropped": "What found no room, or nobody to take it.",
    "pending": "Bytes that wait to go out.",
    "guest": "The guest's name.",
    "host": "The host's name.",
    "before": "The state that it was in.",
    "after": "The state that it is in.",
    "happened": "The event that brought it there.",
    "agent_changed.detail": "More about that.",
    "transferred": "Bytes sent so far.",
    "remaining": "Bytes yet to be sent.",
    "what": "What is copied: `disk` or `memory`.",
    "total": "Bytes of it.",
    "number": "Which checkpoint of this pair it is, counted from 1.",
    "asked": "How often each reason asked for it.",
    "guest_checkpoint.took": "Seconds from the first request until the primary ran again.",
    "paused": "Seconds for which the primary stood still.",
    "taken_over.role": "What it was before: `primary` or `secondary`.",
    "why": "Why the other side counted as lost.",
    "generation": "Of the lease: one more with each change.",
    "steps": "Seconds from the loss, by what was done then.",
    "diverged": "The reason for which it waits for a checkpoint; null if it does not.",
}

PLAIN = {
    inspect.IntType: "integer", inspect.FloatType: "number", inspect.StrType: "text", inspect.BoolType: "boolean",
    inspect.NoneType: "null",
}  # fmt: skip


def tcp(seq: int, data: bytes) -> bytes:
    """A frame of a TCP stream."""
    addresses = socket.inet_aton("10.0.0.2") + socket.inet_aton("10.0.0.9")
    ip = struct.pack("!BxHxxxxBB2x", 0x45, 40 + len(data), 64, 6) + addresses
    return bytes(12) + b"\x08\x00" + ip + struct.pack("!HHIIBBH4x", 80, 4711, seq, 1, 0x50, 0x18, 65535) + data


def example() -> Iterator[Event]:
    """A divergence, the request for a checkpoint because of it, and its completion."""
    comparator = Comparator(Config(), now=0.0)
    comparator.receive(Side.PRIMARY, tcp(1000, b"the same, then this"), now=0.001)
    comparator.receive(Side.SECONDARY, tcp(1000, b"the same, then that"), now=0.002)
    comparator.checkpoint_completed(now=0.25)
    yield from comparator.take_events()


def kind(of: Any) -> str:
    """A type in words."""
    if isinstance(of, inspect.UnionType):
        return " or ".join(kind(each) for each in of.types)
    if isinstance(of, inspect.StructType):
        return f"[{title(of)}](#{title(of).replace(' ', '-')})"
    if isinstance(of, inspect.EnumType):
        return "[reason](reasons.md)"
    if isinstance(of, inspect.ListType):
        return f"list of {kind(of.item_type)}"
    if isinstance(of, inspect.VarTupleType):
        return f"list of {kind(of.item_type)}"
    if isinstance(of, inspect.DictType):
        return f"{kind(of.value_type)} by {kind(of.key_type)}"
    return PLAIN[type(of)]


def title(of: inspect.StructType) -> str:
    """What the page calls a record: the event's name, or the type's in small letters."""
    return str(of.tag or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", of.cls.__name__).lower())


def meaning(of: inspect.StructType, member: str) -> str:
    """What a member says; nothing, where what the record says of itself must do."""
    return MEANING.get(f"{title(of)}.{member}") or MEANING.get(member, "")


def section(of: inspect.StructType) -> str:
    """A heading, what the type says of itself, and a table of its members."""
    text = " ".join((of.cls.__doc__ or "").split())
    rows = [f"| `{f.encode_name}` | {kind(f.type)} | {meaning(of, f.encode_name)} |" for f in of.fields]
    return "\n".join([f"## {title(of)}\n", f"{text}\n", "| member | type | |", "|---|---|---|", *rows, ""])


def parts(of: Any) -> Iterator[inspect.StructType]:
    """The records within a type, itself not included, outermost first."""
    for name in ("types", "fields", "item_type", "value_type", "type"):
        inner = getattr(of, name, ())
        for each in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(each, inspect.StructType):
                yield each
            yield from parts(each)


def page() -> str:
    """The page."""
    divergence, _, completed = (msgspec.json.format(msgspec.json.encode(event)).decode() for event in example())
    examples = "".join(f"```json\n{each}\n```\n\n" for each in (divergence, completed))
    union = inspect.type_info(Event)
    assert isinstance(union, inspect.UnionType)
    found = [each for each in union.types if isinstance(each, inspect.StructType)] + list(parts(union))
    records = {each.cls: each for each in found}
    return HEAD + examples + "\n".join(map(section, records.values()))


REASONS_HEAD = """\
# Reasons

<!-- Written by `python docs/generate.py`; do not edit. -->

Every divergence has one reason. It is in the events [`divergence`](events.md#divergence) and
[`checkpoint_requested`](events.md#checkpoint_requested), in the name of the evidence file, and in the table of the
`summary`. Each has a page: what it means, what usually causes it, and what to do if it comes often. `coloproxy explain
REASON` prints the same, and the [live page](watch.md) shows it beside each divergence.

A divergence now and then is what checkpoints are for. One on every connection, at the same offset, has a cause that can
be removed.

| reason | |
|---|---|
"""


def reasons() -> Iterator[tuple[Path, str]]:
    """The pages of the reasons, and the one that lists them."""
    rows = [f"| [{told.reason}](reasons/{told.reason}.md) | {told.short} |\n" for told in explanations().values()]
    yield REASONS.with_suffix(".md"), REASONS_HEAD + "".join(rows)
    for told in explanations().values():
        yield REASONS / f"{told.reason}.md", markdown(told)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    REASONS.mkdir(exist_ok=True)
    for file, text in reasons():
        file.write_text(text, "utf-8")
