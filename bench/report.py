"""The table, and the same figures for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from bench.cases import COMPARED, INTRODUCED
from bench.figures import (
    EMBEDDED,
    GOALS,
    GROWTH_GOALS,
    OURS,
    PEER,
    REWRAP_RATE,
    REWRAP_SLOWDOWN,
    Figures,
    figures_of,
)
from bench.furnish import Size
from bench.generator import Sample
from bench.rewrap import SINGLE, Moved
from bench.stages import BUSY, GROWN, Cold

SYSTEMS: Final = (OURS, EMBEDDED, PEER)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything one run has measured; what was left out is empty."""

    facts: Mapping[str, str]
    """Machine, date, versions and settings."""
    samples: Mapping[tuple[str, str], Sequence[Sample]]
    ratios: Mapping[str, float | None]
    growth: Mapping[str, float | None]
    cold: Mapping[str, Cold] = field(default_factory=dict)
    grown: Mapping[str, Mapping[Size, Sequence[Sample]]] = field(default_factory=dict)
    scaled: Mapping[tuple[str, str], Sequence[Sample]] = field(default_factory=dict)
    rewrapped: Moved | None = None


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of ``build/bench.json``: ratios and growth, nothing else."""
    return {
        "ratios": {name: outcome.ratios[name] for name in GOALS},
        "growth": {name: outcome.growth[name] for name in GROWTH_GOALS},
    }


def table(outcome: Outcome) -> str:
    """Return the report as Markdown."""
    return "\n".join(_lines(outcome)) + "\n"


def _lines(outcome: Outcome) -> Iterator[str]:
    yield from (f"- {name}: {text}" for name, text in outcome.facts.items())
    yield from _side_by_side(outcome)
    yield from _goals(outcome)
    if outcome.cold:
        yield from _cold(outcome.cold)
    if outcome.grown:
        yield from _grown(outcome.grown)
    if outcome.rewrapped is not None:
        yield from _rewrapped(outcome.rewrapped)
    if outcome.scaled:
        yield from _scaled(outcome.scaled)


def _side_by_side(outcome: Outcome) -> Iterator[str]:
    yield from _head(
        "Side by side, one core for service and database",
        ("case", "system", "requests/s", "items/s", "p50 ms", "p90 ms", "p99 ms", "CPU ms/request"),
    )
    for case in (*COMPARED, INTRODUCED):
        for system in SYSTEMS:
            samples = outcome.samples.get((system, case.name))
            if samples:
                found = figures_of(samples)
                yield _row(
                    case.name, system, f"{found.rate:,.1f}", f"{found.rate * case.items:,.0f}", *_times(found)
                )


def _goals(outcome: Outcome) -> Iterator[str]:
    yield from _head("Goals", ("ratio", "measured", "goal", "stretch", "verdict"))
    for name, goal in GOALS.items():
        sign = "≤" if goal.latency else "≥"
        yield _row(
            name,
            *_measured(outcome.ratios[name]),
            f"{sign} {goal.must}",
            f"{sign} {goal.stretch}",
            _verdict(outcome.ratios[name], goal.must, goal.stretch, less=goal.latency),
        )
    for name, limit in GROWTH_GOALS.items():
        ratio = outcome.growth[name]
        verdict = _verdict(ratio, limit, limit, less=True)
        yield _row(f"growth {name}", *_measured(ratio), f"≤ {limit}", "", verdict)


def _cold(found: Mapping[str, Cold]) -> Iterator[str]:
    yield from _head(
        "First requests after a restart of server and database, one connection",
        ("system", "first single ms", "first batch of 1000 ms", "the same batch again ms"),
    )
    for system, times in found.items():
        yield _row(system, f"{times.single:.2f}", f"{times.batch:.1f}", f"{times.again:.1f}")


def _grown(found: Mapping[str, Mapping[Size, Sequence[Sample]]]) -> Iterator[str]:
    yield from _head(
        "Growth on PostgreSQL", ("case", "values", "people", "p50 ms", "p90 ms", "p99 ms", "CPU ms/request")
    )
    for name, sizes in found.items():
        for size, samples in sizes.items():
            yield _row(GROWN[name].name, f"{size.values:,}", f"{size.people:,}", *_times(figures_of(samples)))


def _rewrapped(found: Moved) -> Iterator[str]:
    yield from _head(
        f"Re-wrap of {found.data_keys:,} data keys on PostgreSQL, one core for service and database",
        ("beside it", "data keys/s", "p50 ms", "p90 ms", "p99 ms", "CPU ms/request"),
    )
    yield _row("nobody", f"{median(found.rates):,.0f}", "", "", "", "")
    beside, without = figures_of(found.beside), figures_of(found.without)
    yield _row(f"{SINGLE.name}", f"{median(found.busy_rates):,.0f}", *_times(beside))
    yield _row(f"{SINGLE.name}, no re-wrap", "", *_times(without))
    yield ""
    verdicts = (
        _verdict(median(found.rates), REWRAP_RATE, REWRAP_RATE, less=False),
        _verdict(found.slowdown, REWRAP_SLOWDOWN, REWRAP_SLOWDOWN, less=True),
    )
    yield f"Goals: {REWRAP_RATE:,} data keys/s alone ({verdicts[0]}); p90 beside it at most {REWRAP_SLOWDOWN}"
    yield f"times that without, measured {found.slowdown:.2f} ({verdicts[1]}). The census read zero."


def _scaled(found: Mapping[tuple[str, str], Sequence[Sample]]) -> Iterator[str]:
    yield from _head(
        "Workers on PostgreSQL, everything free on both cores, the load generator too",
        ("case", "workers", "log entries/s", "p50 ms", "p90 ms", "p99 ms", "CPU ms/request"),
    )
    for case in BUSY:
        for (workers, name), samples in found.items():
            if name == case.name:
                figures = figures_of(samples)
                yield _row(case.name, workers, f"{figures.rate:,.0f}", *_times(figures))


def _head(title: str, columns: Sequence[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", _row(*columns), _row(*["---"] * len(columns)))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _times(found: Figures) -> tuple[str, ...]:
    return f"{found.p50:.2f}", f"{found.p90:.2f}", f"{found.p99:.2f}", f"{found.cpu:.3f}"


def _measured(ratio: float | None) -> tuple[str]:
    return ("not measured" if ratio is None else f"{ratio:.2f}",)


def _verdict(ratio: float | None, must: float, stretch: float, *, less: bool) -> str:
    if ratio is None:
        return ""
    if ratio <= stretch if less else ratio >= stretch:
        return "stretch met" if stretch != must else "met"
    return "met" if (ratio <= must if less else ratio >= must) else "MISSED"
