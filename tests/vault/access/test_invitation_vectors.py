from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keys.keyring import KeyKind, KeyRecord, Keyring, root_context
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from tests.keys.vectors import cases, load, secret, unhex
from vault.access.invitations import code_digests, new_code

VECTORS = load("bearer")
INVITATIONS = VECTORS["invitations"]


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    wrapper = KeyFileWrapper.create(tmp_path / "root.key")
    named = KeyRecord(KeyKind.SESSION, "", 1, KeyState.ACTIVE, b"")
    wrapped = wrapper.wrap(secret(VECTORS["key"]), root_context(unhex(VECTORS["vault"]), named))
    record = KeyRecord(KeyKind.SESSION, "", 1, KeyState.ACTIVE, wrapped)
    return Keyring.unlock(unhex(VECTORS["vault"]), [record], wrapper)


@cases([*INVITATIONS["valid"], *INVITATIONS["typed"]])
def test_code_has_the_digest_of_the_vector(case: dict[str, Any], keyring: Keyring) -> None:
    assert [digest.hex() for digest in code_digests(keyring, case["text"])] == [case["digest"]]


@cases(INVITATIONS["malformed"])
def test_another_text_has_no_digest_to_look_for(case: dict[str, Any], keyring: Keyring) -> None:
    assert code_digests(keyring, case["text"]) == []


def test_a_new_code_is_in_form(keyring: Keyring) -> None:
    assert len(code_digests(keyring, new_code().expose())) == 1
