"""What a guest's agent tells becomes marks and metrics: its checkpoints together, and not what it always does."""

import re

import pytest
from prometheus_client.exposition import generate_latest

from coloproxy.compare.events import AgentChanged, CheckpointCompleted, Event, FailedOver, GuestCheckpoint, TakenOver
from coloproxy.watch.messages import Guest, Happened, Hello, Picture
from coloproxy.watch.service.hub import Hub
from coloproxy.watch.service.metrics import registry
from support.pages import questions


def picture(wall: float, title: str = "Protected", looks: str = "protected") -> Picture:
    guest = Guest(
        host="a", other="b", state="protected", role="primary", peer="standby", generation=2, checkpoints=7,
        looks=looks, title=title, why="Both are in step.",
    )  # fmt: skip
    return Picture(wall=wall, panes={}, gates=[], lags=[0] * 19, lagged=0.0, cpu=1.0, memory=1, lost={}, guest=guest)


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.hear(Hello(name="web on a", command="guest", version="1", pid=1, started=0.0, compiled=True, timeout=3.0))
    made.hear(picture(1.0))
    return made


def checkpoint(number: int, took: float, **asked: int) -> GuestCheckpoint:
    return GuestCheckpoint(time=1.0, guest="web", number=number, asked=asked, took=took, paused=took / 2)


def changed(before: str, after: str, happened: str) -> AgentChanged:
    return AgentChanged(time=1.0, guest="web", host="a", before=before, after=after, happened=happened)


def tell(hub: Hub, *events: Event) -> None:
    for event in events:
        hub.hear(Happened(wall=1.2, event=event))


def test_checkpoints_since_the_last_picture_are_one_mark(hub: Hub) -> None:
    tell(hub, checkpoint(1, 0.01, tcp_payload=2), checkpoint(2, 0.03, tcp_payload=1, interval=1))
    assert not hub.marks
    hub.hear(picture(1.5))
    (mark,) = hub.marks
    assert (mark["event"], mark["count"], mark["took"], mark["paused"]) == ("guest_checkpoint", 2, 0.03, 0.015)
    assert mark["asked"] == {"tcp_payload": 3, "interval": 1}
    hub.hear(picture(2.0))
    assert len(hub.marks) == 1


def test_what_an_agent_always_does_is_no_news(hub: Hub) -> None:
    tell(
        hub, changed("protected", "checkpointing", "stopped for a checkpoint"),
        CheckpointCompleted(time=1.0, epoch=1, released_frames=1, dropped_frames=0, took=0.5),
        FailedOver(time=1.0, survivor="primary", released_frames=0, dropped_frames=0),
        changed("checkpointing", "protected", "resumed after a checkpoint"),
        changed("protected", "deciding", "peer lost"),
        TakenOver(time=1.0, guest="web", host="a", role="primary", why="gone", generation=3, steps={"lease": 0.1}),
    )  # fmt: skip
    assert [mark["event"] for mark in hub.marks] == ["agent_changed", "taken_over"]


def test_protection_lasts_through_checkpoints_and_is_called_as_the_agent_says(hub: Hub) -> None:
    hub.hear(picture(5.0))
    assert (hub.protection.state, hub.protection.since, hub.protection.title) == ("protected", 1.0, "Protected")
    hub.hear(picture(6.0, "Being copied", "alone"))
    assert (hub.protection.state, hub.protection.since, hub.protection.title) == ("alone", 6.0, "Being copied")
    hub.hear(picture(7.0, "Not protected", "alone"))
    assert hub.protection.since == 7.0


def test_its_metrics_count_checkpoints_by_what_asked_for_them(hub: Hub) -> None:
    tell(hub, checkpoint(1, 0.01, tcp_payload=2), checkpoint(2, 0.03, interval=1))
    served = generate_latest(registry(hub)).decode()
    for line in (
        'coloproxy_guest_checkpoints_asked_total{reason="tcp_payload"} 2.0', "coloproxy_guest_checkpoints_total 7.0",
        'coloproxy_guest_role{role="primary"} 1.0', 'coloproxy_guest_role{role="none"} 0.0',
        "coloproxy_guest_protected 1.0", "coloproxy_guest_pause_seconds_count 2.0",
        "coloproxy_guest_pause_seconds_sum 0.02", "coloproxy_checkpoint_duration_seconds_count 2.0",
    ):  # fmt: skip
        assert line in served.splitlines()


def test_the_dashboard_draws_each_of_its_metrics(hub: Hub) -> None:
    tell(hub, checkpoint(1, 0.01, tcp_payload=2))
    served = re.findall(r"^(coloproxy_guest_\w+)", generate_latest(registry(hub)).decode(), re.M)
    asked = {name for expr in questions() for name in re.findall(r"\bcoloproxy_guest_\w+", expr)}
    assert asked == {name for name in served if not name.endswith(("_created", "_sum", "_count"))}
