"""Background work whose node is killed at any moment, again and again, until one is let to end it."""

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

STEP_S = 20
"""From one node to the next: the lease of the one before is over."""

LONGEST_S = 240.0


def opened(request: pytest.FixtureRequest, folder: Path) -> Counter:
    """Return a furnished vault on the kind of database that ``request`` asks for; the test closes it."""
    if request.param == "sqlite":
        return Counter(copy(request.getfixturevalue("furnished_template"), folder / "home"))
    fragile: Fragile = request.getfixturevalue("fragile")
    return Counter(fragile.open(folder / "home", fragile.url()).furnished)


def work_off(counter: Counter, *, kills: int, size: int) -> Counter:
    """Close the vault, have its jobs done by nodes that are killed, ``size`` at a time; return it open again.

    Each of the killed has begun, and none was done.
    """
    office = counter.furnished
    counter.vault.close()
    begun = 0
    for number in range(1, kills + 1):
        node = _node(office, number, size)
        assert node.stdout is not None
        begun += bool(node.stdout.readline())
        time.sleep(random.uniform(0.0, 0.12))
        node.kill()
        node.communicate()
        assert node.returncode == -9, "there was nothing left to be killed at"
    last = _node(office, kills + 1, size)
    last.communicate(timeout=LONGEST_S)
    assert last.returncode == 0
    assert begun == kills
    office.clock.pass_time(seconds=STEP_S * (kills + 2))
    office.vault = office.reopen()
    return Counter(office)


def _node(furnished: Furnished, number: int, size: int) -> subprocess.Popen[bytes]:
    now = furnished.clock.now.timestamp() + STEP_S * number
    command = [sys.executable, "-m", "tests.soak.rewrapper", str(furnished.home), str(now), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)
