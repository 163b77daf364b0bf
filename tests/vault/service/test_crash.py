"""Killed at any moment, a vault has kept all it acknowledged: what `make soak` does at length, in short."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conformance.counter import Counter
from tests.soak.child import STRETCH, THREADS
from tests.soak.evidence import Evidence, check_export
from tests.support.furnished import Furnished, copy
from tests.vault.service.conftest import Fragile

KILLS = 3


class Victim:
    """A process at work on a vault, killed without notice."""

    def __init__(self, furnished: Furnished, number: int) -> None:
        actor = json.dumps(asdict(furnished.actors["shop"]))
        start, now = number * STRETCH * THREADS, furnished.clock.now.timestamp() + 60 * number
        arguments = [str(furnished.home), actor, str(start), str(now)]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.child", *arguments], stdout=subprocess.PIPE
        )

    def die(self) -> Iterator[dict[str, object]]:
        """Let it work a little, kill it, and yield what it has acknowledged."""
        assert self._child.stdout is not None
        first = self._child.stdout.readline()
        time.sleep(random.uniform(0.0, 0.6))
        self._child.kill()
        rest, _ = self._child.communicate()
        assert self._child.returncode == -9
        for line in (first + rest).splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)


@pytest.fixture(params=["sqlite", "postgresql"])
def victim_home(request: pytest.FixtureRequest, tmp_path: Path) -> Furnished:
    """A furnished vault, once on each kind of database; closed by the test."""
    if request.param == "sqlite":
        return copy(request.getfixturevalue("furnished_template"), tmp_path / "home")
    fragile: Fragile = request.getfixturevalue("fragile")
    return fragile.open(tmp_path / "home", fragile.url()).furnished


def test_killed_vault_has_kept_all_it_acknowledged(victim_home: Furnished, tmp_path: Path) -> None:
    evidence = Evidence()
    victim_home.vault.close()
    for number in range(1, KILLS + 1):
        for answer in Victim(victim_home, number).die():
            evidence.take(answer)
        victim_home.clock.pass_time(minutes=2)
        victim_home.vault = victim_home.reopen()
        counter = Counter(victim_home)
        tokens = list(evidence.values)
        for at in range(0, len(tokens), 1_000):
            batch = tokens[at : at + 1_000]
            opened = {item["token"]: item["value"] for item in counter.detokenize(*batch)["items"]}
            assert opened == {token: evidence.values[token] for token in batch}
        evidence.check_entries(victim_home.vault)
        evidence.check_log(victim_home.vault)
        if number == KILLS:
            check_export(victim_home.vault, tmp_path / "export")
        counter.close()
    assert {answer["act"] for answer in evidence.answers} == {"tokenize", "detokenize"}
