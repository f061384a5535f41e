"""What is told of the sockets' peers: that one came, that one went and why."""

from collections.abc import Callable

from coloproxy.compare.events import Event, FrameRefused, PeerConnected, PeerLost
from coloproxy.link.endpoint import Endpoint
from coloproxy.link.inbox import BadLengthError
from coloproxy.trace import events as trace


class Peers:
    """Tells of them as events, to `report`, and as trace events."""

    def __init__(self, report: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock

    def connected(self, endpoint: Endpoint) -> None:
        """An endpoint has a new peer."""
        role, text, count = endpoint.role, endpoint.address.text, endpoint.connections
        if trace.colo_link_peer_connected.enabled:
            trace.colo_link_peer_connected(role, text, count)
        self._report(PeerConnected(time=self._clock(), role=role, address=text, connections=count))

    def lost(self, endpoint: Endpoint, reason: str, forgotten: int = 0) -> None:
        """An endpoint's peer has gone, or must: the endpoint looks for the next. `forgotten` bytes were half-read."""
        role, text = endpoint.role, endpoint.address.text
        endpoint.lost()
        if trace.colo_link_peer_lost.enabled:
            trace.colo_link_peer_lost(role, text, reason, forgotten)
        self._report(PeerLost(time=self._clock(), role=role, address=text, reason=reason, forgotten_bytes=forgotten))

    def refused(self, side: str, error: BadLengthError) -> None:
        """A peer announced a frame that cannot be."""
        if trace.colo_link_frame_refused.enabled:
            trace.colo_link_frame_refused(side, "frame_length", error.length)
        self._report(
            FrameRefused(
                time=self._clock(), side=side, reason="frame_length", detail=str(error), length=error.length
            )
        )


def why(error: Exception) -> str:
    """An exception of a socket in words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or "the peer closed the connection"
