"""A node that is killed while it opens one-time tokens leaves each either opened and logged, or as it was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conformance.counter import Counter, phone
from tests.support.furnished import Furnished, copy, phones
from tests.vault.service.conftest import Fragile
from vault.storage import tables

TOKENS = 900


@pytest.fixture(params=["sqlite", "postgresql"])
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Counter:
    """A furnished vault, once on each kind of database; closed by the test."""
    if request.param == "sqlite":
        return Counter(copy(request.getfixturevalue("furnished_template"), tmp_path / "home"))
    fragile: Fragile = request.getfixturevalue("fragile")
    return Counter(fragile.open(tmp_path / "home", fragile.url()).furnished)


def _killed(office: Furnished, number: int, tokens: list[str]) -> dict[str, str]:
    """Have a node open ``tokens`` until it is killed; return what its callers have seen."""
    actor = json.dumps(asdict(office.actors["shop"]))
    now = office.clock.now.timestamp() + 30 * number
    file = office.home.with_name("tokens")
    file.write_text("\n".join(tokens), encoding="utf-8")
    command = [sys.executable, "-m", "tests.soak.opener", str(office.home), actor, str(now), str(file)]
    node = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert node.stdout is not None
    first = node.stdout.readline()
    time.sleep(random.uniform(0.0, 0.15))
    node.kill()
    rest, _ = node.communicate()
    assert node.returncode == -9, "there was nothing left to be killed at"
    lines = (first + rest).splitlines(keepends=True)
    return dict(json.loads(line) for line in lines if line.endswith(b"\n"))


def _released(counter: Counter) -> list[int]:
    """Return the row id of each release in the log, as often as it is there."""
    return [
        row.token
        for logged in counter.log()
        if logged.entry.action == "token:detokenize" and logged.entry.items is not None
        for row in logged.entry.items.rows()
        if row.outcome == "opened"
    ]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_each_is_opened_and_logged_or_neither(counter: Counter, kills: int) -> None:
    office, values = counter.furnished, list(phones(TOKENS))
    answers = counter.tokenize(*(phone(value, kind="one_time") for value in values))["items"]
    value_of = {answer["token"]: value for answer, value in zip(answers, values, strict=True)}
    counter.vault.close()

    seen: dict[str, str] = {}
    for number in range(1, kills + 1):
        # Those of earlier nodes as well: what was opened before must not be opened again.
        got = _killed(office, number, random.sample([*value_of], TOKENS))
        assert not got.keys() & seen.keys()
        seen |= got
    assert seen == {token: value_of[token] for token in seen}

    office.clock.pass_time(seconds=30 * (kills + 2))
    office.vault = office.reopen()
    after = Counter(office)
    released = _released(after)
    assert len(set(released)) == len(released)
    spent = {row["id"] for row in after.rows(tables.token) if row["envelope"] is None}
    assert spent == set(released)
    row_ids = {token: after.row_id(token) for token in value_of}
    assert {row_ids[token] for token in seen} <= spent
    left = [token for token, row_id in row_ids.items() if row_id not in spent]
    opened = after.detokenize(*left)["items"]
    assert [answer["value"] for answer in opened] == [value_of[token] for token in left]
    after.verify_log()
    after.close()
