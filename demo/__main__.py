"""The demonstration, act by act.

    python -m demo [--size MIB] [--seed NUMBER] [--runs NUMBER] [--out FOLDER] [--watch]

Exit status 0 when everything came out as it must, 1 when something did not, 2 when something could not run.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from rich.console import Console

from coloproxy.compare.engine import COMPILED
from coloproxy.errors import ColoproxyError
from demo import acts, household, screen, stream, traffic, watched
from demo.story import Change, Story
from figures import Result

DIGITS = b"0123456789"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"demo: {message}; see python -m demo --help.", file=sys.stderr)
        raise SystemExit(2)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m demo", description="Two replicas of a real TCP stream, compared.")
    parser.add_argument("--size", type=whole(1, 1024), default=64, help="MiB that the server sends (default 64)")
    parser.add_argument("--seed", type=whole(0, 2**32), help="where to cut and what to change (default: at random)")
    parser.add_argument("--runs", type=whole(0, 99), default=1, help="runs of each measurement (default 1; 0: none)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture (default: out)")
    parser.add_argument("--watch", action="store_true", help="at the end, go on, with a page to watch, until Ctrl-C")
    return parser.parse_args()


def whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number within bounds."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


@contextmanager
def doing(console: Console, text: str) -> Iterator[acts.Told]:
    """Say on a terminal what goes on, and how far it is: give the share that is done to what this yields."""
    with console.status(text) as status:
        yield lambda share: status.update(f"{text}: {100 * share:.0f} %")


def demonstrate(args: argparse.Namespace, console: Console) -> None:
    """All acts. Raises WrongError for what came out wrong, ColoproxyError for what cannot be."""
    begin = time.monotonic()
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    args.out.mkdir(parents=True, exist_ok=True)
    console.print("[bold]Two replicas run the same server. What they send is compared before it leaves.[/]")
    primary = talk(args.size, console)
    rng = random.Random(seed)
    story = play(primary, rng, console)._replace(costs=measure(args.runs, console))
    screen.heading(console, 6, "In one look")
    screen.stream_picture(console, story)
    from demo import picture

    file = args.out / "demo.png"
    picture.draw(story, file)
    console.print(
        f"\nEverything came out as it must, in {time.monotonic() - begin:.0f} s. The picture: [bold]{file}[/]\n"
        f"[bright_black]The same cuts and the same change again: python -m demo --seed {seed}[/]"
    )
    if args.watch:
        watch(primary, rng, console)


def talk(size: int, console: Console) -> list[stream.Segment]:
    """Act 1: the traffic, as the server sent it."""
    place = traffic.network()
    screen.heading(console, 1, "A web server and a client talk")
    begin = time.monotonic()
    with TemporaryDirectory() as name, doing(console, "server and client talk"):
        traffic.make(size << 20, Path(name) / "capture", place)
        seconds = time.monotonic() - begin
        primary = stream.read(Path(name) / "capture")
    screen.fact(console, "real TCP", f"two processes, {place.words}: {size} MiB in {seconds:.1f} s")
    screen.fact(console, "captured", f"{len(primary):,} frames that the server sent")
    return primary


def play(primary: list[stream.Segment], rng: random.Random, console: Console) -> Story:
    """Acts 2 to 4: the same stream twice, a byte changed, and the method from before."""
    data = stream.stream(primary)
    screen.heading(console, 2, "The same bytes from both replicas, cut at different places")
    with doing(console, "the secondary's stream is cut anew"):
        secondary = stream.recut(primary, rng)
    with doing(console, "released") as told:
        same = acts.same(primary, secondary, told)
    acts.check(same.checkpoints == 0, f"{same.checkpoints} checkpoints were asked for though both sent the same")
    show_same(console, primary, secondary, same)

    change = choose(data, rng)
    screen.heading(console, 3, "One byte of the secondary's is changed")
    with doing(console, "released") as told:
        stop = acts.different(primary, stream.changed(secondary, change.place, change.new), change.place, told)
    show_stop(console, stop, change)

    screen.heading(console, 4, "For contrast: whole packets compared, as was done before 2018")
    with doing(console, "released") as told:
        packet = acts.same(primary, secondary, told, "--tcp-match", "packet")
    screen.fact(console, "streams", "the equal ones of 2; a checkpoint halts both replicas")
    screen.checkpoints(console, packet.checkpoints, same.checkpoints)
    return Story(primary, secondary, len(data), change, same, stop, packet, None)


def watch(primary: list[stream.Segment], rng: random.Random, console: Console) -> None:
    """Go on until a signal comes."""
    for proxy in watched.watch(primary, rng):
        console.print(
            f"\nIt goes on, connection after connection; every other one differs in a byte. Watch it: {proxy.page()}\n"
            "[bright_black]Ctrl-C ends it.[/]",
            soft_wrap=True,
        )


def choose(data: bytes, rng: random.Random) -> Change:
    """A digit somewhere in the middle half of the stream, and another one for it."""
    place = rng.randint(len(data) // 4, 3 * len(data) // 4)
    while data[place] not in DIGITS:
        place += 1
    return Change(place, data[place], rng.choice(DIGITS.replace(bytes([data[place]]), b"")))


def show_same(
    console: Console, primary: list[stream.Segment], secondary: list[stream.Segment], same: acts.Outcome
) -> None:
    """What came of act 2."""
    for name, how, segments in (("primary", "as captured", primary), ("secondary", "cut anew", secondary)):
        sizes = [len(segment.data) for segment in segments if segment.data]
        text = f"{how}: {len(sizes):,} segments of {sum(sizes) / len(sizes):,.0f} bytes on average"
        screen.fact(console, name, text)
    rate = f"{8 * same.bytes / same.seconds / 1e9:.1f} Gbit/s, {same.frames / same.seconds:,.0f} frames/s"
    screen.fact(console, "released", f"all {same.frames:,} frames, byte for byte the primary's")
    screen.fact(console, "in", f"{same.seconds:.2f} s: {rate}")
    screen.fact(console, "checkpoints", f"[bold green]{same.checkpoints}[/] asked for")
    if not COMPILED:
        screen.fact(console, "note", "uncompiled, so many times slower: see coloproxy doctor")


def show_stop(console: Console, stop: acts.Stop, change: Change) -> None:
    """What came of act 3."""
    before = f"{stop.released:,} frames, up to byte {stop.place:,}: [bold green]all before it[/]"
    screen.fact(console, "released", before)
    screen.fact(console, "held", f"the next frame, whose byte {change.place - stop.place:,} differs, and all behind it")
    screen.explanation(console, stop.event, change)
    console.print()
    screen.fact(console, "checkpoint", "[bold red]1[/] asked for on the notify socket; after it the rest came out")


def measure(runs: int, console: Console) -> Result | None:
    """Act 5: what comparing costs."""
    from demo import costs

    screen.heading(console, 5, "What comparing costs, beside QEMU and a relay that compares nothing")
    if runs == 0:
        screen.fact(console, "left out", "make bench measures it")
        return None
    for sentence in costs.missing():
        screen.fact(console, "missing", sentence)
    result = costs.measure(runs, Console(quiet=not console.is_terminal))
    if result is None:
        return None
    wrong = sorted({f"{run.workload} through {run.proxy}" for run in result.runs if not run.right})
    acts.check(not wrong, f"not everything came out right: {', '.join(wrong)}")
    screen.costs(console, result)
    often = "one run" if runs == 1 else f"median of {runs} runs"
    screen.fact(console, "quick run", f"{often}, a tenth of the frames each; in full: make bench")
    return result


def main() -> int:
    """Run the demonstration."""
    args = arguments()
    try:
        if importlib.util.find_spec("matplotlib") is None:
            raise ColoproxyError("the picture needs matplotlib: pip install 'coloproxy[plot]'.")
        with household.tidy():
            demonstrate(args, Console(highlight=False))
    except acts.WrongError as wrong:
        print(f"demo: wrong: {wrong}.", file=sys.stderr)
        return 1
    except (ColoproxyError, OSError, RuntimeError, subprocess.SubprocessError) as problem:
        print(f"demo: {words(problem)}", file=sys.stderr)
        return 2
    except household.Ended as ended:
        print(f"demo: ended by {ended.number.name}.", file=sys.stderr)
        return 128 + ended.number
    return 0


def words(problem: Exception) -> str:
    """What could not be done, as a sentence."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename or 'the system'}: {problem.strerror}."
    return str(problem)


if __name__ == "__main__":
    raise SystemExit(main())
