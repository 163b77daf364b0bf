"""The table is readable, and the figures for machines have exactly the members they are promised to have."""

from __future__ import annotations

import json

from bench.figures import GOALS, GROWTH_GOALS, OURS, PEER
from bench.furnish import Size
from bench.report import Outcome, document, table
from bench.stages import Cold
from tests.bench.test_figures import sample

WITHOUT_PEER = Outcome(
    facts={"date": "2026-12-01 09:00 UTC"},
    samples={(OURS, "detokenize 1000 c1"): [sample(120)] * 5},
    ratios=dict.fromkeys(GOALS),
    growth={"single": 1.05, "batch": 1.9},
    cold={OURS: Cold(single=12.0, batch=40.0, again=9.0)},
    grown={"single": {Size(): [sample()], Size(1_000_000, 200): [sample()]}},
    scaled={("1", "detokenize 1 c32"): [sample(5_000)], ("2", "detokenize 1 c32"): [sample(6_000)]},
)
MEASURED = {
    "detokenize_batch": 4.2,
    "tokenize_batch": 1.5,
    "detokenize_single_c32": 1.4,
    "tokenize_single_c32": 1.2,
    "detokenize_p50_c1": 2.9,
    "sqlite_detokenize_batch": 3.0,
}
WITH_PEER = Outcome(
    facts={},
    samples={(PEER, "detokenize 1000 c1"): [sample(40)]},
    ratios=MEASURED,
    growth={"single": 1.0, "batch": 1.8},
)


def test_figures_for_machines_have_exactly_these_members() -> None:
    found = json.loads(json.dumps(document(WITH_PEER)))
    assert found == {"ratios": MEASURED, "growth": {"single": 1.0, "batch": 1.8}}
    assert list(found["ratios"]) == list(MEASURED)


def test_ratios_are_null_without_a_peer() -> None:
    found = json.loads(json.dumps(document(WITHOUT_PEER)))
    assert set(found["ratios"].values()) == {None}
    assert found["growth"] == {"single": 1.05, "batch": 1.9}


def test_table_shows_what_was_measured() -> None:
    text = table(WITHOUT_PEER)
    assert "- date: 2026-12-01 09:00 UTC" in text
    assert "| detokenize 1000 c1 | postgresql | 120.0 | 120,000 | 1.00 | 2.00 | 3.00 | 0.500 |" in text
    assert "| postgresql | 12.00 | 40.0 | 9.0 |" in text
    assert "| detokenize 1 c1 | 1,000,000 | 200 | 1.00 |" in text
    assert "| detokenize 1 c32 | 2 | 6,000 |" in text


def test_table_says_which_goals_were_met() -> None:
    cells = [line.strip("| ").split("|") for line in _goals(WITH_PEER)]
    rows = {cell[0].strip(): cell[-1].strip() for cell in cells}
    assert rows == {
        "detokenize_batch": "stretch met",
        "tokenize_batch": "met",
        "detokenize_single_c32": "MISSED",
        "tokenize_single_c32": "met",
        "detokenize_p50_c1": "MISSED",
        "sqlite_detokenize_batch": "met",
        "growth single": "met",
        "growth batch": "met",
    }
    assert set(GROWTH_GOALS) == {"single", "batch"}


def test_table_says_what_was_not_measured() -> None:
    assert all("not measured" in line for line in _goals(WITHOUT_PEER) if "growth" not in line)


def _goals(outcome: Outcome) -> list[str]:
    part = table(outcome).partition("## Goals")[2].partition("\n## ")[0]
    return [
        line for line in part.splitlines() if line.startswith(("| growth", *(f"| {name}" for name in GOALS)))
    ]
