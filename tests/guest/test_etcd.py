"""A real pair whose lease is in etcd, of three members, and whose agents speak TLS: members die, hosts are cut off."""

import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from coloproxy.guest.tls import make_keys
from support.etcd import Cluster
from support.pair import Pair, running, talking

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("etcd") is None and not os.environ.get("COLOPROXY_CI"):
        pytest.skip("etcd is not installed (Debian package etcd-server)")
    made = Cluster(tmp_path_factory.mktemp("etcd"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    make_keys(folder / "keys", ["a", "b"])
    with running(folder, lease=cluster.at, extra=f'keys = "{folder}/keys"') as made:
        yield made


def test_the_secondary_takes_over_with_two_members_of_three(pair: Pair, cluster: Cluster) -> None:
    primary, secondary = pair.secured()
    with talking(pair) as talk, cluster.without(0):
        os.kill(pair.qemu(primary), signal.SIGKILL)
        pair.wait_state(secondary, "alone")
        talk.goes_on(pair, 20)


def test_without_etcd_a_protected_guest_goes_on_and_a_lonely_one_falls_silent(pair: Pair, cluster: Cluster) -> None:
    primary, secondary = pair.secured()
    with talking(pair) as talk:
        with cluster.without(0, 1, 2):
            time.sleep(4)  # more than a lease lasts
            talk.goes_on(pair, 20)
            os.kill(pair.qemu(secondary), signal.SIGKILL)
            pair.wait_state(primary, "deciding")
            time.sleep(0.5)
            count = talk.count
            time.sleep(1)
            assert talk.count == count  # nothing leaves that only one has said
        pair.wait_state(primary, "alone", seconds=30)
        talk.goes_on(pair, 20)
        with cluster.without(0, 1, 2):
            pair.wait_state(primary, "silenced")
            count = talk.count
            time.sleep(1)
            assert talk.count <= count + 1
        pair.wait_state(primary, "alone", seconds=30)
        talk.goes_on(pair, 20, seconds=40)


def test_cut_off_from_each_other_exactly_one_goes_on(pair: Pair) -> None:
    pair.secured()
    with talking(pair) as talk:
        pair.wire("a", False)
        pair.wait(lambda: sorted(map(pair.quietly, "ab")) in (["alone", "failed"], ["alone", "waiting"]))
        talk.goes_on(pair, 20)
        pair.wire("a", True)


def test_a_primary_cut_off_from_all_the_world_says_nothing_any_more(pair: Pair) -> None:
    """Its host is alive, but neither the other host nor etcd nor a client can be reached from it."""
    primary, secondary = pair.secured()
    with talking(pair) as talk:
        pair.up0(primary, False)
        pair.wire(primary, False)
        pair.wait_state(secondary, "alone")
        talk.goes_on(pair, 20)
        assert pair.state(primary) == "deciding"
        pair.up0(primary, True)
        pair.wait_state(primary, "failed")
        pair.wire(primary, True)
        talk.goes_on(pair, 20)
