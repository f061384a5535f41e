"""The control socket: a command a line, an answer a line, and nothing that brings it down."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.errors import ColoproxyError
from coloproxy.link.loop import Loop
from coloproxy.topology.control import LONGEST, Control
from support.wire import PATIENCE


class Conversation:
    """A control socket that counts how often each command was given, and its peer."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.done: list[str] = []
        self.address = f"unix:{folder}/control"
        commands = {name: self._command(name) for name in ("state", "failover primary")}
        self.control = Control(self.address, self.loop, commands)
        self.control.open()
        self.connect()

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.address.removeprefix("unix:"))
        self.loop.turn(time.monotonic() + PATIENCE)
        self._half = b""

    def _command(self, name: str) -> Any:
        def do() -> Mapping[str, Any] | None:
            self.done.append(name)
            return {"number": len(self.done)} if name == "state" else None

        return do

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.loop.turn(time.monotonic() + 1)

    def answer(self) -> dict[str, Any]:
        while b"\n" not in self._half:
            data = self.sock.recv(4096)
            assert data, "it hung up"
            self._half += data
        line, _, self._half = self._half.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def hung_up(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            return self.sock.recv(1) == b""
        return True

    def close(self) -> None:
        self.sock.close()
        self.control.close()
        self.loop.close()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Conversation]:
    made = Conversation(tmp_path)
    yield made
    made.close()


def test_a_command_is_done_and_answered(talk: Conversation) -> None:
    talk.say(b"state\n")
    assert talk.answer() == {"ok": True, "number": 1}
    talk.say(b"  failover\t primary \r\n")
    assert talk.answer() == {"ok": True}
    assert talk.done == ["state", "failover primary"]


def test_commands_may_come_in_pieces_and_many_at_once(talk: Conversation) -> None:
    for byte in b"state\nfail":
        talk.say(bytes([byte]))
    talk.say(b"over primary\nstate\nstate\n")
    assert [talk.answer()["ok"] for _ in range(4)] == [True] * 4
    assert talk.done == ["state", "failover primary", "state", "state"]


def test_more_commands_at_once_than_one_may_be_long(talk: Conversation) -> None:
    talk.say(b"state\n" * 2000)
    for _ in range(2000):
        talk.loop.turn(0)
    assert [talk.answer()["number"] for _ in range(2000)] == list(range(1, 2001))


@pytest.mark.parametrize("line", [b"", b"stat", b"state primary", b"\xff\xfe\0", "zustand…".encode()])
def test_what_is_no_command_is_answered_with_those_that_are(talk: Conversation, line: bytes) -> None:
    talk.say(line + b"\n")
    answer = talk.answer()
    assert answer["ok"] is False
    assert answer["error"].startswith("there is no command '")
    assert answer["error"].endswith("'; there are state, failover primary")
    talk.say(b"state\n")
    assert talk.answer()["ok"]


def test_a_command_without_end_ends_the_conversation_and_the_next_peer_is_served(talk: Conversation) -> None:
    with contextlib.suppress(OSError):
        for _ in range(10):
            talk.say(b"x" * LONGEST)
    assert talk.answer() == {"ok": False, "error": f"a command has at most {LONGEST} bytes"}
    assert talk.hung_up()
    talk.sock.close()
    talk.connect()
    talk.say(b"state\n")
    assert talk.answer()["ok"]


def test_a_half_command_goes_with_its_peer(talk: Conversation) -> None:
    talk.say(b"failover ")
    talk.sock.close()
    talk.loop.turn(time.monotonic() + 1)
    talk.connect()
    talk.say(b"primary\nstate\n")
    assert talk.answer()["ok"] is False
    assert talk.answer()["ok"] is True
    assert talk.done == ["state"]


def test_who_does_not_read_the_answers_is_left(talk: Conversation) -> None:
    talk.sock.settimeout(1)
    with contextlib.suppress(OSError):
        for _ in range(20000):
            talk.sock.sendall(b"state\n" * 500)
            talk.loop.turn(0)
    talk.sock.settimeout(PATIENCE)
    with contextlib.suppress(ConnectionResetError):
        while talk.sock.recv(1 << 20):
            pass
    talk.sock.close()
    talk.connect()
    talk.say(b"state\n")
    assert talk.answer()["ok"]


@given(garbage=st.lists(st.binary(max_size=300), max_size=10))
def test_any_bytes_leave_it_at_work(garbage: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    talk = Conversation(tmp_path_factory.mktemp("c"))
    try:
        for piece in garbage:
            talk.say(piece) if piece else None
        talk.say(b"\nstate\n")
        while not (answer := talk.answer())["ok"]:
            assert set(answer) == {"ok", "error"}
        assert "number" in answer or answer == {"ok": True}
    finally:
        talk.close()


def test_it_listens_whether_told_to_or_not_and_says_where_it_cannot(tmp_path: Path) -> None:
    loop = Loop()
    with pytest.raises(ColoproxyError) as caught:
        Control("wombat", loop, {})
    assert str(caught.value).startswith("control: address 'wombat': ")
    with pytest.raises(ColoproxyError) as caught:
        Control(f"unix:{tmp_path}/none/control", loop, {}).open()
    assert str(caught.value) == (
        f"control: address 'unix:{tmp_path}/none/control': cannot listen there: No such file or directory."
    )
    control = Control(f"unix:{tmp_path}/control,server", loop, {})
    control.open()
    assert (tmp_path / "control").exists()
    control.close()
    assert not (tmp_path / "control").exists()
    loop.close()
