"""A re-wrap whose node is killed at any moment, again and again, ends as one that nobody disturbed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance.counter import Counter, phone
from tests.support.furnished import Furnished, copy, phones
from tests.vault.service.conftest import Fragile
from vault.storage import tables

PEOPLE = 1_500
SIZE = 2
"""Data keys in a portion, so that there are enough moments to be killed at."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    if request.param == "sqlite":
        return Counter(copy(request.getfixturevalue("furnished_template"), tmp_path / "home"))
    fragile: Fragile = request.getfixturevalue("fragile")
    return Counter(fragile.open(tmp_path / "home", fragile.url()).furnished)


STEP_S = 20
"""From one node to the next: the lease of the one before is over."""


def _node(furnished: Furnished, number: int) -> subprocess.Popen[bytes]:
    now = furnished.clock.now.timestamp() + STEP_S * number
    command = [sys.executable, "-m", "tests.soak.rewrapper", str(furnished.home), str(now), str(SIZE)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


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
    counter.vault.close()

    begun = 0
    for number in range(1, kills + 1):
        node = _node(office, number)
        assert node.stdout is not None
        begun += bool(node.stdout.readline())
        time.sleep(random.uniform(0.0, 0.12))
        node.kill()
        node.communicate()
        assert node.returncode == -9, "there was nothing left to be killed at"
    last = _node(office, kills + 1)
    last.communicate(timeout=120)
    assert last.returncode == 0
    assert begun == kills

    office.clock.pass_time(seconds=STEP_S * (kills + 2))
    office.vault = office.reopen()
    after = Counter(office)
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
