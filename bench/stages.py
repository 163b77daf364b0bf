"""The stages of a whole run: side by side, after a restart, at a million values, with two workers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.cases import COMPARED, INTRODUCED, Case, our_loads, peer_loads, require_exact
from bench.databases import private_postgresql, server_pid
from bench.figures import EMBEDDED
from bench.furnish import BATCH, SUBJECTS, VALUES, VALUES_PER_SUBJECT, Site, Size, furnish
from bench.generator import Sample
from bench.machine import Cores, on_cores
from bench.ours import reveal, serving
from bench.peer import serving_peer
from bench.rounds import Bench
from tests.support.postgres import PostgresCluster

MILLION: Final = 1_000_000
SMALL: Final = Size(VALUES, SUBJECTS)
LARGE: Final = Size(MILLION, SUBJECTS)
CROWDED: Final = Size(MILLION, MILLION // VALUES_PER_SUBJECT)
"""A hundred times as many people too: without a goal, since it also needs a hundred times as many keys."""

SIZES: Final = (SMALL, LARGE, CROWDED)
SEED: Final = 1

GROWN: Final = {"single": Case("detokenize", 1, 1), "batch": Case("detokenize", BATCH, 1)}
BUSY: Final = (Case("detokenize", 1, 32), Case("tokenize", 1, 32))

Samples = dict[tuple[str, str], list[Sample]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run takes place."""

    folder: Path
    cores: Cores
    cluster: PostgresCluster

    def site(self, name: str, size: Size = SMALL) -> Site:
        """Return a new vault of that size, on SQLite if that is its name."""
        url = "" if name == EMBEDDED else self.cluster.create_database()
        return furnish(self.folder / name, database_url=url, size=size, seed=SEED)

    def database(self, site: Site) -> int | None:
        """Return the process id of the site's PostgreSQL, if it has one."""
        return None if site.settings.database_url.startswith("sqlite") else server_pid(self.cluster)


@contextmanager
def place(folder: Path, cores: Cores) -> Iterator[Place]:
    """Give a place with a PostgreSQL pinned to the service's core."""
    with ExitStack() as stack:
        with on_cores(cores.service):
            cluster = stack.enter_context(private_postgresql())
        yield Place(folder, cores, cluster)


def side_by_side(bench: Bench, at: Place, sites: Mapping[str, Site], bao: str | None) -> Samples:
    """Measure every case on both databases and, where there is one, on the peer."""
    core = at.cores.service
    with ExitStack() as stack:
        ours = []
        for name, site in sites.items():
            system = stack.enter_context(serving(name, site, cores=(core,), database=at.database(site)))
            require_exact(system, site)
            ours.append((system, our_loads(site, at.folder / f"{name}-bodies", seed=SEED)))
        everybody = list(ours)
        if bao is not None:
            peer = stack.enter_context(serving_peer(bao, at.folder / "openbao", core=core))
            everybody.append((peer, peer_loads(peer, at.folder / "openbao-bodies", seed=SEED)))
        samples = bench.interleave(everybody, COMPARED)
        return samples | bench.interleave(ours, (INTRODUCED,))


@dataclass(frozen=True, slots=True)
class Cold:
    """Medians of the first requests after a restart of server and database, in milliseconds."""

    single: float
    batch: float
    again: float
    """The same batch once more."""


def cold(bench: Bench, at: Place, name: str, site: Site) -> Cold:
    """Restart and time the first single and the first batch, once per round."""
    numbers = random.Random(SEED)
    taken = []
    for number in range(bench.rounds):
        bench.tell(f"round {number + 1} of {bench.rounds}: {name} after a restart")
        if name != EMBEDDED:
            at.cluster.stop()
            with on_cores(at.cores.service):
                at.cluster.start()
        with serving(name, site, cores=(at.cores.service,), database=at.database(site)) as system:
            batch = numbers.sample(site.tokens, BATCH)
            header = system.credential()
            times = []
            for tokens in (batch[:1], batch, batch):
                begun = time.perf_counter()
                reveal(system, header, tokens)
                times.append(1e3 * (time.perf_counter() - begun))
            taken.append(times)
    return Cold(*(median(column) for column in zip(*taken, strict=True)))


def grown(bench: Bench, at: Place) -> dict[str, dict[Size, list[Sample]]]:
    """Measure singles and batches, one connection, on a vault of each of ``SIZES``."""
    with ExitStack() as stack:
        systems = []
        for size in SIZES:
            bench.tell(f"filling a vault with {size.values:,} values of {size.people:,} people")
            name = f"{size.values}-of-{size.people}"
            site = at.site(name, size)
            system = stack.enter_context(
                serving(name, site, cores=(at.cores.service,), database=at.database(site))
            )
            require_exact(system, site)
            systems.append((system, our_loads(site, at.folder / f"bodies-{name}", seed=SEED)))
        samples = bench.interleave(systems, tuple(GROWN.values()))
    return {
        name: {
            size: samples[system.name, case.name] for size, (system, _) in zip(SIZES, systems, strict=True)
        }
        for name, case in GROWN.items()
    }


def scaled(bench: Bench, at: Place, site: Site, workers: Sequence[int]) -> Samples:
    """Measure singles with each number of ``workers``, all of them free on both cores."""
    loads = our_loads(site, at.folder / "scaled-bodies", seed=SEED)
    samples: Samples = {}
    with on_cores(*at.cores.both):
        at.cluster.stop()
        at.cluster.start()
        for number in range(bench.rounds):
            for count in workers:
                bench.tell(f"round {number + 1} of {bench.rounds}: {count} workers on both cores")
                name = str(count)
                with serving(
                    name, site, cores=tuple(at.cores.both), database=at.database(site), workers=count
                ) as system:
                    for case in BUSY:
                        bench.measure(system, loads[case.name], seconds=1)
                        taken = bench.measure(system, loads[case.name])
                        samples.setdefault((name, case.name), []).append(taken)
    return samples
