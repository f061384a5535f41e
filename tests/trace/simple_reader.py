"""A reader of QEMU's binary trace files, version 4, written from the description of the format alone.

    header   u64 all ones, u64 0xf2b177cb0aa429b4, u64 4; all in the byte order of the writing host
    record   u64 type: 0 mapping, 1 event
    mapping  u64 event id, u32 length, name
    event    u64 event id, u64 ns, u32 length of the record from its id on, u32 pid, arguments: u64, or u32 + bytes
    dropped  an event whose id is all ones minus 1; its argument is how many
"""

import struct
from dataclasses import dataclass


@dataclass
class Record:
    name: str
    time: int
    pid: int
    arguments: list[int | bytes]


def read(data: bytes, texts: dict[str, list[bool]]) -> list[Record]:
    """The records of a file; `texts` says of each event which of its arguments are texts."""
    assert struct.unpack_from("=QQQ", data) == (0xFFFFFFFFFFFFFFFF, 0xF2B177CB0AA429B4, 4)
    at = 24
    names: dict[int, str] = {0xFFFFFFFFFFFFFFFE: "dropped"}
    records = []
    while at < len(data):
        (kind,) = struct.unpack_from("=Q", data, at)
        at += 8
        if kind == 0:
            number, size = struct.unpack_from("=QI", data, at)
            assert number not in names
            names[number] = data[at + 12 : at + 12 + size].decode("ascii")
            at += 12 + size
            continue
        assert kind == 1
        number, time, length, pid = struct.unpack_from("=QQII", data, at)
        end = at + length
        at += 24
        arguments: list[int | bytes] = []
        for is_text in texts.get(names[number], [False]):
            if is_text:
                (size,) = struct.unpack_from("=I", data, at)
                text = data[at + 4 : at + 4 + size]
                assert len(text) == size <= 512
                arguments.append(text)
                at += 4 + size
            else:
                arguments += struct.unpack_from("=Q", data, at)
                at += 8
        assert at == end <= len(data)
        records.append(Record(names[number], time, pid, arguments))
    return records
