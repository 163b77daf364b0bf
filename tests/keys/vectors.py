"""Reads the frozen vectors and checks refusals against them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keys import errors
from keys.errors import KeysError
from keys.secret import SecretBytes

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def cases(items: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Parametrise over ``items``; a case is named by its section and reason."""
    ids = [f"{item.get('section', 'valid')} {item.get('why', at)}" for at, item in enumerate(items)]
    return pytest.mark.parametrize("case", items, ids=ids)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def secret(text: str) -> SecretBytes:
    return SecretBytes(bytes.fromhex(text))


@contextmanager
def refusal(case: dict[str, Any]) -> Iterator[None]:
    """Expect exactly the error class and rule that the case states, with no other error behind it."""
    expected: type[KeysError] = getattr(errors, case["error"])
    with pytest.raises(expected) as caught:
        yield
    assert type(caught.value) is expected
    assert getattr(caught.value, "rule", None) == case.get("rule")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
