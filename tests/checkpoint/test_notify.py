"""The notify protocol: its messages at any split, and one request for each need."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.checkpoint.notify import (
    CHECKPOINT,
    DO_CHECKPOINT,
    INIT,
    INIT_REPLY,
    LONGEST,
    Decoder,
    Notifier,
    NotifyError,
)
from support.wire import framed

MESSAGES = st.lists(st.binary(min_size=1, max_size=40), max_size=12)


class Counting:
    """A notifier, and how many checkpoints it heard of."""

    def __init__(self, vnet_hdr: bool = False) -> None:
        self.checkpoints = 0
        self.notifier = Notifier(self.completed, vnet_hdr)

    def completed(self) -> None:
        self.checkpoints += 1

    def sent(self) -> bytes:
        data = self.notifier.unsent
        self.notifier.sent(len(data))
        return data


def test_the_messages_are_those_that_are_documented() -> None:
    assert [len(message) for message in (INIT, INIT_REPLY, CHECKPOINT, DO_CHECKPOINT)] == [25, 25, 15, 13]


@given(MESSAGES, st.booleans(), st.lists(st.integers(0, 500), max_size=8))
def test_messages_come_out_whole_wherever_they_are_cut(messages: list[bytes], vnet_hdr: bool, cuts: list[int]) -> None:
    stream = b"".join(framed(message, 0 if vnet_hdr else None) for message in messages)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder(vnet_hdr)
    assert [message for a, b in pairwise(places) for message in decoder.feed(stream[a:b])] == messages
    assert decoder.forget() == 0


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
def test_any_bytes_are_messages_or_one_kind_of_error(pieces: list[bytes], vnet_hdr: bool) -> None:
    notifier = Counting(vnet_hdr).notifier
    notifier.connected()
    try:
        for piece in pieces:
            notifier.receive(piece)
    except NotifyError:
        pass


@pytest.mark.parametrize("length", [0, LONGEST + 1, 2**32 - 1])
def test_a_length_that_no_message_has_is_an_error(length: int) -> None:
    with pytest.raises(NotifyError, match=str(length)):
        Decoder(False).feed(struct.pack(">I", length))


@pytest.mark.parametrize("vnet_hdr", [False, True])
def test_init_is_answered_without_a_second_word(vnet_hdr: bool) -> None:
    it = Counting(vnet_hdr)
    it.notifier.connected()
    assert it.notifier.receive(framed(INIT, 0 if vnet_hdr else None)) == []
    assert it.sent() == framed(INIT_REPLY)


def test_a_request_goes_out_once_until_it_is_written() -> None:
    it = Counting()
    it.notifier.connected()
    it.notifier.request()
    it.notifier.request()
    assert it.sent() == b"\x00\x00\x00\x0dDO_CHECKPOINT"
    it.notifier.request()
    assert it.sent() == framed(DO_CHECKPOINT)


def test_a_request_without_a_peer_waits_for_the_next() -> None:
    it = Counting()
    it.notifier.request()
    assert it.sent() == b""
    it.notifier.connected()
    assert it.sent() == framed(DO_CHECKPOINT)


def test_a_request_that_was_not_answered_goes_to_the_next_peer_too() -> None:
    it = Counting()
    it.notifier.connected()
    it.notifier.request()
    it.sent()
    it.notifier.lost()
    it.notifier.connected()
    assert it.sent() == framed(DO_CHECKPOINT)
    it.notifier.receive(framed(CHECKPOINT))
    it.notifier.lost()
    it.notifier.connected()
    assert (it.sent(), it.checkpoints) == (b"", 1)


def test_a_checkpoint_takes_back_a_request_that_was_not_written_yet() -> None:
    it = Counting()
    it.notifier.connected()
    it.notifier.request()
    it.notifier.receive(framed(CHECKPOINT))
    assert it.sent() == b""


def test_comparison_is_exact_and_what_is_unknown_is_returned() -> None:
    it = Counting()
    it.notifier.connected()
    odd = [CHECKPOINT + b"\0", CHECKPOINT[:-1], CHECKPOINT.lower(), DO_CHECKPOINT]
    assert it.notifier.receive(b"".join(map(framed, odd))) == odd
    assert it.checkpoints == 0


def test_the_half_of_a_message_is_forgotten_with_its_peer() -> None:
    it = Counting()
    it.notifier.connected()
    it.notifier.receive(framed(CHECKPOINT)[:7])
    assert it.notifier.lost() == 7
    it.notifier.connected()
    it.notifier.receive(framed(CHECKPOINT))
    assert it.checkpoints == 1


def test_a_peer_that_asks_and_never_reads_is_an_error() -> None:
    it = Counting()
    it.notifier.connected()
    with pytest.raises(NotifyError, match="unread"):
        it.notifier.receive(framed(INIT) * 1000)


def test_what_was_said_in_front_of_what_nobody_says_counts() -> None:
    counting = Counting()
    counting.notifier.connected()
    with pytest.raises(NotifyError):
        counting.notifier.receive(framed(CHECKPOINT) + b"GET / HTTP/1.1\r\n")
    assert counting.checkpoints == 1
