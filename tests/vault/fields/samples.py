"""One maker of each type, the vectors, and what the tests of several modules share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vault.domain.errors import InvalidValueError
from vault.fields.base import FieldType
from vault.fields.catalogue import CATALOGUE
from vault.fields.rules import RuleBrokenError

SETTINGS: dict[str, dict[str, object]] = {"enum": {"values": ["출판사", "작가", "유통사"]}}
TYPES: dict[str, FieldType] = {name: make(SETTINGS.get(name, {})) for name, make in CATALOGUE.items()}

GOOD: dict[str, str] = {
    "age_band": "20~29",
    "business_number": "123-45-67891",
    "company_name": "(주)별빛북스",
    "email": "steve@example.com",
    "enum": "작가",
    "gender": "female",
    "login_id": "abcde",
    "oauth_subject": "kakao:1029384756",
    "person_name": "홍길동",
    "phone": "010-1234-5678",
    "text": "문의 드립니다",
}


def vectors(name: str) -> dict[str, Any]:
    """Return one vector file."""
    path = Path(__file__).parents[2] / "vectors" / f"fields-{name}.json"
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def outcome(normalise: Callable[[str], str], text: str) -> tuple[str, str]:
    """Return ``("stored", value)`` or ``("refused", rule)``."""
    try:
        return "stored", normalise(text)
    except (RuleBrokenError, InvalidValueError) as refused:
        return "refused", refused.rule


def refused_rule(kind: FieldType, text: str) -> str:
    """Return the rule ``text`` breaks, having checked that the error names the field and not the text."""
    with pytest.raises(InvalidValueError) as caught:
        kind.normalise(text, "member.sample")
    error = caught.value
    assert error.field == "member.sample"
    assert error.__cause__ is None
    assert error.__context__ is None
    if len(text) > 2:
        assert text not in str(error)
    return error.rule
