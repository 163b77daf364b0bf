"""How fast background work goes: by the log, and by how often it is overtaken."""

from __future__ import annotations

import pytest

from vault.rotation.pace import (
    BUSY_PORTION,
    IDLE_PORTION,
    IDLE_PORTION_ONE_WRITER,
    LONGEST_PAUSE_US,
    SHORTEST_PORTION,
    Pace,
)

SECOND = 1_000_000


def _rests(pace: Pace, others: int, *, rounds: int = 4, took_us: int = 10_000) -> float:
    """Let ``others`` append so many entries a second while one portion a second is written."""
    rest, index = 0.0, 0
    for second in range(rounds):
        index += others + 1
        rest = pace.after(index, began_us=second * SECOND - took_us, ended_us=second * SECOND)
    return rest


@pytest.mark.parametrize("longest", [IDLE_PORTION, IDLE_PORTION_ONE_WRITER])
def test_takes_the_longest_portions_while_nobody_else_writes(longest: int) -> None:
    pace = Pace(longest_portion=longest)
    assert pace.size == BUSY_PORTION
    assert _rests(pace, 0) == 0.0
    assert pace.size == longest


def test_whoever_watches_a_job_does_not_slow_it_down() -> None:
    pace = Pace(longest_portion=IDLE_PORTION)
    assert _rests(pace, 1) == 0.0
    assert pace.size == IDLE_PORTION


@pytest.mark.parametrize("others", [6, 15, 1_000])
def test_keeps_its_node_free_while_others_use_the_vault(others: int) -> None:
    pace = Pace(longest_portion=IDLE_PORTION)
    assert _rests(pace, others) == pytest.approx(0.19)
    assert pace.size == BUSY_PORTION
    assert _rests(pace, others, took_us=60 * SECOND) == LONGEST_PAUSE_US / SECOND


def test_a_portion_that_was_overtaken_is_followed_by_smaller_ones_down_to_the_shortest() -> None:
    pace = Pace(longest_portion=IDLE_PORTION)
    _rests(pace, 0)
    sizes = []
    for _ in range(3):
        pace.overtaken()
        sizes.append(pace.size)
    assert sizes == [BUSY_PORTION, SHORTEST_PORTION, SHORTEST_PORTION]


def test_portions_that_come_through_grow_again() -> None:
    pace = Pace(longest_portion=400)
    for _ in range(4):
        pace.overtaken()
    sizes = []
    for second in range(5):
        sizes.append(pace.size)
        pace.after(second, began_us=second * SECOND, ended_us=second * SECOND)
    assert sizes == [50, 100, 200, 400, 400]


def test_a_lost_portion_counts_as_use_by_others() -> None:
    pace = Pace(longest_portion=IDLE_PORTION)
    _rests(pace, 0)
    pace.overtaken()
    assert pace.after(4, began_us=3 * SECOND, ended_us=3 * SECOND + 10_000) == pytest.approx(0.19)
