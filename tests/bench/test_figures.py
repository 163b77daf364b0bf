"""Medians, ratios and growth are computed as the report says."""

from __future__ import annotations

import pytest

from bench.figures import EMBEDDED, GOALS, OURS, PEER, figures_of, growth, ratios
from bench.generator import Sample


def sample(requests: int = 100, p50: float = 1.0) -> Sample:
    """Return a run of one second."""
    return Sample(requests, 1.0, p50, 2 * p50, 3 * p50, cpu=0.5)


def test_figures_are_medians_of_the_rounds() -> None:
    rounds = [sample(100, 1.0), sample(900, 9.0), sample(300, 2.0)]
    found = figures_of(rounds)
    assert (found.rounds, found.rate, found.p50, found.p90, found.p99) == (3, 300, 2.0, 4.0, 6.0)


def test_rates_are_per_second() -> None:
    assert Sample(requests=50, seconds=2.5, p50=1, p90=1, p99=1).rate == 20


def test_throughput_is_ours_over_the_peers() -> None:
    case = GOALS["detokenize_batch"].case
    samples = {
        (OURS, case): [sample(250)] * 5,
        (EMBEDDED, case): [sample(300)] * 5,
        (PEER, case): [sample(100)] * 5,
    }
    found = ratios(samples)
    assert (found["detokenize_batch"], found["sqlite_detokenize_batch"]) == (2.5, 3.0)


def test_latency_is_our_p50_over_the_peers() -> None:
    case = GOALS["detokenize_p50_c1"].case
    samples = {(OURS, case): [sample(p50=0.9)], (PEER, case): [sample(p50=0.3)]}
    assert ratios(samples)["detokenize_p50_c1"] == pytest.approx(3.0)


def test_there_are_no_ratios_without_a_peer() -> None:
    samples = {(OURS, goal.case): [sample()] for goal in GOALS.values()}
    assert ratios(samples) == dict.fromkeys(GOALS)


def test_growth_is_large_over_small() -> None:
    small = {"single": [sample(p50=1.0)], "batch": [sample(p50=10.0)]}
    large = {"single": [sample(p50=1.1)], "batch": [sample(p50=15.0)]}
    assert growth(small, large) == {"single": 1.1, "batch": 1.5}


def test_growth_that_was_not_measured_is_nothing() -> None:
    assert growth({}, {}) == {"single": None, "batch": None}


@pytest.mark.parametrize(("name", "good", "bad"), [("tokenize_batch", 1.5, 1.3), ("detokenize_p50_c1", 2, 3)])
def test_a_goal_holds_on_its_own_side(name: str, good: float, bad: float) -> None:
    goal = GOALS[name]
    assert goal.holds(good, goal.must)
    assert not goal.holds(bad, goal.must)
