"""Reports tell what the events tell, escape what replicas sent, and what they say can be made again can be."""

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from coloproxy import Comparator, Config, Side
from coloproxy.capture import PcapWriter
from coloproxy.compare.events import Divergence, Event, Summary
from coloproxy.watch.report import of_events, page
from coloproxy.watch.report.reproduce import script
from support import frames
from support.process import run

HOSTILE = b"</pre><script>alert(1)</script><img src=x onerror=alert(1)>"
Play = Callable[[Comparator], None]


def happened(*plays: Play, on_divergence: str = "release") -> list[Event]:
    """What a comparator tells of these plays, and the summary."""
    comparator = Comparator(Config(on_divergence=on_divergence), now=0.0)  # type: ignore[arg-type]
    comparator.measure_waits()
    for play in plays:
        play(comparator)
    comparator.tick(now=100.0)
    account = comparator.accounting()
    return [*comparator.take_events(), Summary(time=100.0, accounting=account, connections=1, epoch=comparator.epoch)]


def both(ours: bytes, theirs: bytes) -> Play:
    """Each side sends one frame."""

    def play(comparator: Comparator) -> None:
        comparator.receive(Side.PRIMARY, ours, now=1.0)
        comparator.receive(Side.SECONDARY, theirs, now=1.003)

    return play


def alone(side: Side, frame: bytes) -> Play:
    return lambda comparator: comparator.receive(side, frame, now=2.0)


PLAYS: dict[str, Play] = {
    "tcp_payload": both(frames.tcp(b"this and", seq=900, ack=1), frames.tcp(b"this or", seq=900, ack=1)),
    "tcp_payload, IPv6": both(
        frames.tcp(b"ab", seq=2**32 - 1, ack=1, src=frames.REPLICA6, dst=frames.CLIENT6),
        frames.tcp(b"ac", seq=2**32 - 1, ack=1, src=frames.REPLICA6, dst=frames.CLIENT6),
    ),
    "udp_payload": both(frames.udp(b"one 1"), frames.udp(b"one 2")),
    "udp_length": both(frames.udp(b"one"), frames.udp(b"other")),
    "timeout_primary_only": alone(Side.PRIMARY, frames.tcp(b"alone", seq=7, ack=1)),
    "timeout_secondary_only": alone(Side.SECONDARY, frames.udp(b"alone")),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[Event]], Path]:
    """Writes events into a file."""

    def written(events: list[Event]) -> Path:
        file = tmp_path / "events.jsonl"
        with file.open("ab") as out:
            for event in events:
                out.write(msgspec.json.encode(event) + b"\n")
        return file

    return written


@pytest.mark.parametrize("name", PLAYS)
def test_the_program_of_a_report_makes_it_happen_again(name: str) -> None:
    (event,) = (event for event in happened(PLAYS[name]) if isinstance(event, Divergence))
    assert event.reason == name.partition(",")[0]
    program = script(event)
    assert program is not None
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert f"Divergence {event.reason}" in done.stdout, done.stderr


class Checked(HTMLParser):
    """What elements a page has, and its text; whether they are closed as they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") or (name in ("src", "href")) for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_tells_what_the_events_tell(write: Callable[[list[Event]], Path]) -> None:
    equal = both(frames.tcp(b"same", seq=1, ack=1, dport=1), frames.tcp(b"same", seq=1, ack=1, dport=1))
    plays = [PLAYS[name] for name in ("tcp_payload", "tcp_payload, IPv6", "udp_payload")]
    events = happened(equal, *plays)
    told = of_events(write(events))
    assert told.reasons == {"tcp_payload": 2, "udp_payload": 1}
    assert sum(told.waits or ()) + told.at_once == 4
    assert isinstance(events[-1], Summary)
    account = events[-1].accounting
    assert (told.waits, told.waited) == (account.waits, account.waited)
    assert told.waited > 4 * 0.0029
    text = Checked(page(told)).text
    for each in told.items:
        assert str(each.connection) in text
        assert each.place in text
    assert "Usual causes" in text
    assert "Release latency" in text


def test_what_replicas_sent_is_never_markup(write: Callable[[list[Event]], Path]) -> None:
    events = happened(both(frames.tcp(HOSTILE + b"A", seq=1, ack=1), frames.tcp(HOSTILE + b"B", seq=1, ack=1)))
    html = page(of_events(write(events)))
    assert "script-src" not in html
    assert "default-src 'none'" in html
    assert {"script", "img"} & Checked(html).tags == set()


def test_a_run_without_divergence_says_so(write: Callable[[list[Event]], Path]) -> None:
    equal = both(frames.tcp(b"same", seq=1, ack=1), frames.tcp(b"same", seq=1, ack=1))
    assert "both said the same" in Checked(page(of_events(write(happened(equal))))).text


def test_a_file_that_several_runs_have_written_is_one_story(write: Callable[[list[Event]], Path]) -> None:
    write(happened(PLAYS["tcp_payload"]))
    file = write(happened(PLAYS["udp_payload"]))
    told = of_events(file)
    assert told.reasons == {"tcp_payload": 1, "udp_payload": 1}
    assert told.times["tcp_payload"][0] < told.times["udp_payload"][0]
    with file.open("ab") as out:
        out.write(b'{"event": "diver')  # it was killed while it wrote
    assert of_events(file).reasons == told.reasons


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "there is no event"), ("nonsense\n", "line 1: no event"), ('{"event":"divergence","time":1}\n', "no event")],
)
def test_what_is_no_file_of_events_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(text)
    done = run("report", str(file), "-o", str(tmp_path / "report.html"))
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert run("report", str(tmp_path / "missing")).returncode == 2
    assert not (tmp_path / "report.html").exists()


def test_diff_makes_a_report_too(tmp_path: Path) -> None:
    for name, data in (("primary", b"the same, then this"), ("secondary", b"the same, then that")):
        with (tmp_path / name).open("wb") as out:
            PcapWriter(out).write(frames.tcp(data, seq=1, ack=1), 10**18)
    file = tmp_path / "report.html"
    words = ["diff", str(tmp_path / "primary"), str(tmp_path / "secondary"), "--report", str(file)]
    assert run(*words).returncode == 1
    text = Checked(file.read_text()).text
    assert "Not the same: 1 difference on 1 connection." in text
    assert "frame 1 of the primary" in text
    (shown,) = re.findall(r"coloproxy diff .*", text)
    assert shown.split()[1:] == words


def test_a_report_needs_nothing_but_itself(tmp_path: Path, write: Callable[[list[Event]], Path]) -> None:
    file = write(happened(*PLAYS.values()))
    done = run("report", str(file), "-o", str(tmp_path / "report.html"))
    assert (done.returncode, done.stdout) == (0, f"written: {tmp_path / 'report.html'}\n")
    assert not re.search(r"https?://|url\(|@import", (tmp_path / "report.html").read_text())


def test_a_run_in_which_nothing_came_has_no_empty_charts(write: Callable[[list[Event]], Path]) -> None:
    told = page(of_events(write(happened())))
    assert "No divergence" in told
    assert "<svg" not in told
