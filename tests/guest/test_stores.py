"""Where the lease is: the file and etcd keep the same promises."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coloproxy.errors import ColoproxyError
from coloproxy.guest import lease
from coloproxy.guest.lease import Record, RefusedError, Store, UnreachableError
from coloproxy.guest.stores import FileStore, store
from support.etcd import Cluster

LASTING = 2.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("etcd") is None and not os.environ.get("COLOPROXY_CI"):
        pytest.skip("etcd is not installed (Debian package etcd-server)")
    made = Cluster(tmp_path_factory.mktemp("etcd"))
    yield made
    made.end()


@pytest.fixture(params=["file", "etcd"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file:{tmp_path / 'lease'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.address


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"guest-{abs(hash(request.node.nodeid))}"


def test_a_change_is_seen_by_the_other_host(address: str, name: str) -> None:
    a, b = store(address, name, LASTING), store(address, name, LASTING)
    assert a.change(lease.take("a")) == Record(1, ("a",))
    with pytest.raises(RefusedError):
        b.change(lease.take("b"))
    assert a.change(lease.pair("a", "b", 1)) == Record(2, ("a", "b"))
    assert b.change(lease.claim("b", 2)) == Record(3, ("b",))
    with pytest.raises(RefusedError):
        a.change(lease.claim("a", 2))


def test_what_is_not_renewed_can_be_taken_when_its_time_is_over(address: str, name: str) -> None:
    a, b = store(address, name, LASTING), store(address, name, LASTING)
    a.change(lease.take("a"))
    begin = time.monotonic()
    a.change(lease.renew("a", 1))
    while True:
        try:
            assert b.change(lease.take("b")) == Record(2, ("b",))
            break
        except RefusedError:
            assert time.monotonic() < begin + 3 * LASTING
            time.sleep(0.05)
    assert time.monotonic() >= begin + LASTING


def test_of_many_at_once_one_is_granted(address: str, name: str) -> None:
    first = store(address, name, LASTING)
    first.change(lease.take("a"))
    first.change(lease.pair("a", "b", 1))
    granted: list[str] = []

    def claim(host: str, mine: Store) -> None:
        try:
            mine.change(lease.claim(host, 2))
            granted.append(host)
        except RefusedError:
            pass

    threads = [
        threading.Thread(target=claim, args=(host, store(address, name, LASTING))) for host in ("a", "b") for _ in "123"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 3  # the same one, each time that it asked
    assert len(set(granted)) == 1


def test_one_member_less_makes_no_difference(cluster: Cluster, name: str) -> None:
    a = store(cluster.address, name, LASTING)
    a.change(lease.take("a"))
    for number in range(3):
        with cluster.without(number):
            soon(a)  # it may have been the leader: then another is elected first
            begin = time.monotonic()
            for _ in range(3):
                a.change(lease.renew("a", 1))
            assert time.monotonic() - begin < 3.0
        soon(a)


def test_without_a_majority_nobody_is_granted_anything(cluster: Cluster, name: str) -> None:
    a = store(cluster.address, name, LASTING)
    a.change(lease.take("a"))
    with cluster.without(0, 1), pytest.raises(UnreachableError, match="no member of etcd answers"):
        a.change(lease.renew("a", 1))
    soon(a)


def soon(a: Store) -> None:
    """It can be renewed again."""
    end = time.monotonic() + 20
    while True:
        try:
            a.change(lease.renew("a", 1))
            return
        except UnreachableError:
            assert time.monotonic() < end


def test_a_file_that_says_nothing_known_is_no_permission(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("{")
    with pytest.raises(UnreachableError, match="remove it, if nobody lives"):
        FileStore(tmp_path / "lease", 1.0).change(lease.take("a"))


@pytest.mark.parametrize("text", ["nowhere", "file:", "etcd:", "etcd:localhost", "etcd:http://host"])
def test_what_is_no_lease_is_refused(text: str) -> None:
    with pytest.raises(ColoproxyError, match="lease"):
        store(text, "guest", LASTING)


def test_etcd_counts_whole_seconds() -> None:
    with pytest.raises(ColoproxyError, match="2500 ms is none"):
        store("etcd:http://127.0.0.1:1", "guest", 2.5)

