"""The Internet checksum against its definition, word by word."""

from hypothesis import given
from hypothesis import strategies as st

from coloproxy.packet.checksum import internet_checksum, ones_sum, pseudo_header_sum, update
from support.frames import CLIENT, CLIENT6, REPLICA, REPLICA6, address, ones, pseudo

WORDS = st.binary(max_size=80).map(lambda data: data[: len(data) // 2 * 2])
HEADED = WORDS.map(lambda data: b"\x45\0" + data)  # never all zero, as no pseudo-header is: zero has two checksums


def test_the_example_of_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@given(st.binary(max_size=200), st.integers(0, 0xFFFF))
def test_the_sum_is_that_of_the_words(data: bytes, initial: int) -> None:
    assert ones_sum(data) == ones(data)
    padded = data + b"\0" * (len(data) % 2)
    assert internet_checksum(data, initial) == ~ones(padded + initial.to_bytes(2)) & 0xFFFF


@given(WORDS)
def test_data_with_their_checksum_sum_to_zero(data: bytes) -> None:
    assert internet_checksum(data + internet_checksum(data).to_bytes(2)) == 0


@given(HEADED, st.integers(1, 5), st.data())
def test_an_update_gives_a_checksum_that_holds(rest: bytes, words: int, data: st.DataObject) -> None:
    old, new = (data.draw(st.binary(min_size=2 * words, max_size=2 * words)) for _ in range(2))
    held = internet_checksum(rest + old)
    changed = update(held, old, new)
    assert internet_checksum(rest + new + changed.to_bytes(2)) == 0


@given(HEADED, st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4), st.integers(1, 0xFFFE))
def test_an_update_leaves_a_wrong_checksum_wrong(rest: bytes, old: bytes, new: bytes, error: int) -> None:
    wrong = (internet_checksum(rest + old) + error) & 0xFFFF
    was_wrong = internet_checksum(rest + old + wrong.to_bytes(2)) != 0
    changed = update(wrong, old, new)
    assert (internet_checksum(rest + new + changed.to_bytes(2)) != 0) == was_wrong


@given(st.integers(0, 69632))
def test_the_pseudo_header_is_that_of_either_version(length: int) -> None:
    for source, destination in ((REPLICA, CLIENT), (REPLICA6, CLIENT6)):
        head = pseudo(source, destination, 6, length)
        assert pseudo_header_sum(address(source), address(destination), 6, length) == ones(head)
