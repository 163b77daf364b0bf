"""``kill -9`` of the server under load, again and again, on both databases.

``PIIVAULT_SOAK_KILLS`` says how often; 50 without it.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from cli.errors import ProblemError
from tests.soak.evidence import Evidence, check_export
from tests.soak.town import KillableTown, detokenize, tokenize
from tests.support.furnished import phones
from vault.assembly import open_vault
from vault.domain.errors import VaultError
from vault.settings import Settings

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("PIIVAULT_SOAK_KILLS", "50"))
CLIENTS = 4
STRETCH = 50_000
BATCH = 1_000


class Load:
    """Clients that work at the server until it dies, and keep what they were answered."""

    def __init__(self, town: KillableTown, evidence: Evidence, round_number: int) -> None:
        self._town = town
        self._evidence = evidence
        self._lock = threading.Lock()
        self._answers = threading.Event()
        start = round_number * CLIENTS * STRETCH
        self._threads = [
            threading.Thread(target=self._work, args=(start + at * STRETCH,)) for at in range(CLIENTS)
        ]

    def run_until_killed(self) -> None:
        """Start everybody, kill the server at a moment nobody knows, wait for everybody to notice."""
        for thread in self._threads:
            thread.start()
        assert self._answers.wait(60), "the server answers nothing"
        time.sleep(random.uniform(0.0, 1.5))
        self._town.host.kill()
        for thread in self._threads:
            thread.join()

    def _work(self, start: int) -> None:
        mine: list[str] = []
        try:
            with self._town.shop() as server:
                while True:
                    count = random.choice((1, 1, 5, 50))
                    answer = tokenize(server, list(phones(count, start=start)))
                    start += count
                    mine += [token for token, _ in answer["pairs"]]
                    self._keep(answer)
                    self._keep(detokenize(server, random.sample(mine, min(len(mine), 20))))
        except (VaultError, ProblemError):
            return

    def _keep(self, answer: dict[str, object]) -> None:
        with self._lock:
            self._evidence.take(answer)
        self._answers.set()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_server_has_kept_all_it_acknowledged(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = "" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    evidence = Evidence()
    with KillableTown(url) as town:
        for number in range(KILLS):
            known = len(evidence.values)
            Load(town, evidence, number).run_until_killed()
            check_offline(town, evidence)
            town.host.start()
            check_opens(town, evidence, list(evidence.values)[known:])
        check_opens(town, evidence, list(evidence.values))
        town.host.stop()
        vault = open_vault(Settings.load(town.home))
        check_export(vault, tmp_path / "export")
        vault.close()
    assert {answer["act"] for answer in evidence.answers} == {"tokenize", "detokenize"}


def check_offline(town: KillableTown, evidence: Evidence) -> None:
    """Check the log as the crash has left it."""
    vault = open_vault(Settings.load(town.home))
    evidence.check_entries(vault)
    evidence.check_log(vault)
    vault.close()


def check_opens(town: KillableTown, evidence: Evidence, tokens: list[str]) -> None:
    """Check that ``tokens`` open to what was swapped for them."""
    with town.shop() as server:
        for at in range(0, len(tokens), BATCH):
            batch = tokens[at : at + BATCH]
            opened = dict(detokenize(server, batch)["pairs"])
            assert opened == {token: evidence.values[token] for token in batch}
