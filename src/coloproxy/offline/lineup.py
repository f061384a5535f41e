"""All connections and flows of two captures: made when first heard of, paired, and put on record when they are over."""

from collections import Counter
from collections.abc import Hashable, Sequence

from coloproxy.compare.events import Side
from coloproxy.compare.rules import Action, Rules
from coloproxy.offline.connection import FAR_APART, Connection
from coloproxy.offline.datagrams import ICMPS, Flow
from coloproxy.offline.pairing import Pairing
from coloproxy.offline.report import CaptureSummary
from coloproxy.offline.segment import FIN, MASK, RST, SYN
from coloproxy.offline.shared import Origin, Shared
from coloproxy.offline.stream import Stream
from coloproxy.packet.parse import Kind, Packet

KEPT = 20_000  # connections kept in mind after they ended, for what may still be repeated of them


class Lineup:
    """streams: each side's halves of connections, by key. summaries: where it is counted what the rules let pass."""

    def __init__(self, shared: Shared, pairing: Pairing, rules: Rules, summaries: Sequence[CaptureSummary]) -> None:
        self.shared = shared
        self.streams: tuple[dict[bytes, Stream], dict[bytes, Stream]] = ({}, {})
        self._pairing = pairing
        self._rules = rules
        self._summaries = summaries
        self._flows: tuple[dict[tuple[Kind, bytes], Flow], dict[tuple[Kind, bytes], Flow]] = ({}, {})
        self._connections: dict[Connection, None] = {}
        self._all_flows: dict[Flow, None] = {}
        self._unpaired: dict[Hashable, Connection | Flow] = {}
        self._turns: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())
        self._most = KEPT

    def receive(self, side: int, number: int, packet: Packet, frame: bytes, there: int) -> None:
        """Take a packet of the replica, of which frame[there:] is not known."""
        if packet.kind == Kind.TCP:
            self._segment(side, number, packet, frame, there)
        else:
            self._datagram(side, number, packet, frame, there)

    def _segment(self, side: int, number: int, packet: Packet, frame: bytes, there: int) -> None:
        stream = self.streams[side].get(packet.key)
        if stream is None or _begins_anew(stream, packet):
            if packet.payload == packet.payload_end and not packet.flags & (SYN | FIN | RST):
                return
            name = self._name(side, packet, -1)
            if name is None:
                return
            if stream is not None:
                stream.end()
            stream = self.streams[side][packet.key] = Stream(side, name, self.shared, packet, frame)
            self._pair(stream, packet)
        stream.receive(number, packet, frame, there)

    def _pair(self, stream: Stream, packet: Packet) -> None:
        """Join a new half with the other side's, or let it wait for that."""
        side = stream.side
        name = self._pairing.name(side, packet, self._turns[side][packet.key])
        self._turns[side][packet.key] += 1
        waiting = self._unpaired.get(name)
        if isinstance(waiting, Connection) and waiting.halves[side] is None:
            del self._unpaired[name]
            waiting.join(stream)
            return
        connection = Connection(self.shared, stream)
        self._connections[connection] = None
        if self.shared.over[1 - side]:
            stream.stay_alone()
        else:
            self._unpaired[name] = connection

    def _datagram(self, side: int, number: int, packet: Packet, frame: bytes, there: int) -> None:
        flow = self._flows[side].get((packet.kind, packet.key))
        if flow is None or packet.kind in ICMPS:  # whose types the rules may tell apart
            name = self._name(side, packet, frame[packet.l4] if packet.kind in ICMPS else -1)
            if name is None:
                return
            if flow is None:
                flow = self._flows[side][packet.kind, packet.key] = self._flow(side, packet, name)
                flow.enter(side, name)
        flow.receive(side, number, packet, frame, there)

    def _flow(self, side: int, packet: Packet, origin: Origin) -> Flow:
        """The other side's flow that this one is, or a new one."""
        name = self._pairing.name(side, packet, 0)
        waiting = self._unpaired.get(name)
        if isinstance(waiting, Flow) and waiting.names[side] is None:
            del self._unpaired[name]
            return waiting
        self._unpaired[name] = flow = Flow(self.shared, self.shared.turn(origin))
        self._all_flows[flow] = None
        return flow

    def _name(self, side: int, packet: Packet, icmp_type: int) -> Origin | None:
        """The name of a packet's connection; None if the rules do not have it compared."""
        decision = self._rules.decide(packet, Side(side), icmp_type)
        if decision.action is not Action.COMPARE:
            self._summaries[side].passed += 1
            return None
        return Origin(packet.kind, packet.key, decision.rule)

    # Ends

    def over(self, side: int) -> None:
        """A capture is at its end: what the other has beyond it is only counted."""
        for stream in self.streams[side].values():
            stream.end()
        for stream in self.streams[1 - side].values():
            if stream.other is None:
                stream.stay_alone()

    def relieve(self) -> None:
        """Too much waits on both sides: take holes for gaps or, where there are none, give up what has most waiting."""
        before = sum(self.shared.waiting)
        for connection in self._connections:
            connection.fill_holes()
        if sum(self.shared.waiting) < before:
            return
        everything: list[Connection | Flow] = [*self._connections, *self._all_flows]
        heaviest = max(everything, key=lambda each: each.weight())
        if isinstance(heaviest, Connection):
            heaviest.give_up(FAR_APART)
        else:
            heaviest.end()

    def sweep(self) -> None:
        """With many on hand, put the older half of those that have ended, or are idle, on record."""
        if len(self._connections) + len(self._all_flows) <= self._most:
            return
        self.shared.judge.deliver()
        ended = [connection for connection in self._connections if connection.quiet()]
        self._retire(ended[: (len(ended) + 1) // 2])
        idle = sorted((flow for flow in self._all_flows if flow.quiet()), key=lambda flow: flow.last)
        for flow in idle[: (len(idle) + 1) // 2]:
            self._retire_flow(flow)
        self._unpaired = {name: each for name, each in self._unpaired.items() if each in self}
        self.shared.judge.age()
        self._most = max(KEPT, 2 * (len(self._connections) + len(self._all_flows)))

    def finish(self) -> None:
        """Put all that is left on record."""
        for flow in self._all_flows:
            flow.end()
        self._retire(list(self._connections))
        for flow in list(self._all_flows):
            self._retire_flow(flow)

    def __contains__(self, each: object) -> bool:
        return each in self._connections or each in self._all_flows

    def _retire(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.end()
        self.shared.judge.deliver()
        for connection in connections:
            self.shared.findings.compared(connection.finish())
            del self._connections[connection]
            halves = [half for half in connection.halves if half is not None]
            if all(self.streams[half.side].get(half.name.key) is half for half in halves):
                for half in halves:
                    del self.streams[half.side][half.name.key]
                    del self._turns[half.side][half.name.key]
                    self.shared.used.pop((Kind.TCP, half.name.ends), None)

    def _retire_flow(self, flow: Flow) -> None:
        self.shared.findings.compared(flow.finish())
        del self._all_flows[flow]
        for side, name in enumerate(flow.names):
            if name is not None:
                del self._flows[side][name.kind, name.key]


def _begins_anew(stream: Stream, packet: Packet) -> bool:
    """Whether a segment belongs to another connection with the same ends: its SYN has another number."""
    return bool(packet.flags & SYN) and not (stream.syn and stream.origin == packet.seq + 1 & MASK)
