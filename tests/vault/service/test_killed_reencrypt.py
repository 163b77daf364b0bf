"""Values are sealed anew by nodes that are killed at any moment: each opens in the end, and under one key."""

from __future__ import annotations

from collections import Counter as Count
from pathlib import Path

import pytest

from keys.envelope import generation_of
from tests.conformance.counter import Counter, phone
from tests.conformance.suspicion import census, compromise, job_of, values_of
from tests.support.furnished import phones
from tests.vault.service.killing import opened, work_off
from vault.storage import tables

PEOPLE = 300
EACH = 3
"""Values of a person."""
SIZE = 4
"""Values in a portion: it may end in the midst of a person."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    return opened(request, tmp_path)


def _fill(counter: Counter) -> dict[str, str]:
    """Give everybody their values; return them by token."""
    numbers = list(phones(PEOPLE * EACH))
    values: dict[str, str] = {}
    for start in range(0, len(numbers), 300):
        some = numbers[start : start + 300]
        items = [phone(number, label=f"p{at // EACH}") for at, number in enumerate(some)]
        answers = counter.tokenize(*items)["items"]
        values |= {answer["token"]: number for answer, number in zip(answers, some, strict=True)}
    return values


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_every_value_is_sealed_anew_once_whatever_is_killed(counter: Counter, kills: int) -> None:
    values = _fill(counter)
    compromise(counter)

    after = work_off(counter, kills=kills, size=SIZE)
    job = job_of(after)
    assert (job.state, job.total, job.done, job.failed) == ("done", PEOPLE, PEOPLE, 0)
    keys = after.rows(tables.data_key, order_by="subject_id")
    # One data key a person: a portion that was cut off left none behind, and nobody got two.
    assert [(row["generation"], row["epoch"]) for row in keys] == [(2, 2)] * PEOPLE
    sealed = Count(generation_of(bytes(row["envelope"])) for row in after.rows(tables.token))
    assert sealed == {2: len(values)}
    assert census(after)["wrapping//1"].total == 0
    tokens = list(values)
    for start in range(0, len(tokens), 300):
        some = tokens[start : start + 300]
        assert values_of(after, *some) == [values[token] for token in some]
    assert after.alarms() == []
    after.verify_log()
    after.close()
