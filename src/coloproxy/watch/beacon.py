"""Makes a proxy visible to another process: tells what happens, and shows pictures; never waits for being seen.

All of this costs at most a hundredth of the proxy's time: a picture that took long is followed by a longer pause. What
counts is processor time: on a crowded machine a picture may wait for a processor, and that is no reason to be silent.
"""

import os
import time
from collections import deque

import msgspec

from coloproxy import COMPILED, __version__
from coloproxy.compare.comparator import Comparator, Evidence
from coloproxy.compare.events import Divergence, Event
from coloproxy.compare.rules import Rule
from coloproxy.compare.state import connection_states
from coloproxy.errors import ColoproxyError
from coloproxy.watch.channel import Channel
from coloproxy.watch.host import Host
from coloproxy.watch.messages import (
    AddRule,
    Answer,
    Asked,
    AskRules,
    Connections,
    Evidenced,
    Happened,
    Hello,
    Pane,
    Picture,
    Row,
    Seen,
    Told,
    Want,
)
from coloproxy.watch.streams import Looker

INTERVAL = 0.5  # seconds between two pictures
SHARE = 0.01  # of the time, that pictures may take
LAG_INTERVAL = 0.05  # seconds between two looks at how late the loop is
LAG_CELLS = 19
SHORTEST_LAG = 0.000064
LISTED = 1000  # connections in a list
LIST_EVERY = 2  # pictures: a list is a hundred times as long
STREAMS = 16  # connections looked into at a time
REMEMBERED = 64  # divergences whose evidence may still come
LARGEST = 1 << 18  # bytes of frames told of one divergence

_PAGE = os.sysconf("SC_PAGESIZE")


