"""A run counts only if every answer was right."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from bench import bodies
from bench.bodies import BATCHES
from bench.furnish import BATCH
from bench.generator import parse_sample
from bench.machine import RefusedError

GOOD = {
    "requests": 500,
    "duration_us": 2_500_000,
    "p50_us": 900,
    "p90_us": 1_500,
    "p99_us": 4_000,
    "wrong": 0,
    "lost": 0,
    "trouble": "",
}


def said(**changed: object) -> str:
    """Return what wrk prints, its own words first."""
    return "Running 2s test\n  1 threads and 1 connections\n\n" + json.dumps(GOOD | changed) + "\n"


def test_reads_a_run() -> None:
    found = parse_sample(said())
    assert (found.rate, found.p50, found.p90, found.p99) == (200, 0.9, 1.5, 4.0)


@pytest.mark.parametrize("changed", [{"wrong": 1}, {"lost": 3}, {"requests": 0}])
def test_refuses_a_run_with_a_wrong_lost_or_missing_answer(changed: dict[str, int]) -> None:
    with pytest.raises(RefusedError, match="207 multi"):
        parse_sample(said(**changed, trouble="207 multi"))


@pytest.mark.parametrize("output", ["", "unable to connect", "{"])
def test_refuses_what_cannot_be_read(output: str) -> None:
    with pytest.raises(RefusedError, match="can be read"):
        parse_sample(output)


def test_bodies_are_one_to_a_line(tmp_path: Path) -> None:
    requests = bodies.detokenizing(["phn_a", "phn_b"], BATCH, random.Random(1))
    lines = bodies.write_bodies(tmp_path / "bodies", requests).read_text().splitlines()
    assert len(lines) == BATCHES
    first = json.loads(lines[0])
    assert (first["reveal"], len(first["items"])) == ("plain", BATCH)
    assert {item["token"] for item in first["items"]} == {"phn_a", "phn_b"}


def test_both_sides_are_sent_values_of_one_size() -> None:
    ours = next(iter(bodies.tokenizing(["sub_a"], 1, random.Random(1))))["items"][0]["value"]
    theirs = base64.b64decode(next(iter(bodies.peer_plaintexts(1, random.Random(1))))["plaintext"])
    assert len(ours.encode()) == len(theirs) == len("+821012345678")
