"""The re-wrap of a million data keys: how fast in a quiet vault, and what it costs those who use one."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.cases import Case, our_loads
from bench.furnish import Site, Size
from bench.generator import Sample
from bench.machine import RefusedError
from bench.ours import serving
from bench.rounds import WARM_S, Bench
from bench.stages import MILLION, SEED, Place
from vault.access.entries import Request, own_origin
from vault.assembly import open_vault
from vault.service.keys import JobView
from vault.service.vault import Vault

SIZE: Final = Size(MILLION, MILLION)
"""A value each: as many data keys as values."""

SINGLE: Final = Case("detokenize", 1, 1)
PATIENCE_S: Final = 300
LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Moved:
    """What was measured, one sample a round."""

    data_keys: int
    rates: tuple[float, ...]
    """Data keys per second while nobody uses the vault."""
    busy_rates: tuple[float, ...]
    """The same while one client detokenizes as fast as it can."""
    without: tuple[Sample, ...]
    beside: tuple[Sample, ...]
    """Single detokenizes without a re-wrap, and beside one."""

    @property
    def slowdown(self) -> float:
        """p90 of a single detokenize beside a re-wrap over that without one."""
        return median(sample.p90 for sample in self.beside) / median(sample.p90 for sample in self.without)


def moved(bench: Bench, at: Place, size: Size = SIZE) -> Moved:
    """Rotate and re-wrap once a round, first beside a client, then alone; refuse a census above zero."""
    bench.tell(f"filling a vault with {size.people:,} people")
    site = at.site("rewrap", size)
    rates, busy_rates, without, beside = [], [], [], []
    with (
        closing(open_vault(site.settings)) as vault,
        serving("rewrap", site, cores=(at.cores.service,), database=at.database(site)) as system,
    ):
        load = our_loads(site, at.folder / "rewrap-bodies", seed=SEED)[SINGLE.name]
        bench.measure(system, load, seconds=WARM_S)
        for number in range(bench.rounds):
            bench.tell(f"round {number + 1} of {bench.rounds}: re-wrap of {size.people:,} data keys")
            without.append(bench.measure(system, load))
            _start(vault, site)
            begun = _progress(vault, site)
            beside.append(bench.measure(system, load, settle=False))
            between = _progress(vault, site)
            ended = _wait(vault, site)
            busy_rates.append(_rate(begun, between))
            rates.append(_rate(between, ended))
        _require_empty(vault, site)
    return Moved(size.people, tuple(rates), tuple(busy_rates), tuple(without), tuple(beside))


def _request(vault: Vault, site: Site) -> Request:
    return Request(actor=site.administrator, origin=own_origin(), now_us=vault.now_us())


def _start(vault: Vault, site: Site) -> None:
    vault.keys.rotate(_request(vault, site))
    vault.keys.rewrap(_request(vault, site))


def _progress(vault: Vault, site: Site) -> JobView:
    (job,) = vault.keys.jobs(_request(vault, site)).value
    return job


def _wait(vault: Vault, site: Site) -> JobView:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job = _progress(vault, site)
        if job.state == "done":
            return job
        time.sleep(LOOK_S)
    raise RefusedError("the re-wrap does not end")


def _rate(before: JobView, after: JobView) -> float:
    return 1e6 * (after.done - before.done) / max(after.beat_at - before.beat_at, 1)


def _require_empty(vault: Vault, site: Site) -> None:
    """Raise RefusedError if anything hangs on an epoch that is not in force."""
    for hanging in vault.keys.census(_request(vault, site)).value:
        if hanging.kind == "wrapping" and hanging.state != "active" and hanging.total:
            raise RefusedError(f"{hanging.total:,} things hang on epoch {hanging.version} after the re-wrap")
