from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from cli.demo_data import (
    FILES,
    MEMBER_COLUMNS,
    PARTNER_COLUMNS,
    csv_text,
    members,
    partners,
    policy_text,
)
from vault.domain.errors import InvalidValueError
from vault.policy.policy import Policy

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICY = Policy.parse(policy_text())


def _census(rows: Iterable[dict[str, str]]) -> tuple[int, Counter[tuple[str, str]]]:
    accepted, refused = 0, Counter[tuple[str, str]]()
    for row in rows:
        for name, value in row.items():
            if name == "external_ref" or not value:
                continue
            try:
                POLICY.field(name).normalise(value)
                accepted += 1
            except InvalidValueError as error:
                refused[name, error.rule] += 1
    return accepted, refused


@pytest.mark.parametrize("name", FILES)
def test_the_example_files_are_what_the_generator_makes(name: str) -> None:
    assert (EXAMPLES / name).read_bytes() == FILES[name]().encode()


def test_members_are_dirty_by_plan() -> None:
    accepted, refused = _census(members())
    assert accepted == 28_193
    assert refused == {
        ("member.phone", "length"): 19,
        ("member.phone", "masked"): 19,
        ("member.phone", "resident_number"): 19,
        ("member.phone", "short_number"): 18,
        ("member.phone", "characters"): 18,
        ("member.gender", "unknown_value"): 19,
        ("member.age_band", "unknown_value"): 18,
    }


def test_partners_are_dirty_by_plan() -> None:
    accepted, refused = _census(partners())
    assert accepted == 2_484
    assert refused == {
        ("partner.business_number", "check_digit"): 2,
        ("partner.business_number", "length"): 2,
        ("partner.business_number", "masked"): 2,
        ("partner.business_number", "structure"): 2,
        ("partner.contact_name", "masked"): 2,
        ("partner.contact_name", "resident_number"): 2,
        ("partner.email", "shape"): 2,
        ("partner.phone", "prefix"): 2,
    }


def test_external_references_are_unique_and_rows_follow_from_their_number() -> None:
    rows = list(members())
    assert len(rows) == 10_000
    assert len({row["external_ref"] for row in rows}) == 10_000
    assert list(members(50)) == rows[:50]
    assert list(partners(20)) == list(islice(partners(), 20))


def test_subjects_are_valid_oauth_subjects() -> None:
    field = POLICY.field("member.oauth_subject")
    for row in members(500):
        assert field.normalise(row["external_ref"]) == row["external_ref"]


def test_csv_has_the_columns_and_reads_back() -> None:
    for columns, rows in ((MEMBER_COLUMNS, list(members(70))), (PARTNER_COLUMNS, list(partners(70)))):
        text = csv_text(columns, rows)
        assert text.startswith(",".join(columns) + "\n")
        assert list(csv.DictReader(io.StringIO(text))) == rows


def test_the_policy_has_its_four_purposes_and_ethics_is_apart() -> None:
    assert list(POLICY.purposes) == ["member_communication", "inquiry", "ethics", "partner"]
    assert POLICY.purpose("ethics").roles == {"team:ethics"}
    used = frozenset().union(*(purpose.fields for purpose in POLICY.purposes.values()))
    assert used == set(POLICY.fields)
    assert {*MEMBER_COLUMNS, *PARTNER_COLUMNS} - {"external_ref"} <= used
