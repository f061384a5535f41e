"""The metrics, in Prometheus's words, made from the last picture when they are asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from coloproxy.compare.events import Side, SideAccount
from coloproxy.watch.messages import Gate, Guest, Pane, Picture
from coloproxy.watch.service.history import SHORTEST_WAIT
from coloproxy.watch.service.hub import DURATIONS, Durations, Hub

ROLES = ("primary", "secondary", "none")
ENDS = ("received", "released", "passed", "dropped", "refused")
Values = Callable[[Pane], Mapping[tuple[str, ...], float]]


class Collector:
    """What a scrape sees. Before the first picture, only what the service itself counts."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._service()
        picture, hello = self._hub.picture, self._hub.hello
        if hello is not None:
            yield InfoMetricFamily(
                "coloproxy", "Which coloproxy this is.", {"version": hello.version, "command": hello.command}
            )
            yield gauge("coloproxy_engine_compiled", "1 if the hot path is compiled, 0 if not.", hello.compiled)
            yield gauge("coloproxy_start_time_seconds", "When the proxy started, since 1970.", hello.started)
        if picture is not None:
            yield from self._process(picture)
            yield from frames(picture)
            yield from connections(picture)
            yield from checkpoints(picture)
            yield from gates(picture.gates)
            yield self._latency(picture)
            failed = self._hub.failed_checkpoints
            yield counter("coloproxy_checkpoints_failed", "Checkpoints that came to nothing.", failed)
            text = "From asking for a checkpoint until it was made."
            yield durations("coloproxy_checkpoint_duration_seconds", text, self._hub.took)
            if picture.guest is not None:
                yield from self._guest(picture.guest)

    def _service(self) -> Iterator[Metric]:
        hub = self._hub
        yield gauge("coloproxy_up", "1 if the proxy has shown itself within the last seconds, 0 if not.", hub.alive)
        yield gauge("coloproxy_pages_open", "Pages that are open.", len(hub.audience.readers))
        yield counter("coloproxy_pages_dropped", "Pages dropped because they read too slowly.", hub.audience.dropped)

    def _process(self, picture: Picture) -> Iterator[Metric]:
        yield counter("coloproxy_process_cpu_seconds", "Processor time of the proxy.", picture.cpu)
        yield gauge("coloproxy_process_resident_memory_bytes", "Memory of the proxy.", picture.memory)
        lost = CounterMetricFamily(
            "coloproxy_watch_messages_lost", "What found no room on its way to the page.", labels=["kind"]
        )
        for kind, count in picture.lost.items():
            lost.add_metric([kind], count)
        yield lost
        lag = HistogramMetricFamily("coloproxy_event_loop_lag_seconds", "How late the loop is with what is due.")
        lag.add_metric([], buckets(cells(picture.lags)), picture.lagged)
        yield lag

    def _latency(self, picture: Picture) -> Metric:
        family = HistogramMetricFamily(
            "coloproxy_release_latency_seconds", "For how long the primary's frames were held.", labels=["comparator"]
        )
        for name, pane in picture.panes.items():
            at_once = max(0, pane.accounting.primary.released.frames - sum(pane.accounting.waits))
            counts = [pane.accounting.waits[0] + at_once, *pane.accounting.waits[1:]]
            family.add_metric([name], buckets(cells(counts)), pane.accounting.waited)
        return family

    def _guest(self, guest: Guest) -> Iterator[Metric]:
        role = GaugeMetricFamily("coloproxy_guest_role", "1 for what this host is.", labels=["role"])
        for name in ROLES:
            role.add_metric([name], name == guest.role)
        yield role
        yield gauge("coloproxy_guest_protected", "1 while both hosts are in step.", guest.looks == "protected")
        yield gauge("coloproxy_guest_peer_present", "1 while the other agent is there.", guest.peer is not None)
        yield gauge("coloproxy_guest_generation", "Of the lease: one more with each takeover.", guest.generation)
        yield counter("coloproxy_guest_checkpoints", "Checkpoints of the guest, made from here.", guest.checkpoints)
        asked = CounterMetricFamily("coloproxy_guest_checkpoints_asked", "What they were made for.", labels=["reason"])
        for reason, count in self._hub.asked.items():
            asked.add_metric([reason], count)
        yield asked
        yield durations("coloproxy_guest_pause_seconds", "For how long the guest stood still.", self._hub.paused)


def durations(name: str, text: str, counted: Durations) -> Metric:
    """A histogram of what takes long."""
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets(list(zip([*DURATIONS, float("inf")], counted.cells))), counted.sum)
    return family


def frames(picture: Picture) -> Iterator[Metric]:
    """Where the frames are."""
    labels = ["comparator", "side", "state"]
    yield by("coloproxy_frames", "Frames by where they ended.", picture, labels, lambda pane: ended(pane, "frames"))
    yield by("coloproxy_bytes", "The same in bytes.", picture, labels, lambda pane: ended(pane, "bytes"))
    held = ["comparator", "side"]
    yield by("coloproxy_held_frames", "Frames that wait.", picture, held, lambda pane: now_held(pane, "frames"), GAUGE)
    yield by("coloproxy_held_bytes", "Bytes that wait.", picture, held, lambda pane: now_held(pane, "bytes"), GAUGE)
    yield by(
        "coloproxy_oldest_held_seconds", "For how long the oldest has waited of what is held.", picture, held,
        lambda pane: {("primary",): pane.primary_age, ("secondary",): pane.secondary_age}, GAUGE,
    )  # fmt: skip
    for name, text, value in (
        ("verified_bytes", "Bytes of payload found equal.", lambda pane: pane.accounting.verified_bytes),
        ("made_frames", "Frames that the comparator made.", lambda pane: pane.accounting.made.frames),
        ("clamped_frames", "Frames whose acknowledgement was lowered.", lambda pane: pane.accounting.clamped),
    ):
        yield one(f"coloproxy_{name}", text, picture, value)
    yield by(
        "coloproxy_malformed_frames", "Malformed frames by kind.", picture, ["comparator", "kind"],
        lambda pane: {(kind,): count for kind, count in pane.accounting.malformed.items()},
    )  # fmt: skip


