"""Where the time of a unit goes: the hot path without HTTP, phase by phase, or under cProfile.

``python -m bench.inprocess [--profile CASE] [--database sqlite|postgresql]``
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from bench.databases import private_postgresql
from bench.furnish import BATCH, FIELD, INTAKE, PURPOSE, REASON, Site, furnish, phone_number
from bench.machine import RefusedError
from vault.access.roots import Roots
from vault.access.standing import Standings
from vault.assembly import open_vault
from vault.assembly.wrapping import nobody, wrapper_of
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Reveal
from vault.storage.database import Database
from vault.storage.hot import HotConnection
from vault.storage.hot_postgresql import PostgresqlHotConnection
from vault.storage.hot_sqlite import SqliteHotConnection
from vault.tokens.detokenize import DetokenizeWork
from vault.tokens.preparer import UnitPreparer
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest, TokenizeItem, TokenizeRequest
from vault.tokens.tokenize import TokenizeWork
from vault.tokens.work import HotWork

UNITS: Final = {"batch": 60, "singles": 300, "single": 600}
PHASES: Final = ("prepare", "commit", "settle")


@dataclass(frozen=True, slots=True)
class Hot:
    """What the lane's thread has, without the lane."""

    site: Site
    preparer: UnitPreparer
    connection: HotConnection
    actor: Actor

    def detokenize(self, numbers: random.Random, items: int) -> HotWork:
        """Return a work that reveals ``items`` values."""
        chosen = [DetokenizeItem(token) for token in numbers.choices(self.site.tokens, k=items)]
        request = DetokenizeRequest(PURPOSE, chosen, reveal=Reveal.PLAIN, reason=REASON)
        return DetokenizeWork(self.actor, _origin(), request)

    def tokenize(self, numbers: random.Random, items: int) -> HotWork:
        """Return a work that seals ``items`` values of subjects that exist."""
        chosen = [
            TokenizeItem(FIELD, phone_number(numbers), subject=numbers.choice(self.site.subjects))
            for _ in range(items)
        ]
        return TokenizeWork(self.actor, _origin(), TokenizeRequest(INTAKE, chosen))

    def run(self, works: Sequence[HotWork]) -> tuple[float, float, float]:
        """Take one unit through; return the seconds of each phase."""
        begun = time.perf_counter()
        prepared = self.preparer.prepare(works, self.connection)
        ready = time.perf_counter()
        first = self.connection.commit(prepared.unit, prepared.writes, prepared.revision)
        durable = time.perf_counter()
        self.preparer.settled(prepared, first)
        done = time.perf_counter()
        for work in works:
            if work.error is not None or work.partial:
                raise RefusedError("a measured request failed")
        return ready - begun, durable - ready, done - durable


Shape = Callable[[Hot, random.Random], list[HotWork]]

CASES: Final[dict[str, Shape]] = {
    "detokenize_batch": lambda hot, numbers: [hot.detokenize(numbers, BATCH)],
    "tokenize_batch": lambda hot, numbers: [hot.tokenize(numbers, BATCH)],
    "detokenize_singles": lambda hot, numbers: [hot.detokenize(numbers, 1) for _ in range(32)],
    "tokenize_singles": lambda hot, numbers: [hot.tokenize(numbers, 1) for _ in range(32)],
    "detokenize_single": lambda hot, numbers: [hot.detokenize(numbers, 1)],
    "tokenize_single": lambda hot, numbers: [hot.tokenize(numbers, 1)],
}


def _origin() -> Origin:
    return Origin(request=RequestId("req_" + secrets.token_hex(16)), address="127.0.0.1")


def open_hot(site: Site) -> Hot:
    """Open the vault of ``site`` for direct use; the process ends it."""
    open_vault(site.settings).close()
    database = Database.open(site.settings.database_url)
    standings = Standings(
        database, Roots(partial(wrapper_of, site.settings, nobody), lambda: datetime.now(UTC))
    )
    account = standings.open().authority.services[site.client_id]
    held = next(iter(account.credentials))
    actor = standings.current.authority.credentials_by_id[held.id].actor
    assert actor.kind is ActorKind.SERVICE
    connection: HotConnection
    if database.dialect == "postgresql":
        connection = PostgresqlHotConnection(database)
    else:
        connection = SqliteHotConnection(database)
    return Hot(site, UnitPreparer(standings, lambda: datetime.now(UTC)), connection, actor)


def measure(hot: Hot, case: str, *, profile: bool) -> None:
    """Print the median microseconds of each phase of a unit, and its CPU time."""
    numbers = random.Random(7)
    count = UNITS[case.rpartition("_")[2]]
    for _ in range(count // 6):
        hot.run(CASES[case](hot, numbers))
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    taken = []
    cpu = 0.0
    for _ in range(count):
        # Made here and dropped at once, as a server does: whoever keeps them measures fresh memory.
        unit = CASES[case](hot, numbers)
        begun = time.process_time()
        taken.append(hot.run(unit))
        cpu += time.process_time() - begun
    profiler.disable()
    phases = [1e6 * median(phase) for phase in zip(*taken, strict=True)]
    told = "  ".join(f"{name} {value:8.0f}" for name, value in zip(PHASES, phases, strict=True))
    print(f"{case:20s} {told}  all {sum(phases):8.0f}  cpu {1e6 * cpu / len(taken):8.0f} us", flush=True)
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.inprocess", description=__doc__)
    parser.add_argument("--profile", action="append", default=[], choices=[*CASES])
    parser.add_argument("--case", action="append", default=[], choices=[*CASES])
    parser.add_argument("--database", action="append", default=[], choices=["sqlite", "postgresql"])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    with private_postgresql() as cluster, tempfile.TemporaryDirectory() as folder:
        for dialect in options.database or ["postgresql", "sqlite"]:
            url = cluster.create_database() if dialect == "postgresql" else ""
            hot = open_hot(furnish(Path(folder) / dialect, database_url=url))
            print(dialect)
            for _ in range(options.repeat):
                for case in options.profile or options.case or CASES:
                    measure(hot, case, profile=case in options.profile)
            hot.connection.close()


if __name__ == "__main__":
    main()
