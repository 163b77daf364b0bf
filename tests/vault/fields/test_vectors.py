from __future__ import annotations

from typing import Any

import pytest

from tests.vault.fields.samples import TYPES, refused_rule, vectors


def _cases(outcome: str) -> list[Any]:
    files = {"phone": "phone", "business-number": "business_number", "others": ""}
    return [
        pytest.param(
            case.get("type", default), case, id=f"{case.get('type', default)}:{case['input'][:24]!r}"
        )
        for name, default in files.items()
        for case in vectors(name)[outcome]
    ]


@pytest.mark.parametrize(("name", "case"), _cases("valid"))
def test_normalises_displays_and_masks_as_the_vectors_say(name: str, case: dict[str, Any]) -> None:
    kind = TYPES[name]
    stored = kind.normalise(case["input"], "f")
    assert stored == case["stored"]
    assert kind.mask(stored) == case["mask"]
    assert kind.display(stored) == case.get("display", stored)
    if "warnings" in case:
        assert list(kind.warnings(stored)) == case["warnings"]


@pytest.mark.parametrize(("name", "case"), _cases("invalid"))
def test_refuses_with_the_rule_the_vectors_say(name: str, case: dict[str, Any]) -> None:
    assert refused_rule(TYPES[name], case["input"]) == case["rule"]
