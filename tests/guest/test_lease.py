"""Who may live: the record, whatever two agents do to it in whatever order, and whatever of it they hear."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coloproxy.guest import lease
from coloproxy.guest.lease import Record, RefusedError

HOSTS = st.sampled_from(["a", "b"])
PAIR = Record(5, ("a", "b"))


def test_of_two_that_claim_one_is_granted() -> None:
    after = lease.claim("a", 5)(PAIR, True)
    assert after == Record(6, ("a",))
    with pytest.raises(RefusedError, match="a has the guest, not b"):
        lease.claim("b", 5)(after, True)


def test_a_claim_whose_answer_was_lost_can_be_repeated() -> None:
    after = lease.claim("a", 5)(PAIR, True)
    assert lease.claim("a", 5)(after, True) == after


def test_a_pair_whose_answer_was_lost_can_be_claimed() -> None:
    paired = lease.pair("a", "b", 4)(Record(4, ("a",)), True)
    assert paired == PAIR
    assert lease.pair("a", "b", 4)(paired, True) == paired
    assert lease.claim("a", 4)(paired, True) == Record(6, ("a",))


def test_a_copy_of_an_older_time_may_not_live() -> None:
    later = Record(9, ("a", "b"))
    with pytest.raises(RefusedError):
        lease.claim("b", 5)(later, True)


def test_a_guest_is_started_where_nobody_has_it_or_its_lease_has_run_out() -> None:
    assert lease.take("a")(Record(), False) == Record(1, ("a",))
    with pytest.raises(RefusedError, match="b has the guest; end it there first"):
        lease.take("a")(Record(3, ("b",)), True)
    assert lease.take("a")(Record(3, ("b",)), False) == Record(4, ("a",))
    assert lease.take("a")(Record(3, ("a",)), True) == Record(4, ("a",))


def test_only_who_has_the_guest_renews() -> None:
    assert lease.renew("a", 5)(PAIR, False) == PAIR
    for host, generation in (("a", 2), ("a", 6), ("b", 4), ("c", 5)):
        with pytest.raises(RefusedError):
            lease.renew(host, generation)(PAIR, True)


def test_who_has_not_heard_of_its_own_changes_has_the_guest_still() -> None:
    alone = lease.claim("a", 4)(PAIR, True)  # it heard neither of the pair that it made, nor of this
    assert alone == Record(6, ("a",))
    assert lease.claim("a", 4)(alone, True) == alone
    for record in (PAIR, alone):
        assert lease.renew("a", 4)(record, True) == record
    for other in (Record(6, ("b",)), Record(6, ("b", "a")), Record(7, ("a",))):
        with pytest.raises(RefusedError):
            lease.renew("a", 4)(other, True)
        with pytest.raises(RefusedError):
            lease.claim("a", 4)(other, True)


def test_who_ends_the_guest_leaves_it_to_nobody() -> None:
    assert lease.give_up("a", 5)(PAIR, True) == Record(6, (), ("a", "b"))


@pytest.mark.parametrize("record", [Record(6, ("a",)), Record(7, (), ("a",))], ids=["lost", "ended"])
def test_a_guest_is_not_started_from_an_old_disk(record: Record) -> None:
    with pytest.raises(RefusedError, match="the disk of b is old: a had the guest last; start it there"):
        lease.take("b", written=True)(record, False)
    assert lease.take("b")(record, False) == Record(record.generation + 1, ("b",))  # one that is only read
    assert lease.take("a", written=True)(record, False) == Record(record.generation + 1, ("a",))


def test_a_disk_that_was_a_secondarys_counts_when_it_is_whole() -> None:
    taken = lease.claim("b", 5, merging=True)(PAIR, True)
    with pytest.raises(RefusedError, match=r"the disk of b is not whole: .* remove the lease's record"):
        lease.take("b", written=True)(taken, False)
    ended = lease.give_up("b", 6)(taken, True)
    with pytest.raises(RefusedError, match="the disk of b is not whole"):
        lease.take("b", written=True)(ended, False)
    whole = lease.whole("b", 6)(taken, True)
    assert whole == Record(6, ("b",))
    assert lease.take("b", written=True)(whole, False) == Record(7, ("b",))


def test_a_disk_that_is_not_whole_stays_so_while_the_guest_is_protected_and_alone_again() -> None:
    taken = lease.claim("b", 5, merging=True)(PAIR, True)
    pair = lease.pair("b", "a", 6)(taken, True)
    assert pair == lease.pair("b", "a", 6)(pair, True) == Record(7, ("b", "a"), merging="b")
    assert lease.claim("b", 7)(pair, True) == Record(8, ("b",), merging="b")
    assert lease.claim("a", 7, merging=True)(pair, True) == Record(8, ("a",), merging="a")
    assert lease.take("a", written=True)(pair, False) == Record(8, ("a",))


def test_that_a_disk_is_whole_is_not_said_of_a_later_merge() -> None:
    late = lease.whole("b", 6)
    with pytest.raises(RefusedError):
        late(Record(9, ("b",), merging="b"), True)


@pytest.mark.parametrize("record", [PAIR, Record(7, (), ("a", "b")), Record()], ids=["lost", "ended", "never had"])
def test_a_guest_is_started_from_either_disk_if_both_had_it(record: Record) -> None:
    for host in ("a", "b"):
        assert lease.take(host, written=True)(record, False).members == (host,)


def test_while_the_lease_lasts_nobody_starts_the_guest_from_the_same_disk() -> None:
    with pytest.raises(RefusedError, match="a and b has the guest; end it there first"):
        lease.take("b", written=True)(PAIR, True)


@dataclass
class Agent:
    """What one knows. step: how far its guest is; alive: it says something alone; in_step: it has an equal copy."""

    generation: int = 0
    alone: bool = False
    in_step: bool = False
    knows_pair: bool = False
    told: list[int] = field(default_factory=list)


class Cuts(RuleBasedStateMachine):
    """Two agents, a record, answers that are lost, and a wire between the agents that is cut at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record(1, ("a",))
        self.agents = {"a": Agent(1, alone=True), "b": Agent()}

    def change(self, host: str, decide: lease.Decide, heard: bool) -> bool:
        """Whether it was granted, as far as this host knows."""
        try:
            self.record = decide(self.record, True)
        except RefusedError:
            if heard:
                self.agents[host].alone = self.agents[host].in_step = False
            return False
        if heard:
            self.agents[host].generation = self.record.generation
        return heard

    @rule(host=HOSTS, heard=st.booleans(), told=st.booleans())
    def protect(self, host: str, heard: bool, told: bool) -> None:
        """The lonely one makes a copy, says nothing alone from then on, writes that, and tells the other."""
        other = "b" if host == "a" else "a"
        me, them = self.agents[host], self.agents[other]
        if not me.alone or them.alone or them.in_step:
            return
        me.alone, me.in_step = False, True
        if self.change(host, lease.pair(host, other, me.generation), heard) and told:
            them.generation, them.in_step = me.generation, True

    @rule(host=HOSTS, heard=st.booleans())
    def claim(self, host: str, heard: bool) -> None:
        """One that is in step has lost the other."""
        me = self.agents[host]
        if me.in_step and self.change(host, lease.claim(host, me.generation), heard):
            me.alone, me.in_step = True, False

    @rule(host=HOSTS)
    def crash(self, host: str) -> None:
        """A copy is lost, agent and all."""
        if self.agents[host].in_step:
            self.agents[host] = Agent()

    @invariant()
    def never_two(self) -> None:
        assert sum(agent.alone for agent in self.agents.values()) <= 1

    @invariant()
    def who_lives_is_in_the_record(self) -> None:
        for host, agent in self.agents.items():
            assert not agent.alone or self.record.members == (host,)


TestCuts = Cuts.TestCase
