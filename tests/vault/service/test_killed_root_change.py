"""Killed at any moment while the root key changes, a vault opens with the old one or the new one."""

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

LONGEST_S = 0.3
"""About as long as a change takes."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    if request.param == "sqlite":
        return Counter(copy(request.getfixturevalue("furnished_template"), tmp_path / "home"))
    fragile: Fragile = request.getfixturevalue("fragile")
    return Counter(fragile.open(tmp_path / "home", fragile.url()).furnished)


def _change(furnished: Furnished, *, after_s: float) -> None:
    """Begin a change, and kill whoever does it ``after_s`` later."""
    now = str(furnished.clock.now.timestamp())
    command = [sys.executable, "-m", "tests.soak.rerooter", str(furnished.home), now]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"begin\n"
    time.sleep(after_s)
    child.kill()
    child.communicate()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_the_old_root_key_or_the_new_one_opens_the_vault(counter: Counter, kills: int) -> None:
    office = counter.furnished
    tokens = [answer["token"] for answer in counter.tokenize(*map(phone, phones(5)))["items"]]
    counter.vault.close()
    versions = {1}
    for _ in range(kills):
        _change(office, after_s=random.uniform(0.0, LONGEST_S))
        office.vault = office.reopen()
        after = Counter(office)
        opened = after.detokenize(*tokens)["items"]
        assert [answer["value"] for answer in opened] == list(phones(5))
        version = office.vault.standings.roots.held.version
        versions.add(version)
        after.verify_log()
        after.close()
        # What a killed change left behind seals nothing: its version is not the database's.
        (office.home / "keys" / f"root-{version + 1}.key").unlink(missing_ok=True)
    assert max(versions) <= kills + 1
