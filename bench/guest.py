"""Measures a protected guest on this machine, as root: `python bench/guest.py` (all), or some of its parts by name."""

import argparse
import math
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from coloproxy.guest.tls import make_keys
from support.download import SOURCE
from support.download import download as downloaded
from support.faults import Ranges, matrix
from support.filters import Filters, beside
from support.pair import PROTECTED, Pair, running, talking
from support.writer import MIB


def protect(pair: Pair, _arguments: argparse.Namespace) -> None:
    """From `protect` to protected, and the longest gap that clients see meanwhile."""
    times, gaps = [], []
    for _ in range(5):
        pair.alone()
        with talking(pair) as talk:
            talk.fresh()
            begin = time.monotonic()
            primary = pair.primary()
            pair.ask(primary, "protect")
            pair.wait_state(primary, *PROTECTED)
            times.append(time.monotonic() - begin)
            talk.goes_on(pair, 20)
            gaps.append(talk.gap)
    say("protect", f"{statistics.median(times):.2f} s (most {max(times):.2f}), gap {ms(gaps)}")


def checkpoint(pair: Pair, _arguments: argparse.Namespace) -> None:
    """From the request until the primary runs again, idle guest."""
    pair.secured()
    primary = pair.primary()
    before = len(pair.events(primary, "guest_checkpoint"))
    for _ in range(50):
        count = pair.ask(primary)["checkpoints"]
        pair.ask(primary, "checkpoint")
        pair.wait(lambda seen=count: pair.ask(primary)["checkpoints"] > seen)  # type: ignore[misc]
        time.sleep(0.1)
    made = pair.events(primary, "guest_checkpoint")[before:]
    say("checkpoint", f"{ms([each['took'] for each in made])}, paused {ms([each['paused'] for each in made])}")


def stall(pair: Pair, arguments: argparse.Namespace) -> None:
    """Echoes while a checkpoint is made every 50 ms: what is lost around one, TCP sends again after 200 ms."""
    pair.secured()
    primary = pair.primary()
    with talking(pair) as talk:
        time.sleep(1)
        seen, before = len(talk.times), pair.ask(primary)["checkpoints"]
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            pair.ask(primary, "checkpoint")
            time.sleep(0.05)
        times, made = talk.times[seen:], pair.ask(primary)["checkpoints"] - before
    late = sum(each > RETRANSMISSION for each in times)
    say("stall", f"{made} checkpoints, {len(times)} echoes, {ms(times)}; {late} took longer than {RETRANSMISSION} s")


def echo(pair: Pair, _arguments: argparse.Namespace) -> None:
    """The median round trip, unprotected and protected, in turn."""
    figures: dict[str, list[float]] = {"alone": [], "protected": []}
    for _ in range(3):
        for name, prepare in (("alone", pair.alone), ("protected", pair.secured)):
            prepare()
            time.sleep(1)
            with talking(pair) as talk:
                time.sleep(5)
                figures[name] += talk.times[20:]
    one, two = (statistics.median(figures[name]) for name in figures)
    say("echo", f"{1000 * one:.3f} ms alone, {1000 * two:.3f} ms protected, {1000 * (two - one):+.3f} ms")


def download(pair: Pair, arguments: argparse.Namespace) -> None:
    """HTTP, unprotected and protected, in turn; every byte is looked at."""
    rates: dict[str, list[float]] = {"alone": [], "protected": []}
    made = 0
    for _ in range(3):
        for name, prepare in (("alone", pair.alone), ("protected", pair.secured)):
            prepare()
            time.sleep(1)
            before = pair.ask(pair.primary())["checkpoints"]
            rates[name].append(fetch(pair, arguments.size))
            made += pair.ask(pair.primary())["checkpoints"] - before if name == "protected" else 0
    one, two = (statistics.median(rates[name]) for name in rates)
    say("download", f"{one:.1f} MiB/s alone, {two:.1f} MiB/s protected, {two / one:.0%}; {made} checkpoints in 3")


def limit(pair: Pair, arguments: argparse.Namespace) -> None:
    """What two guests that nobody compares leave each other, if both send at once: no pair can be faster."""
    pair.alone()
    apart, together = [], []
    with (
        tempfile.TemporaryDirectory(prefix="coloproxy-guest-") as folder,
        running(Path(folder), protect=False, network=arguments.network) as other,
        ThreadPoolExecutor(2) as pool,
    ):
        for _ in range(3):
            apart.append(fetch(pair, arguments.size))
            together += pool.map(lambda each: fetch(each, arguments.size), (pair, other))
    one, two = statistics.median(apart), statistics.median(together)
    say("limit", f"{one:.1f} MiB/s alone, {two:.1f} MiB/s beside another, {two / one:.0%}")


def peer(pair: Pair, arguments: argparse.Namespace) -> None:
    """The same download from a pair that QEMU compares by itself, inside the primary, and from ours, in turn."""
    rates: dict[str, list[float]] = {"QEMU": [], "ours": []}
    for _ in range(3):
        with beside(own=True) as filters:
            rates["QEMU"].append(fetch(filters, arguments.size, arguments.patience))
        pair.secured()
        time.sleep(1)
        rates["ours"].append(fetch(pair, arguments.size))
    one, two = (statistics.median(rates[name]) for name in rates)
    say("peer", f"{one:.2f} MiB/s compared by QEMU, {two:.1f} MiB/s by us, {two / one:.1f} times")


def fetch(there: Pair | Filters, count: int, patience: float = math.inf) -> float:
    with there.connect(SOURCE) as sock:
        return downloaded(sock, count, patience)


