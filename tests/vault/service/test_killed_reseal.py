"""A reseal whose node is killed at any moment, again and again, ends as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.counter import Counter
from tests.support.furnished import ADDRESS
from tests.vault.service.killing import opened, work_off
from vault.access.sealing import key_version, seal
from vault.access.session_rows import known_address
from vault.storage import rows
from vault.storage.sessions import SessionRow

ROWS = 900
SIZE = 2
"""Rows in a portion, so that there are enough moments to be killed at."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    return opened(request, tmp_path)


def _fill(counter: Counter) -> None:
    """Let the chief have been at this address very often."""
    keyring = counter.vault.standings.current.keyring
    person, now_us = counter.furnished.people["chief"], counter.vault.now_us()
    with counter.vault.changes.database.writing() as connection:
        for _ in range(ROWS):
            made = known_address(keyring, person, address=ADDRESS, now_us=now_us)
            rows.insert(connection, seal(keyring.authority, made))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_every_row_is_sealed_anew_once_whatever_is_killed(counter: Counter, kills: int) -> None:
    office = counter.furnished
    _fill(counter)
    administrator = office.request(counter.actor("admin"))
    counter.vault.keys.rotate(administrator, kind="authority")
    total = counter.vault.keys.reseal(administrator, "authority").value.total
    assert total > ROWS

    after = work_off(counter, kills=kills, size=SIZE)
    (job,) = after.vault.keys.jobs(office.request(counter.actor("admin"))).value
    assert (job.state, job.total, job.done, job.failed) == ("done", total, total, 0)
    keys = after.vault.standings.current.keyring.authority
    with after.vault.changes.database.reading() as connection:
        assert {key_version(keys, row) for row in SessionRow.everything(connection)} == {2}
    portions = [dict(logged.entry.target) for logged in after.log() if logged.entry.actor.id == "vault"]
    assert sum(int(portion.get("moved", 0)) for portion in portions) == total
    after.verify_log()
    census = after.vault.keys.census(office.request(counter.actor("admin"))).value
    assert [found.total for found in census if (found.kind, found.version) == ("authority", 1)] == [0]
    office.login("chief")
    assert after.alarms() == []
    after.close()
