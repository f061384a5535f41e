"""The metrics say what the accounts say; health says whether frames pass."""

import re
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coloproxy.checkpoint.notify import CHECKPOINT, encode
from support import frames
from support.pages import DOCS, questions, table
from watch.conftest import Page

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scraped(page: Page) -> Samples:
    """Values by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(page.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The one value with these labels."""
    (found,) = [v for given, v in samples[name].items() if set(labels.items()) <= set(given)]
    return found


@pytest.fixture
def diverged(page: Callable[..., Page]) -> Page:
    """A proxy that has released one frame, was told of a checkpoint, and holds another that differs."""
    running = page("--epoch-grace", "0", notify=True)
    (p, s, o), n = running.peers(), running.peer("notify_dev")
    p.send(frames.tcp(b"equal", seq=1, ack=1))
    s.send(frames.tcp(b"equal", seq=1, ack=1))
    o.frames(1)
    p.send(frames.tcp(b"this", seq=6, ack=1))
    s.send(frames.tcp(b"that", seq=6, ack=1))
    n.frames(1)
    n.raw(encode(CHECKPOINT))
    o.frames(1)
    running.wait("checkpoint_completed")
    p.send(frames.tcp(b"more", seq=10, ack=1))
    s.send(frames.tcp(b"less", seq=10, ack=1))
    running.wait("checkpoint_requested", 2)
    running.told("/api/now", lambda now: now["picture"]["panes"]["compare"]["checkpoint_pending"])
    return running


def test_the_metrics_are_the_account(diverged: Page) -> None:
    samples, account = scraped(diverged), diverged.state()["accounting"]
    for side in ("primary", "secondary"):
        for end in ("received", "released", "passed", "dropped", "refused"):
            for name, what in (("coloproxy_frames_total", "frames"), ("coloproxy_bytes_total", "bytes")):
                assert value(samples, name, side=side, state=end) == account[side][end][what]
        assert value(samples, "coloproxy_held_frames", side=side) == account[side]["held"]["frames"] == 1
        assert value(samples, "coloproxy_held_bytes", side=side) == account[side]["held"]["bytes"]
        assert value(samples, "coloproxy_oldest_held_seconds", side=side) > 0
    assert value(samples, "coloproxy_divergences_total", reason="tcp_payload") == 2
    assert value(samples, "coloproxy_checkpoints_requested_total") == 2
    assert value(samples, "coloproxy_checkpoints_completed_total") == value(samples, "coloproxy_epoch") == 1
    assert value(samples, "coloproxy_checkpoint_duration_seconds_count") == 1
    assert value(samples, "coloproxy_checkpoint_pending") == 1
    assert value(samples, "coloproxy_connections") == value(samples, "coloproxy_connections_diverged") == 1
    assert value(samples, "coloproxy_verified_bytes_total") == account["verified_bytes"]
    assert value(samples, "coloproxy_peer_connected", port="outdev") == 1
    assert value(samples, "coloproxy_peer_connections_total", port="outdev") == 1


def test_every_released_frame_has_its_latency(diverged: Page) -> None:
    samples = scraped(diverged)
    released = value(samples, "coloproxy_frames_total", side="primary", state="released")
    assert value(samples, "coloproxy_release_latency_seconds_count") == released == 2
    event = diverged.events("checkpoint_completed")[0]
    assert value(samples, "coloproxy_release_latency_seconds_sum") >= event["took"]
    assert value(samples, "coloproxy_event_loop_lag_seconds_count") > 0


def test_health_is_that_of_the_proxy_and_readiness_that_of_its_sockets(page: Callable[..., Page]) -> None:
    running = page()
    assert running.get("/healthz").text == "ok\n"
    assert running.get("/readyz").status == 503
    assert "primary_in" in running.get("/readyz").text
    peers = running.peers()
    running.until(lambda: running.get("/readyz").status == 200)
    peers[0].close()
    running.until(lambda: running.get("/readyz").status == 503)


def test_every_metric_is_described_and_every_one_described_exists(diverged: Page) -> None:
    described = {row[0].strip("`") for row in table(DOCS / "watch.md", "The metrics")} - {"metric"}
    served = {family.name for family in text_string_to_metric_families(diverged.get("/metrics").text)}
    served = {re.sub(r"_total$", "", name) for name in served}
    assert {re.sub(r"_total$", "", name) for name in described} == served


def test_the_dashboard_asks_for_metrics_that_exist(diverged: Page) -> None:
    served = set(scraped(diverged))
    asked = [expr for expr in questions() if "coloproxy_guest_" not in expr]
    names = {name for expr in asked for name in re.findall(r"\bcoloproxy_\w+", expr)}
    assert names <= served
    assert len(names) >= 15
    for expr in asked:
        for label, given in re.findall(r'(\w+)=~?"([\w|]+)"', expr):
            for each in given.split("|"):
                assert any((label, each) in labels for values in map(scraped(diverged).get, names) for labels in values)
