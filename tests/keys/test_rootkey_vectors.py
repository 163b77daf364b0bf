from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from keys.keyring import KeyKind, KeyRecord, root_context
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("rootkey")
FILE_STATES = VECTORS["file_states"]


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


def placed(there: dict[str, Any], folder: Path) -> Path:
    """Put at the place of the key file what a vector says is there."""
    path = folder / "root.key"
    match there["kind"]:
        case "file":
            key_file(folder, VECTORS["file"].encode()).chmod(int(there["mode"], 8))
        case "link":
            path.symlink_to(key_file(folder, VECTORS["file"].encode()).rename(folder / "other.key"))
        case "dangling_link":
            path.symlink_to(folder / "other.key")
        case "directory":
            path.mkdir(mode=0o700)
        case "pipe":
            os.mkfifo(path, 0o600)
        case "no_directory":
            return folder / "none" / "root.key"
        case kind:
            assert kind == "nothing"
    return path


@cases(FILE_STATES["readable"])
def test_reads_key_file_of_its_owner(case: dict[str, Any], tmp_path: Path) -> None:
    KeyFileWrapper(placed(case["there"], tmp_path))


@cases(FILE_STATES["unreadable"])
def test_refuses_to_read_what_is_there(case: dict[str, Any], tmp_path: Path) -> None:
    path = placed(case["there"], tmp_path)
    with refusal(case):
        KeyFileWrapper(path)


@cases(FILE_STATES["unwritable"])
def test_refuses_to_write_where_something_is(case: dict[str, Any], tmp_path: Path) -> None:
    path = placed(case["there"], tmp_path)
    before = sorted(tmp_path.iterdir())
    with refusal(case):
        KeyFileWrapper.create(path)
    assert sorted(tmp_path.iterdir()) == before
