from __future__ import annotations

import pytest

from vault.domain.errors import InvalidValueError
from vault.fields.notes import normalise_note


def test_keeps_an_ordinary_reason() -> None:
    assert (
        normalise_note("  회신 전화, 티켓 4711\r\n2026-12-01 09:30 ", field="reason")
        == "회신 전화, 티켓 4711\n2026-12-01 09:30"
    )


@pytest.mark.parametrize(
    ("note", "rule"),
    [
        ("call 010-1234-5678", "phone_number"),
        ("call 01012345678 now", "phone_number"),
        ("０１０－１２３４－５６７８", "phone_number"),
        ("+82 10-1234-5678", "phone_number"),
        ("(02) 123-4567", "phone_number"),
        ("+1 650 253 0000", "phone_number"),
        ("900101-1234567", "resident_number"),
        ("가" * 501, "too_long"),
        ("   ", "empty"),
        ("a\x00b", "control"),
        ("a\ud800", "surrogate"),
    ],
)
def test_refuses_notes_that_carry_personal_data(note: str, rule: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        normalise_note(note, field="reason")
    assert (caught.value.field, caught.value.rule) == ("reason", rule)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "note", ["order 20261201-000017", "case 2026-0042", "12 items, 3,000,000 won", "v1.2.3+45"]
)
def test_lets_reference_numbers_pass(note: str) -> None:
    assert normalise_note(note, field="reason") == note