class Beacon:
    """Attached to a host for its whole life; speaks while it has a channel."""

    def __init__(self, host: Host, *, token: str | None = None, hosts: list[str] | None = None) -> None:
        self._host = host
        self._channel: Channel | None = None
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Asked).decode
        self._hello = Hello(
            name=host.name, command=host.command, version=__version__, pid=os.getpid(),
            started=time.time(), compiled=COMPILED, hosts=hosts or [], token=token,
            timeout=max((each.config.compare_timeout for each in host.comparators.values()), default=0) / 1000,
        )  # fmt: skip
        self._want = Want()
        self._looker = Looker(host.comparators)
        self._numbered = self._pictures = 0
        self._recent: deque[tuple[Divergence, int]] = deque(maxlen=REMEMBERED)
        self._lags = [0] * LAG_CELLS
        self._lagged = 0.0
        host.listen(self._happened)
        host.witness(self)
        for comparator in host.comparators.values():
            comparator.measure_waits()
        self._lag_due = time.monotonic()
        self._watch_lag()
        self._show()

    def speak(self, channel: Channel) -> None:
        """Speak on this channel from now on."""
        self._channel = channel
        self._want = Want()
        self._tell("hello", self._hello)

    def silence(self) -> None:
        """The channel is gone."""
        self._channel = None

    # What happens

    def _happened(self, event: Event) -> None:
        number = None
        if isinstance(event, Divergence):
            self._numbered += 1
            number = self._numbered
            self._recent.append((event, number))
        self._tell("event", Happened(wall=self._wall(event.time), event=event, number=number))

    def write(self, evidence: Evidence) -> None:
        """Tell the frames of a divergence that was told before."""
        number = next((number for divergence, number in self._recent if divergence is evidence.divergence), None)
        if number is None:
            return
        frames, room = [], LARGEST
        for side, frame, vnet_len, when in evidence.frames:
            room -= len(frame)
            if room >= 0:
                frames.append(Seen(side=side.label, wall=self._wall(when), vnet_len=vnet_len, data=frame))
        more = len(evidence.frames) - len(frames)
        self._tell("evidence", Evidenced(number=number, frames=frames, more=more))

    def _wall(self, when: float) -> float:
        return self._host.clock.wall_ns(when) / 1e9

    # Pictures

    def _show(self) -> None:
        begin = time.thread_time()
        if self._channel is not None:
            self._tell("picture", self._picture())
            self._pictures += 1
            if self._want.connections and self._pictures % LIST_EVERY == 0:
                self._tell("connections", self._connections())
            now = self._host.clock.now()
            for key in self._want.streams[:STREAMS]:
                self._tell("streams", self._looker.look(key, now, time.time()))
        pause = max(INTERVAL, (time.thread_time() - begin) / SHARE)
        self._host.loop.after(pause, self._show)

    def _picture(self) -> Picture:
        host, channel = self._host, self._channel
        return Picture(
            wall=time.time(),
            panes={name: self._pane(comparator) for name, comparator in host.comparators.items()},
            gates=host.gates(),
            lags=self._lags,
            lagged=self._lagged,
            cpu=time.process_time(),
            memory=resident(),
            lost=dict(channel.dropped) if channel is not None else {},
            guest=host.guest(),
        )

    def _pane(self, comparator: Comparator) -> Pane:
        now, survey = self._host.clock.now(), comparator.survey()
        since = survey.primary_since, survey.secondary_since
        primary_age, secondary_age = (max(0.0, now - when) if when is not None else 0.0 for when in since)
        return Pane(
            epoch=comparator.epoch, checkpoint_pending=comparator.checkpoint_pending,
            survivor=None if comparator.survivor is None else comparator.survivor.label,
            connections=survey.connections, waiting=survey.waiting, diverged=survey.diverged,
            unprotected=survey.unprotected, primary_age=primary_age, secondary_age=secondary_age,
            accounting=comparator.accounting(),
        )  # fmt: skip

    def _connections(self) -> Connections:
        listed: list[Row] = []
        total = 0
        now = self._host.clock.now()
        for name, comparator in self._host.comparators.items():
            survey = comparator.survey(LISTED - len(listed))
            total += survey.connections
            listed += [
                Row(key=f"{name} {state.connection}", **{field: getattr(state, field) for field in STATE_FIELDS})
                for state in connection_states(survey.found, now, LISTED)
            ]
        return Connections(wall=time.time(), total=total, listed=listed)

    def _watch_lag(self) -> None:
        """How late is the loop with what is due? So late is it, too, with a frame that comes."""
        now = time.monotonic()
        late = max(0.0, now - self._lag_due)
        cell, bound = 0, SHORTEST_LAG
        while cell < LAG_CELLS - 1 and late > bound:
            cell, bound = cell + 1, 2 * bound
        self._lags[cell] += 1
        self._lagged += late
        self._lag_due = now + LAG_INTERVAL
        self._host.loop.after(LAG_INTERVAL, self._watch_lag)

    # What is asked

    def asked(self, line: bytes) -> None:
        """Do what the other process asks for."""
        try:
            asked = self._decode(line)
        except msgspec.MsgspecError:  # not of our making: the other process is of another version, or sick
            return
        if isinstance(asked, Want):
            self._want = asked
        elif isinstance(asked, AskRules):
            self._tell("answer", Answer(request=asked.request, rules=self._rules()))
        else:
            self._tell("answer", self._add(asked))

    def _add(self, asked: AddRule) -> Answer:
        try:
            for comparator in self._host.comparators.values():
                comparator.set_rules([asked.rule, *comparator.rules])
        except ColoproxyError as error:
            return Answer(request=asked.request, error=str(error))
        return Answer(request=asked.request, rules=self._rules())

    def _rules(self) -> dict[str, list[Rule]]:
        return {name: list(comparator.rules) for name, comparator in self._host.comparators.items()}

    def _tell(self, kind: str, message: Told) -> None:
        if self._channel is not None:
            self._channel.send(kind, self._encode(message))


STATE_FIELDS = tuple(field for field in Row.__struct_fields__ if field != "key")


def resident() -> int:
    """Bytes of this process in memory (proc(5))."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
