from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keys.keyring import KeyKind, KeyRecord, root_context
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("rootkey")


@pytest.fixture
def wrapper(tmp_path: Path) -> KeyFileWrapper:
    return KeyFileWrapper(key_file(tmp_path, VECTORS["file"].encode()))


def key_file(folder: Path, content: bytes) -> Path:
    path = folder / "root.key"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def context_of(case: dict[str, Any]) -> bytes:
    record = KeyRecord(KeyKind(case["kind"]), case["scope"], case["version"], KeyState.ACTIVE, b"")
    return root_context(unhex(case["vault"]), record)


@cases(VECTORS["valid"])
def test_root_wrapped_key_opens_to_the_vector(case: dict[str, Any], wrapper: KeyFileWrapper) -> None:
    assert context_of(case).hex() == case["associated"]
    assert wrapper.unwrap(unhex(case["wrapped"]), context_of(case)).expose().hex() == case["key"]
    again = wrapper.wrap(secret(case["key"]), context_of(case))
    assert wrapper.unwrap(again, context_of(case)).expose().hex() == case["key"]
    assert len(again) == 61
    assert again.hex() != case["wrapped"]


@cases(VECTORS["malformed"])
def test_refuses_malformed_or_moved_root_wrapped_key(case: dict[str, Any], wrapper: KeyFileWrapper) -> None:
    with refusal(case):
        wrapper.unwrap(unhex(case["wrapped"]), context_of(case))


@cases(VECTORS["malformed_files"])
def test_refuses_malformed_key_file(case: dict[str, Any], tmp_path: Path) -> None:
    path = key_file(tmp_path, case["text"].encode("latin-1"))
    with refusal(case):
        KeyFileWrapper(path)
