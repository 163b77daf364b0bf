"""A re-wrap whose node is killed at any moment, again and again, ends as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from tests.vault.service.killing import opened, work_off
from vault.storage import tables

PEOPLE = 1_500
SIZE = 2
"""Data keys in a portion, so that there are enough moments to be killed at."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    return opened(request, tmp_path)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_every_data_key_is_moved_once_whatever_is_killed(counter: Counter, kills: int) -> None:
    office = counter.furnished
    numbers = list(phones(PEOPLE))
    tokens = []
    for start in range(0, PEOPLE, 500):
        answers = counter.tokenize(*map(phone, numbers[start : start + 500]))["items"]
        tokens += [answer["token"] for answer in answers]
    administrator = office.request(counter.actor("admin"))
    counter.vault.keys.rotate(administrator)
    counter.vault.keys.rewrap(administrator)

    after = work_off(counter, kills=kills, size=SIZE)
    (job,) = after.vault.keys.jobs(office.request(counter.actor("admin"))).value
    assert (job.state, job.total, job.done, job.failed) == ("done", PEOPLE, PEOPLE, 0)
    assert {row["epoch"] for row in after.rows(tables.data_key, order_by="subject_id")} == {2}
    portions_logged = [
        dict(logged.entry.target) for logged in after.log() if logged.entry.actor.id == "vault"
    ]
    assert sum(int(portion.get("moved", 0)) for portion in portions_logged) == PEOPLE
    census = after.vault.keys.census(office.request(counter.actor("admin"))).value
    assert [hanging.total for hanging in census if (hanging.kind, hanging.version) == ("wrapping", 1)] == [0]
    for start in range(0, PEOPLE, 500):
        opened = after.detokenize(*tokens[start : start + 500])["items"]
        assert [answer["value"] for answer in opened] == numbers[start : start + 500]
    after.verify_log()
    after.close()
