"""What a user may write, and what becomes of it."""

import tomllib
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.cli.lab import settings
from coloproxy.errors import ColoproxyError
from coloproxy.lab import plan as plans
from coloproxy.lab.plan import Action, Fault, Impairment, Plan
from coloproxy.lab.wiring import topology
from coloproxy.link.arena import Pool
from coloproxy.link.clock import Clock
from coloproxy.link.loop import Loop
from coloproxy.topology.build import build
from coloproxy.topology.config import convert

PLACES = {name: f"/proc/1/fd/{number}" for number, name in enumerate(("client", "proxy", "primary", "secondary"))}


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("200M", 200 << 20), ("1G", 1 << 30), ("1.5k", 1536), ("20k", 20480)]
)
def test_sizes_are_binary(text, size) -> None:
    assert plans.bytes_of(text) == size


def test_rates_are_decimal() -> None:
    assert plans.bits_of("1G") == 1e9
    assert plans.bits_of("2.5M") == 2.5e6


@pytest.mark.parametrize("text", ["", "0", "x", "1T", "99T", "-1", "-5", "1 G", "1e9", "0.0k"])
def test_other_sizes_and_rates_are_refused(text) -> None:
    with pytest.raises(ColoproxyError, match=r"^size '.*' is no good: write a number above 0, .* as 200M or 1G\.$"):
        plans.bytes_of(text)
    with pytest.raises(ColoproxyError, match=r"^rate '.*' is no good: write a number above 0, .* as 100M or 1G\.$"):
        plans.bits_of(text)


@pytest.mark.parametrize(
    ("text", "legs"),
    [
        ("loss=1", plans.LEGS),
        ("client:loss=1", ("from-client", "to-client")),
        ("to-primary:loss=1", ("to-primary",)),
        ("secondary:loss=1", ("to-secondary", "from-secondary")),
    ],
)
def test_an_impairment_is_of_one_direction_of_both_or_of_all_legs(text, legs) -> None:
    assert tuple(plans.impairment(text)[0]) == legs


def test_an_impairment_may_have_all_kinds_at_a_time() -> None:
    text = "client:loss=1%,duplicate=0.02,reorder=3%,delay=5,jitter=0.5,rate=10M,limit=99"
    assert plans.impairment(text)[1] == Impairment(
        loss=0.01, duplicate=0.02, reorder=0.03, delay=5.0, jitter=0.5, rate="10M", limit=99
    )


@pytest.mark.parametrize(
    "text",
    ["", "loss", "loss=", "loss=2", "loss=101%", "loss=-1", "delay=x", "x=1", "to:loss=1", "a:b:loss=1", "rate=0"],
)
def test_other_impairments_are_refused(text) -> None:
    with pytest.raises(ColoproxyError):
        plans.impairment(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bogus=1", "'bogus' is no key; keys are loss, duplicate, reorder, delay, jitter, rate, limit."),
        ("loss", "'loss' is no KEY=VALUE; keys are loss,"),
        ("middle:loss=1%", "no leg 'middle'; there are client, primary, secondary, from-client, to-client,"),
    ],
)
def test_what_is_wrong_with_an_impairment_is_said(text, words) -> None:
    with pytest.raises(ColoproxyError) as refused:
        plans.impairment(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["nosuch=5"], "--compare nosuch=5: unknown key 'nosuch'; known are type, tcp_match, isn,"),
        (
            ["compare_timout=5"],
            "--compare compare_timout=5: unknown key 'compare_timout'; did you mean compare_timeout?",
        ),
        (
            ["max_connections=7", "compare-timeout=x"],
            "--compare compare-timeout=x: compare_timeout = 'x' is no good: write a whole number from 1 to 4294967295.",
        ),
        (["compare_timeout"], "--compare 'compare_timeout' is no good: write KEY=VALUE"),
    ],
)
def test_settings_of_the_comparator_that_are_none_are_refused_by_name(texts, said) -> None:
    with pytest.raises(ColoproxyError) as refused:
        settings(texts, None)
    assert str(refused.value).startswith(said)


def test_settings_of_the_comparator_are_taken_as_they_are_written() -> None:
    assert settings(["compare-timeout=5000", "tcp_match=packet"], "cut") == {
        "on_divergence": "cut",
        "compare_timeout": 5000,
        "tcp_match": "packet",
    }


def test_only_alarm_and_cut_are_offered_for_divergences() -> None:
    with pytest.raises(ColoproxyError, match=r"^--on-divergence 'hold' is unknown; there are alarm, cut\.$"):
        settings([], "hold")


def test_faults_and_actions_say_whose_and_when() -> None:
    assert plans.fault("secondary:1000") == Fault(replica="secondary", offset=1000)
    assert plans.fault("primary:0@80") == Fault(replica="primary", offset=0, port=80)
    assert plans.action("pause", "secondary:1.5") == Action(what="pause", replica="secondary", seconds=1.5, at=0.5)
    assert plans.action("kill", "primary@30%") == Action(what="kill", replica="primary", at=0.3)
    assert plans.action("kill", "primary:2@1.5s") == Action(what="kill", replica="primary", seconds=2.0, after=1.5)


