"""Buffers come back when nothing refers to their frames any more, and never before."""

from coloproxy.link.arena import KEPT, Arena, Pool


def fill(arena: Arena, data: bytes) -> None:
    arena.space()[: len(data)] = data
    arena.tail += len(data)


def test_a_buffer_returns_to_the_pool_with_its_last_lease() -> None:
    pool = Pool(64)
    lease = pool.take()
    buf, other = lease.buf, lease
    del lease
    assert pool.lent == 1
    del other
    assert pool.lent == 0
    assert pool.take().buf is buf


def test_the_pool_keeps_few_free_buffers() -> None:
    pool = Pool(64)
    leases = [pool.take() for _ in range(3 * KEPT)]
    leases.clear()
    assert pool.lent == 0
    assert len(pool._free) == KEPT


def test_an_arena_begins_its_buffer_again_when_nothing_is_held() -> None:
    arena = Arena(Pool(96), least=32)
    buf = arena.buf
    for n in range(100):
        fill(arena, b"%09d" % n)
        arena.at += 6
        half = bytes(arena.buf[arena.at : arena.tail])
        arena.space()
        assert arena.buf is buf
        assert arena.buf[arena.at : arena.tail] == half
        arena.at = arena.tail


def test_held_frames_stay_untouched_while_reading_goes_on() -> None:
    pool = Pool(96)
    arena = Arena(pool, least=32)
    held = []
    for n in range(50):
        fill(arena, b"%020d" % n)
        held.append((arena.buf, arena.tail - 20, arena.lease, b"%020d" % n))
        arena.at = arena.tail
    assert all(buf[at : at + 20] == text for buf, at, _, text in held)
    assert pool.lent > 10
    held.clear()
    assert pool.lent == 1


def test_a_half_frame_moves_along_to_the_next_buffer() -> None:
    arena = Arena(Pool(96), least=32)
    lease = arena.lease
    fill(arena, b"x" * 30)
    fill(arena, b"y" * 30)
    arena.at = 50
    fill(arena, b"z" * 20)
    assert arena.lease is lease
    arena.space()
    assert arena.lease is not lease
    assert bytes(arena.buf[arena.at : arena.tail]) == b"y" * 10 + b"z" * 20


def test_what_is_forgotten_is_counted_once() -> None:
    arena = Arena(Pool(96), least=32)
    fill(arena, b"abc")
    arena.at = 1
    assert (arena.forget(), arena.forget()) == (2, 0)