def kill(pair: Pair, arguments: argparse.Namespace) -> None:
    """The primary's host is switched off under load."""
    gaps = []
    for _ in range(arguments.kills):
        pair.secured()
        time.sleep(0.5)
        with talking(pair) as talk:
            primary = pair.primary()
            talk.fresh()
            pair.kill_host(primary)
            pair.wait_state(pair.file.other(primary), "alone")
            talk.goes_on(pair, 20)
            gaps.append(talk.gap)
            pair.revive_host(primary)
            pair.wait(lambda host=primary: pair.quietly(host) not in ("", "deciding"))  # type: ignore[misc]
    under = sum(gap < 1 for gap in gaps)
    say("kill", f"longest gap {ms(gaps)}; under 1 s in {under} of {len(gaps)}; connections alive, data right in all")


def cut(pair: Pair, arguments: argparse.Namespace) -> None:
    """The wire between the hosts is cut at any time, both alive: who goes on?"""
    both = none = 0
    chance = random.Random(arguments.seed)
    for _ in range(arguments.cuts):
        pair.secured()
        before = {host: len(pair.events(host, "taken_over")) for host in pair.file.host}
        with talking(pair) as talk:
            if chance.random() < 0.5:
                pair.ask(pair.primary(), "checkpoint")
            time.sleep(chance.random() * 0.02)
            pair.wire("a", False)
            taken = settled(pair, before)
            both += taken > 1
            none += taken < 1
            talk.goes_on(pair, 10)
            pair.wire("a", True)
    say("cut", f"{arguments.cuts} cuts: two went on in {both}, none in {none}")
    assert not both, "two lived"


def rounds(pair: Pair, arguments: argparse.Namespace) -> None:
    """Failed over and protected again, over and over, on the same connections."""
    gaps = []
    pair.secured()
    with talking(pair) as talk:
        for _ in range(arguments.rounds):
            pair.secured()
            talk.goes_on(pair, 10)
            primary = pair.primary()
            talk.fresh()
            pair.ask(primary, "failover")
            pair.wait_state(pair.file.other(primary), "alone")
            talk.goes_on(pair, 20)
            gaps.append(talk.gap)
    say("rounds", f"{arguments.rounds} on the same two connections, longest gap {ms(gaps)}")


def faults(arguments: argparse.Namespace) -> None:
    """Every fault of every victim in every state, in another order and at other moments with each seed."""
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        cells = matrix()
        random.Random(seed).shuffle(cells)
        came: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="coloproxy-faults-") as folder:
            ranges = Ranges(Path(folder), seed, arguments.disk)
            try:
                for cell in cells:
                    came[ranges.suffer(cell)] += 1
            finally:
                ranges.close()
        what = ", ".join(f"{outcome} {count}" for outcome, count in sorted(came.items()))
        say("faults", f"seed {seed}: {len(cells)} cells, {what}; all as it must be")


def settled(pair: Pair, before: dict[str, int]) -> int:
    """How many went on alone, once neither is undecided."""
    end = time.monotonic() + 15
    undecided = {*PROTECTED, "pairing", "deciding", "standby", "loading", "taking over", "failing over"}
    while time.monotonic() < end and undecided & {pair.quietly(host) for host in pair.file.host}:
        time.sleep(0.02)
    time.sleep(0.3)
    return sum(len(pair.events(host, "taken_over")) > count for host, count in before.items())


def idle(pair: Pair, arguments: argparse.Namespace) -> None:
    """Checkpoints that nobody asked for: idle, then under a load whose answers are the same on both."""
    pair.secured()
    primary = pair.primary()
    before = pair.ask(primary)["checkpoints"]
    time.sleep(arguments.seconds)
    quiet = pair.ask(primary)["checkpoints"]
    with talking(pair):
        time.sleep(arguments.seconds)
    loaded = pair.ask(primary)["checkpoints"]
    say("idle", f"{quiet - before} in {arguments.seconds} s idle, {loaded - quiet} in {arguments.seconds} s of echoes")


def ms(seconds: list[float]) -> str:
    return f"median {1000 * statistics.median(seconds):.1f} ms, most {1000 * max(seconds):.1f} ms"


def say(what: str, text: str) -> None:
    print(f"{what:11}{text}", flush=True)


PARTS: dict[str, Callable[[Pair, argparse.Namespace], None]] = {
    "protect": protect, "checkpoint": checkpoint, "stall": stall, "echo": echo, "download": download,
    "limit": limit, "peer": peer, "idle": idle, "kill": kill, "cut": cut, "rounds": rounds,
}  # fmt: skip

FAULTS = "faults"
RETRANSMISSION = 0.15  # seconds: TCP waits for 200 ms at the least, counted from when it sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"{', '.join(PARTS)}; {FAULTS}, if it is named")
    parser.add_argument("--size", type=int, default=200, help="MiB of the download")
    parser.add_argument("--patience", type=int, default=60, help="seconds for a download that QEMU compares")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=20, help="of idleness and of load")
    parser.add_argument("--network", choices=["stream", "vhost-user"], default="stream", help="of the guest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="of the faults")
    parser.add_argument("--disk", type=int, default=0, metavar="MIB", help="the guest has one, which it writes to")
    parser.add_argument("--keys", action="store_true", help="all between the hosts under TLS")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {*PARTS, FAULTS}
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}, {FAULTS}")
    if FAULTS in arguments.parts:
        faults(arguments)
        arguments.parts.remove(FAULTS)
    if not arguments.parts:
        return
    with tempfile.TemporaryDirectory(prefix="coloproxy-guest-") as folder:
        make_keys(Path(folder, "keys"), ["a", "b"])
        keys = f'keys = "{folder}/keys"' if arguments.keys else ""
        with running(Path(folder), extra=keys, misses=5, network=arguments.network, disk=arguments.disk * MIB) as pair:
            for part in arguments.parts:
                PARTS[part](pair, arguments)


if __name__ == "__main__":
    main()
