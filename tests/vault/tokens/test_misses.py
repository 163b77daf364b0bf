"""The budget of searches without a hit, apart from any search."""

from __future__ import annotations

import pytest

from vault.domain.errors import TooManyAttemptsError
from vault.tokens.search import MINUTE_US, Misses


def test_each_actor_has_a_budget_of_its_own() -> None:
    misses = Misses()
    misses.add("a", 0)
    misses.require("b", 1, 0)
    with pytest.raises(TooManyAttemptsError):
        misses.require("a", 1, 0)


def test_a_miss_counts_for_a_minute_and_says_how_long_to_wait() -> None:
    misses = Misses()
    misses.add("a", 0)
    misses.add("a", 10_000_000)
    with pytest.raises(TooManyAttemptsError) as refused:
        misses.require("a", 2, 20_000_000)
    assert refused.value.retry_after == 41
    misses.require("a", 2, MINUTE_US)
    with pytest.raises(TooManyAttemptsError):
        misses.require("a", 1, MINUTE_US)


def test_a_limit_of_none_is_not_needed_before_the_first_miss() -> None:
    Misses().require("a", 0, 0)


def test_a_miss_taken_back_does_not_count() -> None:
    misses = Misses()
    misses.add("a", 0)
    misses.take_back("a")
    misses.require("a", 1, 0)
