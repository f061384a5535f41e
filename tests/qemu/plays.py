"""Plays: what two replicas may say, step by step, at random, within the domain in which QEMU is right."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from domain import Domain
from reasons import Reason
from replicas import LARGE, DatagramPair, Pair, PassingPair, TcpPair
from said import Said

TRIES = 6  # sayings thought of before a turn is given up


class Step(NamedTuple):
    """One side says these; or, without a side, a checkpoint is made."""

    side: str
    said: tuple[Said, ...] = ()


CHECKPOINT = Step("")


class Refusal(NamedTuple):
    """What would have led out of the domain: after so many steps, this, for this reason."""

    after: int
    side: str
    said: Said
    reason: Reason


@dataclass
class Play:
    """Steps, and what was left out."""

    vnet_hdr: bool
    steps: list[Step] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def hosts(self) -> int:
        """How many clients there are."""
        return 1 + max((said.connection // 2 for step in self.steps for said in step.said), default=0)

    def __str__(self) -> str:
        return "".join(f"    {step},\n" for step in self.steps)


def make(rng: random.Random, vnet_hdr: bool) -> Play:
    """A play within the domain, on one to five connections, that ends with a checkpoint."""
    play, domain = Play(vnet_hdr), Domain()
    kinds = (TcpPair, TcpPair, TcpPair, DatagramPair, DatagramPair, PassingPair)
    pairs: list[Pair] = [rng.choice(kinds)(rng, number, vnet_hdr) for number in range(rng.randint(1, 5))]
    for _ in range(rng.choice((5, 20, 60))):
        if rng.random() < (0.15 if domain.diverged else 0.03):
            play.steps.append(checkpoint(rng, domain, pairs))
        else:
            _turn(rng, play, domain, rng.choice(pairs))
    play.steps.append(checkpoint(rng, domain, pairs))
    return play


def checkpoint(rng: random.Random, domain: Domain, pairs: Sequence[Pair]) -> Step:
    domain.checkpoint()
    for pair in pairs:
        pair.checkpoint(rng)
    return CHECKPOINT


def _turn(rng: random.Random, play: Play, domain: Domain, pair: Pair) -> None:
    """One side says one thing or several, as far as the domain reaches."""
    side = rng.choice("ps")
    said: list[Said] = []
    wanted = rng.choice((1, 1, 2, 8))
    for _ in range(TRIES * wanted):
        thought = pair.think(rng, side)
        reason = domain.take(side, thought)
        if reason is None:
            pair.say(side, thought)
            said.append(thought)
            if len(said) == wanted or len(getattr(thought, "payload", b"")) > LARGE[0]:
                break
        elif not said:
            play.refusals.append(Refusal(len(play.steps), side, thought, reason))
    if said:
        play.steps.append(Step(side, tuple(said)))


def split(step: Step) -> list[Step]:
    """One saying a step."""
    return [Step(step.side, (said,)) for said in step.said] or [step]


def within_domain(vnet_hdr: bool, steps: Sequence[Step]) -> Play:
    """The steps without what leads out of the domain: after some were taken out, others may."""
    domain, kept = Domain(), Play(vnet_hdr)
    for step in steps:
        if not step.side:
            domain.checkpoint()
            kept.steps.append(step)
        elif said := tuple(each for each in step.said if domain.take(step.side, each) is None):
            kept.steps.append(Step(step.side, said))
    return kept


def calm(play: Play) -> Play:
    """The play one saying a step, with a checkpoint after every divergence: then both have the same to log."""
    domain, calmed = Domain(logged=True), Play(play.vnet_hdr)
    for step in play.steps:
        for said in step.said:
            if domain.take(step.side, said) is None:
                calmed.steps.append(Step(step.side, (said,)))
            if domain.diverged:
                domain.checkpoint()
                calmed.steps.append(CHECKPOINT)
        if step == CHECKPOINT:
            domain.checkpoint()
            calmed.steps.append(step)
    return calmed


def reduced(play: Play, fails: Callable[[Play], bool]) -> Play:
    """A play that still fails, from which nothing can be taken."""
    single = within_domain(play.vnet_hdr, list(chain.from_iterable(map(split, play.steps))))
    if fails(single):
        play = single
    size = max(1, len(play.steps) // 2)
    while size:
        at = 0
        while at < len(play.steps):
            less = within_domain(play.vnet_hdr, play.steps[:at] + play.steps[at + size :])
            if fails(less):
                play = less
            else:
                at += size
        size //= 2
    return play
