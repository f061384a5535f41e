"""When a checkpoint is asked for, again, and given up."""

from coloproxy.checkpoint.driver import AGAIN, Driver, Order


def driver(max_interval: float | None = None, min_interval: float = 0.0) -> Driver:
    return Driver(0.0, min_interval=min_interval, max_interval=max_interval, timeout=3.0)


def test_nobody_asks_for_what_nobody_wants() -> None:
    made = driver()
    assert made.deadline() is None
    assert made.tick(1e6) is None


def test_what_is_wanted_is_asked_for_at_once() -> None:
    made = driver()
    made.want("tcp_payload", 1.0)
    assert made.tick(1.0) is Order.ASK


def test_a_request_that_began_nothing_is_repeated() -> None:
    made = driver()
    made.want("tcp_payload", 1.0)
    made.tick(1.0)
    assert made.tick(1.0 + AGAIN / 2) is None
    assert made.tick(1.0 + AGAIN) is Order.ASK


def test_a_request_is_awaited_until_the_guest_stops() -> None:
    made = driver()
    made.want("first", 1.0)
    assert not made.awaited
    made.tick(1.0)
    assert made.awaited
    made.began(1.01)
    assert not made.awaited
    made.completed(1.02)
    assert not made.awaited


def test_what_is_wanted_during_a_checkpoint_is_asked_for_after_it() -> None:
    made = driver()
    made.want("first", 1.0)
    made.tick(1.0)
    made.began(1.01)
    made.want("later", 1.02)
    assert made.tick(1.02) is None
    assert made.completed(1.03).reasons == {"first": 1}
    assert made.tick(1.03) is Order.ASK
    made.began(1.04)
    assert made.completed(1.05).reasons == {"later": 1}
    assert made.deadline() is None


def test_requests_are_no_closer_than_the_least_interval() -> None:
    made = driver(min_interval=0.5)
    made.want("a", 1.0)
    made.tick(1.0)
    made.began(1.0)
    made.completed(1.1)
    made.want("b", 1.2)
    assert made.tick(1.2) is None
    assert made.deadline() == 1.6
    assert made.tick(1.6) is Order.ASK


def test_after_the_most_interval_one_is_made_that_nobody_asked_for() -> None:
    made = driver(max_interval=10.0)
    assert made.deadline() == 10.0
    assert made.tick(9.9) is None
    assert made.tick(10.0) is Order.ASK
    made.began(10.1)
    assert made.completed(10.2).reasons == {"max_interval": 1}
    assert made.deadline() == 20.2


def test_one_that_takes_too_long_is_given_up() -> None:
    made = driver()
    made.want("a", 1.0)
    made.tick(1.0)
    made.began(1.1)
    assert made.tick(3.9) is None
    assert made.tick(4.0) is Order.GIVE_UP


def test_one_that_never_begins_is_given_up_too() -> None:
    made = driver()
    made.want("a", 1.0)
    now, orders = 1.0, []
    while now <= 4.05:
        orders.append(made.tick(now))
        now += 0.05
    assert orders[-1] is Order.GIVE_UP
    assert orders.count(Order.ASK) > 5


def test_times_are_from_the_first_request_and_from_the_stop() -> None:
    made = driver()
    made.want("a", 1.0)
    made.want("b", 1.005)
    made.tick(1.0)
    made.began(1.01)
    done = made.completed(1.03)
    assert done.reasons == {"a": 1, "b": 1}
    assert abs(done.took - 0.03) < 1e-9
    assert abs(done.paused - 0.02) < 1e-9
