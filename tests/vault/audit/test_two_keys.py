"""A log whose key was replaced: notes with two signatures, and who believes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vault.audit.builders import ORIGIN, log_key
from vault.audit.note import (
    Checkpoint,
    NoteKey,
    UnsignedNoteError,
    WrongOriginError,
    open_checkpoint,
    parse_vkey,
    sign_checkpoint,
    vkey,
)
from vault.audit.outside import OutsideCheckpoint
from vault.domain.errors import TamperDetectedError

OLD, NEW, STRANGER = log_key(seed=b"old"), log_key(seed=b"new"), log_key(seed=b"stranger")
TRUST_OLD, TRUST_NEW = parse_vkey(vkey(OLD)), parse_vkey(vkey(NEW))
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(32))
BOTH = sign_checkpoint(CHECKPOINT, NEW, OLD)


@pytest.mark.parametrize("keys", [(TRUST_OLD,), (TRUST_NEW,), (TRUST_OLD, TRUST_NEW)])
def test_whoever_trusts_one_of_the_keys_believes_a_note_of_both(keys: tuple[NoteKey, ...]) -> None:
    assert open_checkpoint(BOTH, *keys) == CHECKPOINT


def test_the_key_in_force_signs_first() -> None:
    lines = BOTH.split("\n")[4:-1]
    assert [sign_checkpoint(CHECKPOINT, key).split("\n")[4] for key in (NEW, OLD)] == lines


def test_whoever_trusts_both_believes_a_note_of_one() -> None:
    for key in (OLD, NEW):
        assert open_checkpoint(sign_checkpoint(CHECKPOINT, key), TRUST_OLD, TRUST_NEW) == CHECKPOINT


def test_refuses_a_note_of_neither_key() -> None:
    with pytest.raises(UnsignedNoteError):
        open_checkpoint(sign_checkpoint(CHECKPOINT, STRANGER), TRUST_OLD, TRUST_NEW)


def test_refuses_a_note_that_one_trusted_key_signed_wrongly() -> None:
    """A good signature beside it makes no other wrong one good."""
    other = sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), OLD).split("\n")[4]
    good = sign_checkpoint(CHECKPOINT, NEW)
    assert open_checkpoint(f"{good}{other}\n", TRUST_NEW) == CHECKPOINT
    with pytest.raises(UnsignedNoteError):
        open_checkpoint(f"{good}{other}\n", TRUST_OLD, TRUST_NEW)


def test_refuses_a_note_that_one_trusted_key_signed_twice() -> None:
    line = sign_checkpoint(CHECKPOINT, OLD).split("\n")[4]
    with pytest.raises(UnsignedNoteError):
        open_checkpoint(f"{BOTH}{line}\n", TRUST_OLD, TRUST_NEW)


def test_a_key_of_another_log_does_not_sign_beside() -> None:
    with pytest.raises(WrongOriginError):
        sign_checkpoint(CHECKPOINT, NEW, log_key("other.example/log"))


def test_the_file_outside_is_read_by_either_key_and_by_no_other(tmp_path: Path) -> None:
    outside = OutsideCheckpoint(tmp_path / "checkpoint")
    outside.advance(sign_checkpoint(CHECKPOINT, OLD), TRUST_OLD)
    assert outside.read(TRUST_NEW, TRUST_OLD) == CHECKPOINT
    outside.advance(sign_checkpoint(Checkpoint(ORIGIN, 9, bytes(32)), NEW, OLD), TRUST_NEW, TRUST_OLD)
    kept = outside.read(TRUST_NEW)
    assert kept is not None
    assert kept.size == 9
    with pytest.raises(TamperDetectedError):
        outside.read(parse_vkey(vkey(STRANGER)))
