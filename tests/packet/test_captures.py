"""Real traffic, with tshark as witness of what each frame says."""

import ipaddress
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from coloproxy.packet.parse import Kind, Malformed, Packet, parse

OF_FRAMES = ["frame.cap_len", "frame.len", "frame.encap_type", "eth.type", "vlan.id"]
OF_IP = ["ip.src", "ip.dst", "ip.proto", "ipv6.src", "ipv6.dst"]
OF_TCP = ["srcport", "dstport", "seq_raw", "ack_raw", "window_size_value", "len", "hdr_len"]
NUMBERS = {
    Kind.TCP: [f"tcp.{name}" for name in OF_TCP],
    Kind.UDP: ["udp.srcport", "udp.dstport", "udp.length"],
}
OF_ICMP = ["icmp.type", "icmp.ident", "icmpv6.type", "icmpv6.echo.identifier"]
FIELDS = [*OF_FRAMES, *OF_IP, "tcp.flags", *NUMBERS[Kind.TCP], *NUMBERS[Kind.UDP], *OF_ICMP]
# What these captures hold that is wrong indeed: tshark says so of the lengths, too; the fragment's datagram is, with
# the header in front of it, longer than 65535 bytes (RFC 8200, 4.5: to be discarded).
WRONG = {
    "ipv6-reassembly-state-leak.pcap": {"fragment_end": 2},
    "modbus-fuzz-72.pcap": {"ipv4_total_length": 2},
    "tcp-reassembly.pcap": {"ipv4_total_length": 5},
}
ETHERNET = "1"  # Wireshark's number for the encapsulation


def witnessed(path: Path) -> list[dict[str, list[str]]]:
    """What tshark says of each frame: the values of each field, the outermost header's first."""
    command = ["tshark", "-n", "-r", str(path), "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    command += ["-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,"]
    for name in FIELDS:
        command += ["-e", name]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        {name: value.split(",") for name, value in zip(FIELDS, line.split("|"), strict=True) if value} for line in told
    ]


def ours(p: Packet) -> list[int]:
    if p.kind == Kind.TCP:
        return [p.sport, p.dport, p.seq, p.ack, p.window, p.payload_end - p.payload, p.payload - p.l4]
    return [p.sport, p.dport, p.payload_end - p.l4]


def agrees(p: Packet, told: dict[str, list[str]]) -> None:
    assert list(p.vlan) == [int(tag, 0) for tag in told.get("vlan.id", [])[: len(p.vlan)]]
    if p.version == 0:
        assert p.ethertype not in (0x0800, 0x86DD)
        return
    family = "ip" if p.version == 4 else "ipv6"
    assert [str(ipaddress.ip_address(a)) for a in (p.src, p.dst)] == [told[family + end][0] for end in (".src", ".dst")]
    if p.version == 4:
        assert p.protocol == int(told["ip.proto"][0])
    if p.kind in NUMBERS:
        assert ours(p) == [int(told[name][0], 0) for name in NUMBERS[p.kind]]
    if p.kind == Kind.TCP:
        assert p.flags == int(told["tcp.flags"][0], 0) & 0xFF
    if p.kind == Kind.ICMP:
        assert "icmp.type" in told
        assert p.ident == (int(told["icmp.ident"][0], 0) if told["icmp.type"][0] in ("0", "8") else 0)
    if p.kind == Kind.ICMPV6:
        assert p.ident == int(told.get("icmpv6.echo.identifier", ["0"])[0], 0)


@pytest.mark.witness
def test_every_whole_frame_is_read_as_tshark_reads_it(captures: Path) -> None:
    seen: Counter[Kind] = Counter()
    wrong: dict[str, Counter[str]] = {}
    for path in sorted(captures.glob("*.pcap*")):
        with RawPcapReader(str(path)) as reader:
            frames = [bytes(data) for data, _ in reader]
        for number, (frame, told) in enumerate(zip(frames, witnessed(path), strict=True), 1):
            if told["frame.encap_type"] != [ETHERNET]:
                continue
            cut = told["frame.cap_len"] != told["frame.len"]
            try:
                p = parse(frame, 0, len(frame))
            except Malformed as malformed:
                if not cut:
                    wrong.setdefault(path.name, Counter())[malformed.reason] += 1
                continue
            seen[p.kind] += 1
            try:
                agrees(p, told)
            except (AssertionError, KeyError) as other:
                raise AssertionError(f"{path.name}, frame {number}: {p} {told}") from other
    assert wrong == WRONG
    assert set(seen) == set(Kind)


def test_no_real_frame_however_cut_leads_outside(captures: Path) -> None:
    for path in sorted(captures.glob("*.pcap*")):
        with RawPcapReader(str(path)) as reader:
            frames = [bytes(data) for data, _ in reader][:50]
        for frame in frames:
            for size in range(min(len(frame), 130)):
                short = frame[:size]
                try:
                    p = parse(short, 0, size)
                except Malformed:
                    continue
                assert p.l3 <= p.end
                assert p.payload <= p.payload_end <= p.end