def connections(picture: Picture) -> Iterator[Metric]:
    """What the tables hold."""
    for name, text, value in (
        ("connections", "Connections known.", lambda pane: pane.connections),
        ("connections_waiting", "Connections that hold frames.", lambda pane: pane.waiting),
        ("connections_diverged", "Connections that wait for a checkpoint.", lambda pane: pane.diverged),
        ("connections_unprotected", "Connections that pass uncompared.", lambda pane: pane.unprotected),
    ):
        yield one(f"coloproxy_{name}", text, picture, value, GAUGE)
    for name, text, value in (
        ("connections_opened", "Connections seen.", lambda pane: pane.accounting.connections_opened),
        ("connections_evicted", "Connections forgotten for want of room.", lambda p: p.accounting.connections_evicted),
    ):
        yield one(f"coloproxy_{name}", text, picture, value)


def checkpoints(picture: Picture) -> Iterator[Metric]:
    """Divergences, and what was done about them."""
    yield by(
        "coloproxy_divergences", "Divergences by reason.", picture, ["comparator", "reason"],
        lambda pane: {(reason,): count for reason, count in pane.accounting.divergences.items()},
    )  # fmt: skip
    for name, text, value in (
        ("checkpoints_requested", "Checkpoints asked for.", lambda pane: pane.accounting.checkpoints_requested),
        ("checkpoints_completed", "Checkpoints made.", lambda pane: pane.accounting.checkpoints_completed),
    ):
        yield one(f"coloproxy_{name}", text, picture, value)
    yield one("coloproxy_epoch", "How many checkpoints have completed.", picture, lambda pane: pane.epoch, GAUGE)
    yield one(
        "coloproxy_checkpoint_pending", "1 while a checkpoint is needed that has not been made.", picture,
        lambda pane: pane.checkpoint_pending, GAUGE,
    )  # fmt: skip
    yield one(
        "coloproxy_alone", "1 while one replica goes on alone.", picture, lambda pane: pane.survivor is not None, GAUGE
    )


def gates(found: Sequence[Gate]) -> Iterator[Metric]:
    """Sockets and ports."""
    connected = GaugeMetricFamily("coloproxy_peer_connected", "1 if this socket has a peer.", labels=["port"])
    pending = GaugeMetricFamily("coloproxy_port_pending_bytes", "Bytes that wait to leave.", labels=["port"])
    peers = CounterMetricFamily("coloproxy_peer_connections", "Peers that this socket has had.", labels=["port"])
    counted = CounterMetricFamily("coloproxy_port_frames", "Frames of a port.", labels=["port", "what"])
    sizes = CounterMetricFamily("coloproxy_port_bytes", "Their bytes.", labels=["port", "what"])
    for gate in found:
        connected.add_metric([gate.name], gate.connected)
        pending.add_metric([gate.name], gate.pending)
        if gate.peers is not None:
            peers.add_metric([gate.name], gate.peers)
        for what in ("received", "sent", "dropped"):
            counts = getattr(gate, what)
            if counts is not None:
                counted.add_metric([gate.name, what], counts.frames)
                sizes.add_metric([gate.name, what], counts.bytes)
    yield from (connected, pending, peers, counted, sizes)


GAUGE = GaugeMetricFamily


def by(
    name: str, text: str, picture: Picture, labels: list[str], values: Values,
    kind: type[GaugeMetricFamily | CounterMetricFamily] = CounterMetricFamily,
) -> Metric:  # fmt: skip
    """A metric with labels, of which the first is the comparator."""
    family = kind(name, text, labels=labels)
    for comparator, pane in picture.panes.items():
        for key, value in values(pane).items():
            family.add_metric([comparator, *key], value)
    return family


def one(
    name: str, text: str, picture: Picture, value: Callable[[Pane], float],
    kind: type[GaugeMetricFamily | CounterMetricFamily] = CounterMetricFamily,
) -> Metric:  # fmt: skip
    """A metric of a comparator."""
    return by(name, text, picture, ["comparator"], lambda pane: {(): value(pane)}, kind)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, float(value))


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, float(value))


def sides(pane: Pane) -> Iterator[tuple[str, SideAccount]]:
    for side in Side:
        yield side.label, getattr(pane.accounting, side.label)


def ended(pane: Pane, what: str) -> dict[tuple[str, ...], float]:
    return {(side, end): getattr(getattr(account, end), what) for side, account in sides(pane) for end in ENDS}


def now_held(pane: Pane, what: str) -> dict[tuple[str, ...], float]:
    return {(side,): getattr(account.held, what) for side, account in sides(pane)}


def cells(counts: Sequence[int]) -> list[tuple[float, int]]:
    """Counts with the upper bounds of their cells, which double."""
    bounds = [SHORTEST_WAIT * 2**power for power in range(len(counts) - 1)]
    return list(zip([*bounds, float("inf")], counts, strict=True))


def buckets(counted: Sequence[tuple[float, int]]) -> list[tuple[str, float]]:
    """A histogram's buckets, each with all that is below its bound."""
    found, total = [], 0
    for bound, count in counted:
        total += count
        found.append(("+Inf" if bound == float("inf") else f"{bound:.6g}", float(total)))
    return found


def registry(hub: Hub) -> CollectorRegistry:
    """A registry of these metrics only: those of this process are of no interest."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Collector(hub))
    return made