@pytest.mark.parametrize("text", ["", "client:1", "secondary", "secondary:x", "secondary:1@", "secondary:1@5"])
def test_other_pauses_are_refused(text) -> None:
    with pytest.raises(ColoproxyError, match=r"--pause .* is no good: write REPLICA:SECONDS"):
        plans.action("pause", text)


def test_a_workload_may_have_a_size_of_its_own() -> None:
    assert plans.workload("ftp-get:2M", 6, 3, 77, 2, None).size == 2 << 20
    assert plans.workload("ftp-get", 6, 3, 77, 2, None).size == 77
    for text in ("ftp-get:", "ftp-get:x", "x", "x:1"):
        with pytest.raises(ColoproxyError):
            plans.workload(text, 4, None, None, 1, None)


RR = plans.workload("rr", 4, None, None, 1, None)
UDP = plans.workload("udp", 4, None, 1 << 16, 1, None)
GET, PUT = (plans.workload(name, 4, None, None, 2, None) for name in ("ftp-get", "ftp-put"))


def test_no_action_comes_behind_the_end_of_the_work() -> None:
    assert plans.action("kill", "primary@100%").at == 1
    with pytest.raises(ColoproxyError, match="no more than 100%"):
        plans.action("kill", "primary@101%")
    with pytest.raises(ColoproxyError, match="no more than 100%"):
        plans.action("pause", "secondary:1@150%")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(), "nothing to do"),
        (Plan(server="x"), "nothing to do"),
        (Plan(workloads=(RR,), server="x", client="y"), "give either"),
        (Plan(workloads=(RR,), path="direct", skew=True), "use another path"),
        (Plan(workloads=(RR,), path="direct", legs={"to-client": Impairment()}), "use another path"),
        (Plan(workloads=(RR,), path="forward", actions=(Action(what="kill", replica="secondary"),)), "no secondary"),
        (Plan(workloads=(RR,), path="forward", legs={"to-secondary": Impairment()}), "no secondary"),
        (Plan(workloads=(RR,), path="direct", actions=(Action(what="kill", replica="primary"),)), "nobody goes on"),
        (Plan(workloads=(RR,), dump=True), "--keep"),
        (Plan(workloads=(UDP,)), "one datagram"),
        (Plan(workloads=(GET,), ftp="vsftpd"), "one client at a time"),
        (Plan(workloads=(PUT,), ftp="vsftpd"), "checks what it is sent"),
    ],
)
def test_plans_that_cannot_be_are_refused_with_a_reason(plan, words) -> None:
    with pytest.raises(ColoproxyError, match=words):
        plans.check(plan)


LEGS = st.dictionaries(st.sampled_from(plans.LEGS), st.just(Impairment(loss=0.5, rate="1M")))
FAULTS = st.lists(st.builds(Fault, replica=st.sampled_from(["primary", "secondary"]), offset=st.just(5)), max_size=3)


@given(
    st.builds(
        Plan,
        workloads=st.just((RR,)),
        path=st.sampled_from(["forward", "compare"]),
        legs=LEGS,
        skew=st.booleans(),
        faults=FAULTS.map(tuple),
        timestamps=st.sampled_from(["strip", "translate", "keep"]),
        compare=st.sampled_from([{}, {"on_divergence": "alarm"}, {"on_divergence": "cut"}, {"tcp_match": "packet"}]),
        seed=st.integers(1, 1 << 31),
    ),
    st.sampled_from(["tap", "packet"]),
    st.booleans(),
)
def test_every_plans_topology_can_be_built(plan, ports, dump) -> None:
    try:
        plans.check(plan)
    except ColoproxyError:
        return
    text = topology(plan, ports, PLACES, Path("/f"), Path("/c"), Path("/f") if dump else None)
    loop = Loop()
    try:
        pieces = build(convert(tomllib.loads(text), "here"), loop, Clock(), Pool(), [].append)
    finally:
        loop.close()
    assert set(pieces.ports) == {"client", *plan.replicas}
    names = [element.name for element in pieces.elements]
    for leg in plan.legs:
        assert f"impair-{leg}" in names
    assert sum(name.startswith("alter") for name in names) == sum(f.replica in plan.replicas for f in plan.faults)
    assert ("skew" in names) == (plan.skew and plan.path == "compare")
    assert sum(name.startswith("dump") for name in names) == dump * 2 * (1 + len(plan.replicas))


def test_every_leg_has_chance_of_its_own() -> None:
    seeds = set()
    for seed, leg in product(range(1, 5), plans.LEGS):
        plan = Plan(workloads=(RR,), legs={leg: Impairment(loss=0.5)}, seed=seed)
        table = tomllib.loads(topology(plan, "tap", PLACES, Path("/f"), Path("/c"), None))
        seeds.add(table["element"][f"impair-{leg}"]["seed"])
    assert len(seeds) == 4 * len(plans.LEGS)
