"""Medians of the runs, and ratios of those that met the machine in the same state."""

import pytest

from figures import LIMITS, Run, ratios, summarise
from report import number


def run(workload: str, proxy: str, cpu: float, seconds: float = 1.0) -> Run:
    return Run(
        workload=workload, proxy=proxy, frames=1_000_000, bytes=64_000_000, seconds=seconds, cpu_seconds=cpu,
        peak_rss=1 << 20, out_of_order=0, right=True,
    )  # fmt: skip


def test_a_figure_is_the_median_of_its_runs_with_the_range_beside_it() -> None:
    runs = [run("W1", "coloproxy", cpu) for cpu in (3.0, 1.0, 9.0)]
    (figure,) = summarise(runs, {"W1": "title"})
    assert (figure.runs, figure.cpu_per_million, figure.cpu_per_million_range) == (3, 3.0, (1.0, 9.0))
    assert (figure.frames_per_second, figure.megabytes_per_second) == (1e6, 64.0)


def test_a_ratio_is_of_runs_of_one_round_so_that_a_slow_hour_falls_on_both() -> None:
    runs = [run("W1", proxy, cpu * load) for load in (1, 5, 2) for proxy, cpu in (("coloproxy", 0.5), ("qemu", 5.0))]
    (found,) = [item for item in ratios(runs) if item.measure == "cpu_vs_qemu"]
    assert found.value == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("measure", "other", "cost", "seconds", "met"),
    [
        ("cpu_vs_qemu", "qemu", 8.0, 1.0, True),
        ("cpu_vs_qemu", "qemu", 7.9, 1.0, False),
        ("rate_vs_qemu", "qemu", 1.0, 5.0, True),
        ("rate_vs_qemu", "qemu", 1.0, 4.9, False),
        ("cpu_vs_relay", "relay", 0.5, 1.0, True),
        ("cpu_vs_relay", "relay", 0.49, 1.0, False),
    ],
)
def test_less_cpu_and_more_frames_meet_the_limit(
    measure: str, other: str, cost: float, seconds: float, met: bool
) -> None:
    found = ratios([run("W1", "coloproxy", 1.0), run("W1", other, cost, seconds)])
    assert [item.met for item in found if item.measure == measure] == [met]


def test_what_was_not_measured_has_no_ratio_and_what_nobody_asked_for_no_limit() -> None:
    assert ratios([run("W6", "coloproxy", 1.0)]) == []
    found = ratios([run("W6", "coloproxy", 1.0), run("W6", "relay", 1.0)])
    assert [(item.workload, item.limit, item.met, item.wanted) for item in found] == [("W6", None, True, "")]
    assert not any(workload == "W6" for workload, _ in LIMITS)


@pytest.mark.parametrize(("value", "text"), [(1234567.8, "1,234,568"), (12.34, "12.3"), (0.0456, "0.0456")])
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text
