"""Killed at any moment while it is unsealed, a vault is sealed still, or open with an entry that says so."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance.counter import Counter
from tests.support.furnished import Furnished, copy
from tests.vault.service.conftest import Fragile
from vault.assembly import unseal_on_host

LONGEST_S = 0.2
"""About as long as it takes."""


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    if request.param == "sqlite":
        return Counter(copy(request.getfixturevalue("furnished_template"), tmp_path / "home"))
    fragile: Fragile = request.getfixturevalue("fragile")
    return Counter(fragile.open(tmp_path / "home", fragile.url()).furnished)


def _unseal(furnished: Furnished, *, after_s: float) -> None:
    """Begin to unseal, and kill whoever does it ``after_s`` later."""
    now = str(furnished.clock.now.timestamp())
    command = [sys.executable, "-m", "tests.soak.unsealer", str(furnished.home), now]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"begin\n"
    time.sleep(after_s)
    child.kill()
    child.communicate()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_the_flag_and_the_log_say_the_same(counter: Counter, kills: int) -> None:
    office, vault = counter.furnished, counter.vault
    admin = counter.actor("admin")
    for _ in range(kills):
        index = vault.seal(office.request(admin)).receipt.index
        _unseal(office, after_s=random.uniform(0.0, LONGEST_S))
        said = [logged.entry.action for logged in counter.log(index + 1)]
        sealed = vault.counts().sealed_everywhere
        assert said == ([] if sealed else ["vault:unseal"])
        if sealed:
            unseal_on_host(office.settings, clock=office.clock)
        vault.upkeep.round()
        vault.upkeep.round()
        assert not vault.is_sealed
    counter.verify_log()
    counter.close()
