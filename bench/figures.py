"""From samples to figures: medians of rounds, ratios to the peer, growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.generator import Sample

OURS: Final = "postgresql"
EMBEDDED: Final = "sqlite"
PEER: Final = "openbao"

Samples = Mapping[tuple[str, str], Sequence[Sample]]
"""Samples by system and case."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one system and case. Times in milliseconds."""

    rounds: int
    rate: float
    """Requests per second."""
    p50: float
    p90: float
    p99: float
    cpu: float
    """CPU milliseconds per request."""


def figures_of(samples: Sequence[Sample]) -> Figures:
    """Return the medians of ``samples``, at least one."""
    return Figures(
        rounds=len(samples),
        rate=median(sample.rate for sample in samples),
        p50=median(sample.p50 for sample in samples),
        p90=median(sample.p90 for sample in samples),
        p99=median(sample.p99 for sample in samples),
        cpu=median(sample.cpu for sample in samples),
    )


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio the product is held to."""

    system: str
    case: str
    latency: bool
    """Whether it compares p50, where less is better; else throughput."""
    must: float
    stretch: float

    def holds(self, ratio: float, limit: float) -> bool:
        """Say whether ``ratio`` is within ``limit``."""
        return ratio <= limit if self.latency else ratio >= limit


GOALS: Final[Mapping[str, Goal]] = {
    "detokenize_batch": Goal(OURS, "detokenize 1000 c1", latency=False, must=2.5, stretch=4.0),
    "tokenize_batch": Goal(OURS, "tokenize 1000 c1", latency=False, must=1.4, stretch=2.0),
    "detokenize_single_c32": Goal(OURS, "detokenize 1 c32", latency=False, must=1.5, stretch=2.5),
    "tokenize_single_c32": Goal(OURS, "tokenize 1 c32", latency=False, must=1.2, stretch=1.8),
    "detokenize_p50_c1": Goal(OURS, "detokenize 1 c1", latency=True, must=2.8, stretch=2.0),
    "sqlite_detokenize_batch": Goal(EMBEDDED, "detokenize 1000 c1", latency=False, must=3.0, stretch=3.0),
}

GROWTH_GOALS: Final[Mapping[str, float]] = {"single": 1.2, "batch": 1.8}
"""p50 at a million values over p50 at ten thousand, at most."""

REWRAP_RATE: Final = 20_000
"""Data keys per second, at least, when nobody uses the vault."""

REWRAP_SLOWDOWN: Final = 2.0
"""p90 of a single detokenize beside a re-wrap over that without one, at most."""


def ratios(samples: Samples) -> dict[str, float | None]:
    """Return each goal's ratio to the peer; None where one of the two was not measured."""
    found: dict[str, float | None] = {}
    for name, goal in GOALS.items():
        ours, theirs = samples.get((goal.system, goal.case)), samples.get((PEER, goal.case))
        if not ours or not theirs:
            found[name] = None
            continue
        us, them = figures_of(ours), figures_of(theirs)
        found[name] = round(us.p50 / them.p50 if goal.latency else us.rate / them.rate, 3)
    return found


def growth(
    small: Mapping[str, Sequence[Sample]], large: Mapping[str, Sequence[Sample]]
) -> dict[str, float | None]:
    """Return p50 of ``large`` over p50 of ``small`` for single and batch; None where not measured."""
    return {
        name: round(figures_of(large[name]).p50 / figures_of(small[name]).p50, 3)
        if small.get(name) and large.get(name)
        else None
        for name in GROWTH_GOALS
    }
