"""The tombstone file is read with public keys alone, and nothing in it can be changed, moved or left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.vault.audit.make_tombstone_vectors import ACTS, NEW, OLD, content, file_of, head_of
from tests.vault.audit.make_vectors import VECTORS
from vault.audit.note import parse_vkey, vkey
from vault.audit.tombstones import Chain, Tombstone, head_path, read, sign_head
from vault.domain.errors import TamperDetectedError, UnavailableError

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats" / "tombstones.md"
CONTENT: dict[str, Any] = json.loads((VECTORS / "tombstones.json").read_text())
KEYS = [parse_vkey(text) for text in CONTENT["keys"]]
FIRST = Tombstone(0, 7, "restrict", 72057594037927937, 1_795_500_000_123_456)


def laid_out(folder: Path, vector: dict[str, Any]) -> Path:
    path = folder / "tombstones"
    if vector["file"]:
        path.write_bytes(vector["file"].encode())
    if vector["head"] is not None:
        head_path(path).write_text(vector["head"], encoding="utf-8")
    return path


def test_vectors_are_those_of_their_maker() -> None:
    assert content() == CONTENT


@pytest.mark.parametrize("vector", CONTENT["valid"], ids=lambda vector: vector["name"])
def test_genuine_file_is_read_and_says_how_far_it_is_complete(vector: dict[str, Any], tmp_path: Path) -> None:
    tombstones, through = read(laid_out(tmp_path, vector), KEYS)
    assert through == vector["through"]
    lines = [line for line in vector["file"].splitlines(keepends=True) if line.endswith("\n")]
    assert [f"{one.seq} {one.log_index} {one.act} {one.subject_id}" for one in tombstones] == [
        " ".join(line.split(" ")[:4]) for line in lines
    ]


@pytest.mark.parametrize("vector", CONTENT["malformed"], ids=lambda vector: vector["name"])
def test_file_that_breaks_a_rule_is_refused_by_line_and_rule(vector: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TamperDetectedError) as refused:
        read(laid_out(tmp_path, vector), KEYS)
    assert refused.value.reference == str(vector["line"])
    assert refused.value.detail.endswith(vector["rule"])
    assert refused.value.table == "tombstone"


def test_document_names_every_rule() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert {vector["rule"] for vector in CONTENT["malformed"]} == {
        *("form", "sequence", "key", "signature", "head", "cut", "chain")
    }
    for vector in CONTENT["malformed"]:
        assert f"`{vector['rule']}`" in text


def test_writer_makes_the_lines_of_the_vectors(tmp_path: Path) -> None:
    path = laid_out(tmp_path, {"file": b"".join(file_of()).decode(), "head": None})
    at = Chain()
    keys = [key for key, _ in ACTS]
    lines = [at.sign(one, key) for one, key in zip(read(path, KEYS).tombstones, keys, strict=True)]
    assert lines == file_of()
    assert sign_head(at, 601, keys[-1]) == head_of(file_of(), 601)


def test_time_is_kept_to_the_microsecond(tmp_path: Path) -> None:
    path = laid_out(tmp_path, {"file": file_of()[0].decode(), "head": None})
    assert read(path, KEYS).tombstones == [FIRST]


def test_old_key_alone_does_not_open_lines_of_the_new_one(tmp_path: Path) -> None:
    path = laid_out(tmp_path, {"file": b"".join(file_of()).decode(), "head": None})
    with pytest.raises(TamperDetectedError, match="line 2: key"):
        read(path, [parse_vkey(vkey(OLD))])


def test_old_and_new_key_together_do(tmp_path: Path) -> None:
    lines = file_of(ACTS[:4])
    path = laid_out(tmp_path, {"file": b"".join(lines).decode(), "head": head_of(lines, 900, NEW)})
    assert read(path, [parse_vkey(vkey(key)) for key in (OLD, NEW)]).through == 900


def test_any_changed_byte_is_refused(tmp_path: Path) -> None:
    lines = file_of()
    data = b"".join(lines)
    path = laid_out(tmp_path, {"file": data.decode(), "head": head_of(lines, 601)})
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(TamperDetectedError):
            read(path, KEYS)


def test_any_changed_character_of_the_head_is_refused(tmp_path: Path) -> None:
    lines = file_of()
    path = laid_out(tmp_path, {"file": b"".join(lines).decode(), "head": None})
    head = head_of(lines, 601).encode()
    for at in range(len(head)):
        head_path(path).write_bytes(head[:at] + bytes([head[at] ^ 1]) + head[at + 1 :])
        with pytest.raises(TamperDetectedError):
            read(path, KEYS)


def test_head_that_is_not_text_is_refused(tmp_path: Path) -> None:
    head_path(tmp_path / "tombstones").write_bytes(b"\xff\xfe")
    with pytest.raises(TamperDetectedError, match="head"):
        read(tmp_path / "tombstones", KEYS)


def test_file_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "tombstones").mkdir()
    with pytest.raises(UnavailableError):
        read(tmp_path / "tombstones", KEYS)


def test_head_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    head_path(tmp_path / "tombstones").mkdir()
    with pytest.raises(UnavailableError):
        read(tmp_path / "tombstones", KEYS)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FIRST, seq=1),
        replace(FIRST, log_index=-1),
        replace(FIRST, act="forget"),
        replace(FIRST, act="erase 1"),
        replace(FIRST, subject_id=0),
        replace(FIRST, subject_id=-1),
    ],
)
def test_writer_refuses_what_a_reader_would(wrong: Tombstone) -> None:
    with pytest.raises(ValueError, match="not"):
        Chain().sign(wrong, OLD)
